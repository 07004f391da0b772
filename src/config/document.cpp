#include "ddpm/config/document.h"

#include "ddpm/base/text.h"
#include "document_state.h"
#include "toml_text.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

namespace ddpm::config {

namespace fs = std::filesystem;

namespace {

// The parser's own words, and a hint where they are far from the usual cause.
std::string syntax_message(const toml::parse_error& error) {
  const std::string_view words = error.description();
  const bool value = words.find("parsing value") != std::string::npos ||
                     words.find("parsing boolean") != std::string::npos;
  return fmt::format("not valid TOML: {}{}", words,
                     value ? "; text must stand in quotes, as in path = \"data\"; truth values are "
                             "true and false"
                           : "");
}

// Editors on Windows may save a text in UTF-16: with a mark in front, or every second byte 0.
bool is_utf16(std::string_view text) {
  const bool marked = text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff");
  return marked || (text.size() >= 2 && (text[0] == 0) != (text[1] == 0));
}

}  // namespace

Range<int64_t> at_least(int64_t low) { return {low, std::numeric_limits<int64_t>::max()}; }
Range<double> at_least(double low) { return {low, std::numeric_limits<double>::max()}; }
Range<double> positive() { return {0.0, std::numeric_limits<double>::max(), true}; }

Document::Document() : state_(std::make_unique<State>()) {}
Document::~Document() = default;
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;

Document Document::load(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored))
    throw IoError(path, "is a folder; give the .toml file itself");
  std::ifstream in(path, std::ios::binary);
  if (!in)
    throw IoError(path, "cannot be opened; give the path of a .toml config file (see configs/)");
  std::ostringstream text;
  text << in.rdbuf();
  return parse(text.str(), path.string());
}

Document Document::parse(std::string_view text, const std::string& name) {
  if (is_utf16(text)) throw ConfigError({name}, "is UTF-16 text; save it as UTF-8");
  Document document;
  document.state_->name = name;
  try {
    document.state_->root = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw ConfigError(locate(name, error.source()), syntax_message(error));
  }
  for (const auto& [key, node] : document.state_->root) {
    if (node.is_table()) continue;
    throw ConfigError(
        locate(name, key.source()),
        node.is_array_of_tables()
            ? fmt::format("{0}: is an array of tables; write [{0}], in single brackets", key.str())
            : fmt::format("{}: stands outside any section; put it below a [section] line",
                          key.str()));
  }
  return document;
}

void Document::set(std::string_view assignment) {
  set(assignment, fmt::format("--set {}", assignment));
}

void Document::set(std::string_view assignment, const std::string& origin) {
  const SourceLocation where{origin};
  const size_t equals = assignment.find('=');
  const std::string path(trimmed(assignment.substr(0, equals)));
  const size_t dot = path.find('.');
  if (equals == std::string_view::npos || dot == std::string::npos || dot == 0 ||
      dot + 1 == path.size()) {
    throw ConfigError(where, "must have the form section.key=value, as in train.batch_size=64");
  }
  const std::string value(trimmed(assignment.substr(equals + 1)));
  toml::table parsed;
  try {
    parsed = toml::parse("value = " + value);
  } catch (const toml::parse_error&) {
    parsed.insert("value", value);  // a bare word or a path
  }
  if (parsed.size() != 1) throw ConfigError(where, "must hold one value");
  toml::table& root = state_->root;
  const std::string section = path.substr(0, dot);
  if (!root.contains(section)) root.insert(section, toml::table{});
  root[section].as_table()->insert_or_assign(path.substr(dot + 1), *parsed.get("value"));
  state_->overrides[path] = {where, value};
}

Reader Document::section(const std::string& name) {
  state_->section(name);
  return Reader(state_.get(), name);
}

