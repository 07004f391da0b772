#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ddpm::cli {

/// A flag of the command line with its values; none if it takes none.
struct GivenFlag {
  std::string name;  ///< without dashes
  std::vector<std::string> values;
};

/// A parsed command line.
struct GivenFlags {
  std::string command;  ///< "sample"
  std::vector<GivenFlag> flags;
};

/// The command's flags that the user gave, once it is parsed.
GivenFlags given_flags(const CLI::App& command);

/// The words of a command line as a POSIX shell reads them.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace ddpm::cli
