#pragma once

#include "command_tree.h"

#include <string>

namespace ddpm::cli {

/// The manual page of a command in roff (man macros). `version`: of the program. `program`: for the
/// pages that it refers to.
std::string man_page(const CommandInfo& command, const CommandInfo& program,
                     const std::string& version);

/// "ddpm-eval-sweep.1"
std::string man_file(const CommandInfo& command);

}  // namespace ddpm::cli