void Document::check_all_read() const {
  std::vector<std::string> sections, keys;
  for (const State::Section& s : state_->sections) {
    sections.push_back(s.name);
    for (const State::Entry& e : s.read) keys.push_back(s.name + "." + e.key);
  }
  struct Unknown {
    SourceLocation where;
    std::string path;
    bool is_section;
  };
  std::vector<Unknown> unknown;
  for (const auto& [section, node] : state_->root) {
    const std::string name(section.str());
    if (std::find(sections.begin(), sections.end(), name) == sections.end() &&
        node.as_table()->empty()) {
      unknown.push_back({locate(state_->name, section.source()), name, true});
    }
    for (const auto& [key, value] : *node.as_table()) {
      const std::string path = name + "." + std::string(key.str());
      if (std::find(keys.begin(), keys.end(), path) != keys.end()) continue;
      const auto overridden = state_->overrides.find(path);
      const SourceLocation where = overridden != state_->overrides.end()
                                       ? overridden->second.where
                                       : locate(state_->name, key.source());
      unknown.push_back({where, path, false});
    }
  }
  if (unknown.empty()) return;
  const auto first =
      std::min_element(unknown.begin(), unknown.end(), [](const Unknown& a, const Unknown& b) {
        return std::pair(a.where.line, a.where.column) < std::pair(b.where.line, b.where.column);
      });
  const std::string suggestion = nearest(first->path, first->is_section ? sections : keys);
  if (!suggestion.empty()) {
    throw ConfigError(first->where,
                      fmt::format("{}: unknown key; did you mean {}?", first->path, suggestion));
  }
  const std::string section = first->path.substr(0, first->path.find('.'));
  std::vector<std::string> candidates;
  for (const State::Section& s : state_->sections) {
    if (s.name != section) continue;
    for (const State::Entry& e : s.read) candidates.push_back(e.key);
  }
  if (candidates.empty()) {
    throw ConfigError(first->where, fmt::format("{}: unknown section; the sections are {}",
                                                first->path, fmt::join(sections, ", ")));
  }
  throw ConfigError(first->where, fmt::format("{}: unknown key; [{}] knows {}", first->path,
                                              section, fmt::join(candidates, ", ")));
}

std::string Document::effective() const {
  std::vector<std::string> names;
  for (const State::Section& section : state_->sections) names.push_back(section.name);
  return effective(names);
}

std::string Document::effective(const std::vector<std::string>& sections) const {
  std::string text;
  for (const State::Section& section : state_->sections) {
    const bool wanted = std::find(sections.begin(), sections.end(), section.name) != sections.end();
    if (!wanted || section.read.empty()) continue;
    text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section.name);
    for (const State::Entry& entry : section.read) {
      text += fmt::format("{} = {}\n", entry.key, entry.value);
    }
  }
  return text;
}

std::vector<KeyDeclaration> Document::declarations() const {
  std::vector<KeyDeclaration> all;
  for (const State::Section& section : state_->sections) {
    for (const State::Entry& entry : section.read) all.push_back(entry.declared);
  }
  return all;
}

std::vector<Setting> Document::settings() const {
  std::vector<Setting> settings;
  for (const State::Section& section : state_->sections) {
    for (const State::Entry& entry : section.read)
      settings.push_back({section.name + "." + entry.key, entry.value});
  }
  return settings;
}

std::vector<Change> changes(const Document& was, const Document& is) {
  const std::vector<Setting> before = was.settings(), now = is.settings();
  const auto find = [](const std::vector<Setting>& settings, const std::string& key) {
    const auto found = std::find_if(settings.begin(), settings.end(),
                                    [&](const Setting& s) { return s.key == key; });
    return found == settings.end() ? std::string() : found->value;
  };
  std::vector<Change> result;
  for (const Setting& s : now) {
    std::string former = find(before, s.key);
    if (former != s.value) result.push_back({s.key, std::move(former), s.value});
  }
  for (const Setting& s : before) {
    if (find(now, s.key).empty()) result.push_back({s.key, s.value, ""});
  }
  return result;
}

std::string to_string(const Change& change) {
  const auto shown = [](const std::string& value) {
    constexpr size_t kLongest = 60;
    if (value.empty()) return std::string("not set");
    return value.size() <= kLongest ? value : value.substr(0, kLongest) + "...";
  };
  return fmt::format("{} {} -> {}", change.key, shown(change.was), shown(change.is));
}

}  // namespace ddpm::config
