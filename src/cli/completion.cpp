#include "completion.h"

#include "ddpm/base/text.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::cli {
namespace {

// The text with a backslash before each of these characters.
std::string escaped(const std::string& text, const std::string& characters) {
  std::string result;
  for (const char c : text) {
    if (characters.find(c) != std::string::npos) result += '\\';
    result += c;
  }
  return result;
}

// Up to the first of these, which begin an explanation.
std::string first_part(const std::string& text) {
  return text.substr(0, std::min({text.find("; "), text.find(": "), text.find(" (")}));
}

bool takes_paths(const CommandInfo& command) {
  return std::any_of(command.arguments.begin(), command.arguments.end(),
                     [](const FlagInfo& argument) { return argument.path; });
}

// Words that may stand where no flag does: commands and known arguments.
std::vector<std::string> plain_words(const CommandInfo& command) {
  std::vector<std::string> words;
  for (const CommandInfo& below : command.commands) words.push_back(below.words.back());
  for (const FlagInfo& argument : command.arguments)
    words.insert(words.end(), argument.choices.begin(), argument.choices.end());
  return words;
}

// Without -h: one letter needs no completion.
std::vector<std::string> long_names(const FlagInfo& flag) {
  std::vector<std::string> names;
  for (const std::string& name : flag.names) {
    if (name.starts_with("--")) names.push_back(name);
  }
  return names;
}

std::vector<std::string> flag_words(const CommandInfo& command) {
  std::vector<std::string> words;
  for (const FlagInfo& flag : command.flags) {
    const auto names = long_names(flag);
    words.insert(words.end(), names.begin(), names.end());
  }
  return words;
}

constexpr const char* kBashBegin = R"(# bash completion of ddpm: source it, or install it as
# ~/.local/share/bash-completion/completions/ddpm

_ddpm_words() { COMPREPLY+=($(compgen -W "$1" -- "$cur")); }
_ddpm_paths() {
  local IFS=$'\n'
  COMPREPLY+=($(compgen -f -- "$cur"))
  compopt -o filenames 2> /dev/null
}

_ddpm() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "$command/${COMP_WORDS[i]}" in
)";

constexpr const char* kBashValues = R"(    esac
  done
  # --flag=value is three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case "$command $prev" in
)";

// "init train) command=init", for each command below the program or another one.
std::string bash_commands(const CommandInfo& program) {
  std::string text;
  for (const CommandInfo* command : all_commands(program)) {
    if (command->words.size() < 2) continue;
    std::vector<std::string> above(command->words.begin() + 1, command->words.end() - 1);
    text += fmt::format("      \"{}/{}\") command='{}' ;;\n", fmt::join(above, " "),
                        command->words.back(), name_below_program(*command));
  }
  return text;
}

// What follows a flag that takes a value.
std::string bash_values(const CommandInfo& program) {
  std::string text;
  for (const CommandInfo* command : all_commands(program)) {
    for (const FlagInfo& flag : command->flags) {
      if (flag.value.empty()) continue;
      std::vector<std::string> before;
      for (const std::string& name : long_names(flag))
        before.push_back(fmt::format("\"{} {}\"", name_below_program(*command), name));
      text += fmt::format("    {})", fmt::join(before, " | "));
      if (!flag.choices.empty())
        text += fmt::format(" _ddpm_words '{}';", fmt::join(flag.choices, " "));
      text += flag.path ? " _ddpm_paths; return ;;\n" : " return ;;\n";
    }
  }
  return text;
}

std::string bash_words(const CommandInfo& program) {
  std::string text = "  esac\n  case $command in\n";
  for (const CommandInfo* command : all_commands(program)) {
    const auto plain = plain_words(*command);
    text += fmt::format("    '{}')\n      if [[ $cur == -* ]]; then\n        _ddpm_words '{}'\n",
                        name_below_program(*command), fmt::join(flag_words(*command), " "));
    if (!plain.empty() || takes_paths(*command)) text += "      else\n";
    if (!plain.empty()) text += fmt::format("        _ddpm_words '{}'\n", fmt::join(plain, " "));
    if (takes_paths(*command)) text += "        _ddpm_paths\n";
    text += "      fi\n      ;;\n";
  }
  return text + "  esac\n}\n\ncomplete -F _ddpm ddpm\n";
}

std::string zsh_function(const CommandInfo& command) {
  return "_" + fmt::format("{}", fmt::join(command.words, "_"));
}

// What completes a value: ":words:(a b)", ":path:_files".
std::string zsh_value(const FlagInfo& flag) {
  if (flag.value.empty()) return "";
  const std::string title = escaped(flag.value, ":\\");
  if (!flag.choices.empty() && flag.path)
    return fmt::format(":{}:{{compadd {}; _files}}", title, fmt::join(flag.choices, " "));
  if (!flag.choices.empty()) return fmt::format(":{}:({})", title, fmt::join(flag.choices, " "));
  return flag.path ? fmt::format(":{}:_files", title) : fmt::format(":{}: ", title);
}

