#include "command_tree.h"
#include "command_words.h"
#include "completion.h"
#include "ddpm/cli/app.h"
#include "ddpm/io/file.h"
#include "flags.h"
#include "man_page.h"
#include "shared_flags.h"

#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

// ddpm completion and ddpm man: what shells and manuals know of the command line, made from its
// definitions.

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

struct ManFlags {
  std::vector<std::string> words;
  std::string out;
};

int run_completion(const CLI::App& app, const std::string& shell) {
  const CommandInfo program = describe_command(app);
  fmt::print("{}", shell == "bash"  ? bash_completion(program)
                   : shell == "zsh" ? zsh_completion(program)
                                    : fish_completion(program));
  return kOk;
}

const CommandInfo& command_of(const CommandInfo& program, const std::vector<std::string>& words) {
  const std::string wanted = fmt::format("{}", fmt::join(words, " "));
  for (const CommandInfo* command : all_commands(program)) {
    if (name_below_program(*command) == wanted) return *command;
  }
  throw UsageError(fmt::format("unknown command \"{}\" (ddpm --help lists the commands)", wanted));
}

int run_man(const CLI::App& app, const ManFlags& flags) {
  const CommandInfo program = describe_command(app);
  if (flags.out.empty()) {
    fmt::print("{}", man_page(command_of(program, flags.words), program, DDPM_VERSION));
    return kOk;
  }
  if (!flags.words.empty()) throw UsageError("--out writes the pages of all commands; name none");
  io::make_folder(flags.out);
  for (const CommandInfo* command : all_commands(program)) {
    const fs::path file = fs::path(flags.out) / man_file(*command);
    io::write_file_atomic(file, man_page(*command, program, DDPM_VERSION));
    fmt::print("{}\n", file.string());
  }
  return kOk;
}

}  // namespace

void add_completion(CLI::App& app, Command& chosen) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "completion", "Print a script that completes commands and flags in a shell");
  command->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(one_of({"bash", "zsh", "fish"}));
  command->footer(
      "Example: for bash, in this shell\n"
      "  source <(ddpm completion bash)");
  command->callback(
      [&app, shell, &chosen] { chosen = [&app, shell] { return run_completion(app, *shell); }; });
}

void add_man(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<ManFlags>();
  CLI::App* command = app.add_subcommand("man", "Print the manual page of a command");
  command->add_option("command", o->words, "the command, as in eval sweep (default: the program)")
      ->type_name("COMMAND");
  add_folder_flag(*command, o->out, "write the pages of all commands to this folder instead");
  command->footer(
      "Example:\n"
      "  ddpm man sample | man -l -");
  command->callback([&app, o, &chosen] { chosen = [&app, o] { return run_man(app, *o); }; });
}

}  // namespace ddpm::cli
