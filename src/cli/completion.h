#pragma once

#include "command_tree.h"

#include <string>

namespace ddpm::cli {

/// A script that completes commands, flags, the words that a flag's value may be, and paths.
std::string bash_completion(const CommandInfo& program);
std::string zsh_completion(const CommandInfo& program);
std::string fish_completion(const CommandInfo& program);

}  // namespace ddpm::cli