// One specification of _arguments per flag.
std::string zsh_flags(const CommandInfo& command) {
  std::string text;
  for (const FlagInfo& flag : command.flags) {
    const std::string about = escaped(first_part(flag.text), "[]:\\");
    for (const std::string& name : flag.names) {
      text += " \\\n    " + single_quoted(fmt::format("{}[{}]{}", name, about, zsh_value(flag)));
    }
  }
  return text;
}

// A command without others below it.
std::string zsh_leaf(const CommandInfo& command) {
  std::string text = fmt::format("{}() {{\n  _arguments", zsh_function(command));
  text += zsh_flags(command);
  const auto words = plain_words(command);
  if (!words.empty()) {
    text += " \\\n    " + single_quoted(fmt::format("*:argument:({})", fmt::join(words, " ")));
  } else if (takes_paths(command)) {
    text += " \\\n    '*:path:_files'";
  }
  return text + "\n}\n";
}

// A command, or the program, with others below it.
std::string zsh_branch(const CommandInfo& command) {
  std::string text = fmt::format(
      "{}() {{\n  local context state state_descr line\n  typeset -A opt_args\n  local -a "
      "commands=(\n",
      zsh_function(command));
  for (const CommandInfo& below : command.commands) {
    text += "    " +
            single_quoted(below.words.back() + ":" + escaped(first_part(below.text), ":\\")) + "\n";
  }
  text += "  )\n  _arguments -C" + zsh_flags(command) +
          " \\\n    '1:command:->command' '*::argument:->argument'\n  case $state in\n"
          "    command)\n      _describe command commands\n";
  if (takes_paths(command)) text += "      _files\n";
  text += "      ;;\n    argument)\n      case $line[1] in\n";
  for (const CommandInfo& below : command.commands)
    text += fmt::format("        {}) {} ;;\n", below.words.back(), zsh_function(below));
  return text + "      esac\n      ;;\n  esac\n}\n";
}

// In single quotes, as fish reads them.
std::string fish_quoted(const std::string& text) { return "'" + escaped(text, "'\\") + "'"; }

constexpr const char* kFishBegin = R"(# fish completion of ddpm: source it, or install it as
# ~/.config/fish/completions/ddpm.fish

function __ddpm_command
    set -l command
    for word in (commandline -opc)[2..-1]
        switch "$command/$word"
)";

constexpr const char* kFishEnd = R"(        end
    end
    echo $command
end
function __ddpm_in
    test (__ddpm_command) = "$argv"
end

complete -c ddpm -f
)";

std::string fish_commands(const CommandInfo& program) {
  std::string text;
  for (const CommandInfo* command : all_commands(program)) {
    if (command->words.size() < 2) continue;
    std::vector<std::string> above(command->words.begin() + 1, command->words.end() - 1);
    text += fmt::format("            case '{}/{}'\n                set command '{}'\n",
                        fmt::join(above, " "), command->words.back(), name_below_program(*command));
  }
  return text;
}

std::string fish_flag(const std::string& condition, const FlagInfo& flag) {
  std::string text = "complete -c ddpm -n " + condition;
  for (const std::string& name : flag.names)
    text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (!flag.value.empty()) text += flag.path ? " -r -F" : " -x";
  if (!flag.choices.empty())
    text += " -a " + fish_quoted(fmt::format("{}", fmt::join(flag.choices, " ")));
  return text + " -d " + fish_quoted(first_part(flag.text)) + "\n";
}

}  // namespace

std::string bash_completion(const CommandInfo& program) {
  return kBashBegin + bash_commands(program) + kBashValues + bash_values(program) +
         bash_words(program);
}

std::string zsh_completion(const CommandInfo& program) {
  std::string text =
      "#compdef ddpm\n# zsh completion of ddpm: install it as _ddpm in a folder of $fpath\n\n";
  for (const CommandInfo* command : all_commands(program))
    text += (command->commands.empty() ? zsh_leaf(*command) : zsh_branch(*command)) + "\n";
  return text +
         "if [ \"$funcstack[1]\" = \"_ddpm\" ]; then\n  _ddpm \"$@\"\nelse\n  compdef _ddpm "
         "ddpm\nfi\n";
}

std::string fish_completion(const CommandInfo& program) {
  std::string text = kFishBegin + fish_commands(program) + kFishEnd;
  for (const CommandInfo* command : all_commands(program)) {
    const std::string condition = fish_quoted("__ddpm_in " + name_below_program(*command));
    for (const CommandInfo& below : command->commands) {
      text += fmt::format("complete -c ddpm -n {} -a {} -d {}\n", condition, below.words.back(),
                          fish_quoted(first_part(below.text)));
    }
    for (const FlagInfo& argument : command->arguments) {
      text += fmt::format("complete -c ddpm -n {}{}\n", condition,
                          argument.path ? " -F"
                                        : " -a " + fish_quoted(fmt::format(
                                                       "{}", fmt::join(argument.choices, " "))));
    }
    for (const FlagInfo& flag : command->flags) text += fish_flag(condition, flag);
  }
  return text;
}

}  // namespace ddpm::cli
