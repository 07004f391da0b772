#pragma once

#include "ddpm/config/document.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <toml++/toml.h>

// What Document and Reader share.

namespace ddpm::config {

struct Document::State {
  struct Entry {
    std::string key;
    std::string value;  // as TOML
    KeyDeclaration declared;
  };
  struct Section {
    std::string name;
    std::vector<Entry> read;  // in order of reading
  };

  struct Override {
    SourceLocation where;
    std::string value;  // as written
  };

  std::string name;
  toml::table root;
  std::map<std::string, Override> overrides;  // by "section.key"
  std::vector<Section> sections;

  Section& section(const std::string& section_name) {
    for (Section& s : sections) {
      if (s.name == section_name) return s;
    }
    return sections.emplace_back(Section{section_name, {}});
  }

  const toml::node* find(const std::string& section_name, const std::string& key) const {
    const toml::table* table = root.get_as<toml::table>(section_name);
    return table ? table->get(key) : nullptr;
  }

  void remember(std::string value, const KeyDeclaration& declared) {
    Section& s = section(declared.section);
    for (Entry& entry : s.read) {
      if (entry.key == declared.key) {
        entry.value = std::move(value);
        return;
      }
    }
    s.read.push_back({declared.key, std::move(value), declared});
  }
};

inline SourceLocation locate(const std::string& file, const toml::source_region& region) {
  return {file, static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
}

}  // namespace ddpm::config
