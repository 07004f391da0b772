#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>

namespace ddpm {

/// Root of all errors that a user can cause or fix. main prints what() as one line.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Where a config value was set; line 0 means the command line.
struct SourceLocation {
  std::string file;
  int line = 0;
  int column = 0;
};

/// "file:line:column", or the file name alone if line is 0.
std::string to_string(const SourceLocation& where);

/// An invalid config: unknown key, wrong type, value out of range. Exit status 2.
class ConfigError : public Error {
 public:
  ConfigError(const SourceLocation& where, const std::string& message);
};

/// An invalid command line: contradictory options, a value out of range. Exit status 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// A file or folder that is missing, unreadable, damaged or not writable. Exit status 1.
class IoError : public Error {
 public:
  IoError(const std::filesystem::path& path, const std::string& message);
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace ddpm
