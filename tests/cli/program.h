#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace ddpm {

/// What a finished program left.
struct ProgramResult {
  int status = -1;  ///< exit status, or 128 + signal
  std::string out;
  std::string err;
};

/// The ddpm binary as a person runs it: a process of its own, in a working folder, on one CPU
/// thread.
class Program {
 public:
  /// Starts `ddpm ARGUMENTS...` in `folder`, with its output going to files there. `environment`:
  /// NAME=VALUE, beside this process's own. `executable`: another program in its place.
  Program(const std::filesystem::path& folder, const std::vector<std::string>& arguments,
          const std::vector<std::string>& environment = {},
          const std::string& executable = DDPM_PROGRAM);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void send(int signal) const;
  /// Waits for `text` in what it has written to stderr; false where it ended, or two minutes
  /// passed, without it.
  bool wait_for_message(const std::string& text);
  ProgramResult wait();

 private:
  friend ProgramResult run_program(const std::filesystem::path&, const std::vector<std::string>&);
  Program(const std::filesystem::path& folder, const std::function<void()>& run);
  /// Forks; the child goes on in `run`, which does not return.
  void start(const std::filesystem::path& folder, const std::function<void()>& run);
  bool ended();
  std::filesystem::path out_, err_;
  pid_t pid_ = -1;
  int status_ = -1;
  bool ended_ = false;
};

/// Runs `ddpm ARGUMENTS...` to its end, in a copy of this process: LibTorch, which is most of the time
/// of a short command, is loaded already.
ProgramResult run_program(const std::filesystem::path& folder,
                          const std::vector<std::string>& arguments);

}  // namespace ddpm
