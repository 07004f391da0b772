#include "tests/cli/fixture.h"

#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace ddpm {
namespace {

using Words = std::vector<std::string>;

std::string joined(const Words& words, const std::string& between = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

// ddpm completion and ddpm man, against what --help says.
class Manual : public CliTest {
 protected:
  std::string output(const Words& arguments) {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.status, 0) << joined(arguments) << ": " << result.err;
    return result.out;
  }

  std::string help(Words command) {
    command.emplace_back("--help");
    return output(command);
  }

  // Subcommands are the lines of the last section of --help.
  static Words commands_in(const std::string& help) {
    Words names;
    const size_t begin = help.find("\nSubcommands:\n");
    if (begin == std::string::npos) return names;
    std::istringstream lines(help.substr(begin + 1));
    std::string line;
    for (std::getline(lines, line); std::getline(lines, line) && line.starts_with("  ");) {
      if (line[2] != ' ') names.push_back(line.substr(2, line.find(' ', 2) - 2));
    }
    return names;
  }

  static std::set<std::string> flags_in(const std::string& help) {
    static const std::regex flag("\n  (?:-h,)?(--[a-z0-9-]+)");
    std::set<std::string> names;
    for (std::sregex_iterator i(help.begin(), help.end(), flag), end; i != end; ++i)
      names.insert((*i)[1]);
    return names;
  }

  // Every command with its help: the program, train, ..., eval, eval sweep.
  std::map<Words, std::string> all_help() {
    std::map<Words, std::string> all{{{}, help({})}};
    for (const std::string& name : commands_in(all.at({}))) {
      all[{name}] = help({name});
      for (const std::string& below : commands_in(all[{name}]))
        all[{name, below}] = help({name, below});
    }
    return all;
  }

  ProgramResult bash(const std::string& script) {
    return Program(folder_.path(), {"--norc", "-c", script, "bash", DDPM_PROGRAM}, {}, "/bin/bash")
        .wait();
  }

  // What bash offers for a line, in order.
  std::string completed(const Words& line) {
    const std::string script = "source ./script || exit 3; COMP_WORDS=(" + joined(line) +
                               "); COMP_CWORD=" + std::to_string(line.size() - 1) +
                               "; _ddpm; echo \"${COMPREPLY[*]}\"";
    const ProgramResult result = bash(script);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.out.substr(0, result.out.find('\n'));
  }
};

TEST_F(Manual, EveryFlagOfEveryCommandIsInBothKinds) {
  const auto all = all_help();
  ASSERT_GE(all.size(), 20u);
  const std::string bash = output({"completion", "bash"});
  const std::string zsh = output({"completion", "zsh"});
  const std::string fish = output({"completion", "fish"});
  output({"man", "--out", "pages"});
  for (const auto& [command, text] : all) {
    ASSERT_FALSE(flags_in(text).empty()) << joined(command);
    Words page{"man"};
    page.insert(page.end(), command.begin(), command.end());
    std::string man = output(page);
    EXPECT_EQ(
        man,
        io::read_text(folder_ / "pages" /
                      (joined({"ddpm", joined(command, "-")}, command.empty() ? "" : "-") + ".1")));
    man = std::regex_replace(man, std::regex(R"(\\-)"), "-");
    // Of each script, the part of this command.
    const size_t at = bash.find("    '" + joined(command) + "')\n");
    ASSERT_NE(at, std::string::npos) << joined(command);
    const std::string in_bash = bash.substr(at, bash.find(";;", at) - at);
    const std::string function =
        "_ddpm" + (command.empty() ? "" : "_" + joined(command, "_")) + "() {";
    const size_t begin = zsh.find(function);
    ASSERT_NE(begin, std::string::npos) << function;
    const std::string in_zsh = zsh.substr(begin, zsh.find("\n}\n", begin) - begin);
    for (const std::string& flag : flags_in(text)) {
      EXPECT_NE(man.find("\\fB" + flag + "\\fR"), std::string::npos) << joined(command) << flag;
      EXPECT_TRUE(std::regex_search(in_bash, std::regex("[ ']" + flag + "[ ']")))
          << joined(command) << flag;
      EXPECT_NE(in_zsh.find("'" + flag + "["), std::string::npos) << joined(command) << flag;
      const std::regex in_fish("-n '__ddpm_in " + joined(command) + "'[^\n]* -l " + flag.substr(2) +
                               " ");
      EXPECT_TRUE(std::regex_search(fish, in_fish)) << joined(command) << flag;
    }
  }
}

TEST_F(Manual, BashCompletesCommandsFlagsAndValues) {
  io::write_file_synced(folder_ / "script", output({"completion", "bash"}));
  EXPECT_EQ(completed({"ddpm", "sam"}), "sample");
  EXPECT_EQ(completed({"ddpm", "sample", "--spa"}), "--spacing");
  EXPECT_EQ(completed({"ddpm", "sample", "--spacing", "tr"}), "trailing");
  EXPECT_EQ(completed({"ddpm", "sample", "--spacing", "=", "tr"}), "trailing");
  EXPECT_EQ(completed({"ddpm", "sample", "--method", "uni"}), "unipc");
  EXPECT_EQ(completed({"ddpm", "eval", "sw"}), "sweep");
  EXPECT_EQ(completed({"ddpm", "eval", "sweep", "--spa"}), "--spacing");
  EXPECT_EQ(completed({"ddpm", "eval", "likelihood", "--variance", "ana"}), "analytic");
  EXPECT_EQ(completed({"ddpm", "eval", "likelihood", "--sigma", "ana"}), "analytic");
  EXPECT_EQ(completed({"ddpm", "completion", "z"}), "zsh");
  EXPECT_EQ(completed({"ddpm", "man", "conv"}), "convert");
  EXPECT_EQ(completed({"ddpm", "train", "--config", "ti"}), "tiny.toml");
  EXPECT_EQ(completed({"ddpm", "info", "ti"}), "tiny.toml");
  EXPECT_EQ(completed({"ddpm", "sample", "--num", "1"}), "") << "a number completes to nothing";
}

TEST_F(Manual, BashCompletesPathsWithSpacesAsOneWord) {
  io::write_file_synced(folder_ / "script", output({"completion", "bash"}));
  std::filesystem::create_directory(folder_ / "my runs");
  const ProgramResult result = bash(
      "source ./script; COMP_WORDS=(ddpm sample --ckpt my); COMP_CWORD=3; _ddpm; "
      "echo \"${#COMPREPLY[@]}:${COMPREPLY[0]}\"");
  EXPECT_EQ(result.out, "1:my runs\n") << result.err;
}

TEST_F(Manual, BashFindsNoMistakeInItsScript) {
  io::write_file_synced(folder_ / "script", output({"completion", "bash"}));
  const ProgramResult result = bash("bash -n script");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.err, "");
}

TEST_F(Manual, PagesHaveNoMistakeThatGroffSees) {
  if (bash("command -v groff").status != 0) GTEST_SKIP() << "groff is not installed";
  output({"man", "--out", "pages"});
  const ProgramResult result =
      bash("for page in pages/*.1; do groff -man -ww -z -Tascii \"$page\" 2>&1; done");
  EXPECT_EQ(result.out, "");
}

TEST_F(Manual, MistakesAreNamed) {
  expect_error({"man", "paint"}, 2, "unknown command \"paint\"");
  expect_error({"man", "sample", "--out", "pages"}, 2, "--out");
  expect_error({"completion", "tcsh"}, 2, "must be one of bash, zsh, fish");
}

}  // namespace
}  // namespace ddpm
