#include "ddpm/io/file.h"
#include "ddpm/train/experiment.h"

#include <filesystem>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

using config::KeyDeclaration;

// All keys that a config may hold, by "section.key": those of the default config, and of those that
// make others readable.
std::map<std::string, KeyDeclaration> declared_keys() {
  std::map<std::string, KeyDeclaration> keys;
  for (const char* text :
       {"", "[diffusion]\nschedule = \"table\"\ntimesteps = 2\nbetas = [0.1, 0.2]\n",
        "[diffusion]\nschedule = \"edm\"\nprediction = \"edm\"\n",
        "[model]\ncondition = \"downsample\"\n"}) {
    config::Document document = config::Document::parse(text, "test");
    read_experiment(document);
    for (const KeyDeclaration& d : document.declarations()) keys[d.section + "." + d.key] = d;
  }
  return keys;
}

// "| a | b |" to {"a", "b"}.
std::vector<std::string> cells(const std::string& row) {
  std::vector<std::string> parts;
  std::istringstream in(row.substr(1));
  for (std::string part; std::getline(in, part, '|');) {
    const size_t first = part.find_first_not_of(' '), last = part.find_last_not_of(' ');
    parts.push_back(first == std::string::npos ? "" : part.substr(first, last - first + 1));
  }
  return parts;
}

struct Row {
  std::string text;  // the declared part: "| `key` | type | `default` | allowed |"
  std::string meaning;
};

// The rows of the tables below "## [section]", by "section.key".
std::map<std::string, Row> documented_keys() {
  std::istringstream lines(
      io::read_text(std::filesystem::path(DDPM_SOURCE_DIR) / "docs" / "config.md"));
  std::map<std::string, Row> rows;
  std::string section;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("## "))
      section = line.starts_with("## [") ? line.substr(4, line.find(']') - 4) : "";
    if (section.empty() || !line.starts_with("| `")) continue;
    const std::vector<std::string> c = cells(line);
    if (c.size() != 5) {
      ADD_FAILURE() << "a row needs five cells: " << line;
      continue;
    }
    const std::string key = c[0].substr(1, c[0].size() - 2);
    EXPECT_FALSE(rows.contains(section + "." + key)) << "twice: " << section << "." << key;
    rows[section + "." + key] = {fmt::format("| {} | {} | {} | {} |", c[0], c[1], c[2], c[3]),
                                 c[4]};
  }
  return rows;
}

std::string row_of(const KeyDeclaration& d) {
  return fmt::format("| `{}` | {} | `{}` | {} |", d.key, d.type, d.fallback, d.range);
}

TEST(ConfigReference, HasEveryKeyWithItsTypeDefaultAndRange) {
  const auto documented = documented_keys();
  for (const auto& [name, declared] : declared_keys()) {
    const auto found = documented.find(name);
    if (found == documented.end()) {
      ADD_FAILURE() << "docs/config.md lacks [" << declared.section << "] " << row_of(declared)
                    << " WHAT IT MEANS |";
      continue;
    }
    EXPECT_EQ(found->second.text, row_of(declared)) << name;
    EXPECT_GT(found->second.meaning.size(), 10u) << name << " is not explained";
  }
}

TEST(ConfigReference, HasNoKeyThatTheProgramDoesNotKnow) {
  const auto declared = declared_keys();
  for (const auto& [name, row] : documented_keys()) {
    EXPECT_TRUE(declared.contains(name)) << "docs/config.md: no such key: " << name;
  }
}

}  // namespace
}  // namespace ddpm::train
