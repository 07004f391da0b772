#include "man_page.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::cli {
namespace {

// Text that roff prints as it is: a hyphen that can be copied, no control line.
std::string roff(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const bool begins_line = result.empty() || result.back() == '\n';
    if (begins_line && (c == '.' || c == '\'')) result += "\\&";
    switch (c) {
      case '\\':
        result += "\\e";
        break;
      case '-':
        result += "\\-";
        break;
      case '^':
        result += "\\(ha";
        break;
      case '~':
        result += "\\(ti";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string page_name(const CommandInfo& command) {
  return fmt::format("{}", fmt::join(command.words, "-"));
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::string section(const std::string& title) { return ".SH " + upper(roff(title)) + "\n"; }

std::string entry(const std::string& head, const std::string& text) {
  return ".TP\n" + head + "\n" + roff(text) + "\n";
}

std::string synopsis(const CommandInfo& command) {
  std::string text = fmt::format("\\fB{}\\fR [\\fIOPTIONS\\fR]",
                                 roff(fmt::format("{}", fmt::join(command.words, " "))));
  for (const FlagInfo& argument : command.arguments) {
    const std::string name = "\\fI" + roff(argument.names.front()) + "\\fR";
    text += argument.required ? " " + name : " [" + name + "]";
  }
  if (!command.commands.empty()) text += " [\\fICOMMAND\\fR]";
  return section("Synopsis") + text + "\n";
}

std::string flag_head(const FlagInfo& flag) {
  std::vector<std::string> names;
  for (const std::string& name : flag.names) names.push_back("\\fB" + roff(name) + "\\fR");
  std::string head = fmt::format("{}", fmt::join(names, ", "));
  if (!flag.value.empty()) head += " \\fI" + roff(flag.value) + "\\fR";
  return flag.required ? head + " (required)" : head;
}

// In the groups of --help, each below its title.
std::string options(const CommandInfo& command) {
  std::vector<std::string> groups;
  for (const FlagInfo& flag : command.flags) {
    if (std::find(groups.begin(), groups.end(), flag.group) == groups.end())
      groups.push_back(flag.group);
  }
  std::string text = section("Options");
  for (const std::string& group : groups) {
    if (group != groups.front()) text += ".SS " + roff(group) + "\n";
    for (const FlagInfo& flag : command.flags) {
      if (flag.group == group) text += entry(flag_head(flag), flag.text);
    }
  }
  return text;
}

std::string arguments(const CommandInfo& command) {
  if (command.arguments.empty()) return "";
  std::string text = section("Arguments");
  for (const FlagInfo& argument : command.arguments)
    text += entry("\\fI" + roff(argument.names.front()) + "\\fR", argument.text);
  return text;
}

std::string commands(const CommandInfo& command) {
  if (command.commands.empty()) return "";
  std::string text = section("Commands");
  for (const CommandInfo& below : command.commands)
    text += entry("\\fB" + roff(below.words.back()) + "\\fR", below.text);
  return text;
}

// The footer: "Example: for what\n  the line\n".
std::string example(const CommandInfo& command) {
  if (command.footer.empty()) return "";
  std::istringstream lines(command.footer);
  std::string text = section("Example") + ".nf\n";
  for (std::string line; std::getline(lines, line);) {
    if (line == "Example:") continue;
    if (line.starts_with("Example: ")) line.erase(0, 9);
    text += roff(line) + "\n";
  }
  return text + ".fi\n";
}

std::string exit_status() {
  return section("Exit status") + entry("0", "success") +
         entry("1", "a file, a disk, the data or the training went wrong") +
         entry("2", "a wrong config or command line; nothing was started") +
         entry("75", "a signal stopped the work after saving; the same command resumes") +
         entry("130", "ended immediately by a signal");
}

// The pages of the program, of the command above and of those below.
std::string see_also(const CommandInfo& command, const CommandInfo& program) {
  std::vector<std::string> pages;
  for (const CommandInfo* other : all_commands(program)) {
    const auto& shorter = std::min(other->words, command.words, [](const auto& a, const auto& b) {
      return a.size() < b.size();
    });
    const bool near = std::equal(shorter.begin(), shorter.end(), other->words.begin()) &&
                      std::equal(shorter.begin(), shorter.end(), command.words.begin());
    if (near && other->words != command.words)
      pages.push_back("\\fB" + roff(page_name(*other)) + "\\fR(1)");
  }
  return section("See also") + fmt::format("{}\n", fmt::join(pages, ",\n"));
}

}  // namespace

std::string man_page(const CommandInfo& command, const CommandInfo& program,
                     const std::string& version) {
  const std::string name = page_name(command);
  const std::string title =
      fmt::format(".TH \"{}\" 1 \"\" \"ddpm {}\" \"ddpm\"\n", upper(roff(name)), version);
  return title + section("Name") + roff(name) + " \\- " + roff(command.text) + "\n" +
         synopsis(command) + section("Description") + roff(command.text) + ".\n" +
         arguments(command) + options(command) + commands(command) + example(command) +
         exit_status() + see_also(command, program);
}

std::string man_file(const CommandInfo& command) { return page_name(command) + ".1"; }

}  // namespace ddpm::cli
