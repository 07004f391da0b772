#include "ddpm/config/document.h"

#include "ddpm/base/text.h"
#include "ddpm/base/utf8.h"
#include "toml_text.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

namespace ddpm::config {

namespace fs = std::filesystem;

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

namespace {

SourceLocation locate(const std::string& file, const toml::source_region& region) {
  return {file, static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
}

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

template <class T>
std::string describe(const Range<T>& range) {
  const bool has_low = range.low > std::numeric_limits<T>::lowest();
  const bool has_high = range.high < std::numeric_limits<T>::max();
  const std::string low =
      has_low ? fmt::format("{} {}", range.low_open ? "above" : "at least", range.low) : "";
  const std::string high =
      has_high ? fmt::format("{} {}", range.high_open ? "below" : "at most", range.high) : "";
  return low + (has_low && has_high ? " and " : "") + high;
}

template <class T>
bool inside(const Range<T>& range, T value) {
  return (range.low_open ? value > range.low : value >= range.low) &&
         (range.high_open ? value < range.high : value <= range.high);
}

// What a value of this range must be; `node` is the wrong value that was found.
template <class T>
std::string requirement(const Range<T>& range, const toml::node& node) {
  const auto* real = node.as_floating_point();
  const bool finite = !real || std::isfinite(real->get());
  const std::string bounds = describe(range);
  return fmt::format("{}{}{}",
                     std::is_integral_v<T> ? "an integer"
                     : finite              ? "a number"
                                           : "a finite number",
                     bounds.empty() ? "" : ", ", bounds);
}

template <class T>
constexpr const char* kTypeName = std::is_integral_v<T> ? "integer" : "number";

// An integer may also be written as 1e6 or 1000000.0, as long as a double holds it exactly.
template <class T>
std::optional<T> number(const toml::node& node) {
  if (const auto* integer = node.as_integer()) return static_cast<T>(integer->get());
  const auto* real = node.as_floating_point();
  if (!real) return std::nullopt;
  constexpr double kExact = 9007199254740992.0;  // 2^53
  const double value = real->get();
  if (std::is_integral_v<T> && !(std::abs(value) <= kExact && std::floor(value) == value))
    return std::nullopt;
  return static_cast<T>(value);
}

// Editors on Windows may save a text in UTF-16: with a mark in front, or every second byte 0.
bool is_utf16(std::string_view text) {
  const bool marked = text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff");
  return marked || (text.size() >= 2 && (text[0] == 0) != (text[1] == 0));
}

// The place of one element, given the place of the whole value.
SourceLocation where_in(const SourceLocation& whole, const toml::node& item) {
  const bool known = whole.line > 0 && item.source().begin.line > 0;
  return known ? locate(whole.file, item.source()) : whole;
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

// --- Reader ---

template <class Value>
void Reader::remember(const std::string& key, const Value& value, const Value& fallback,
                      const std::string& type, const std::string& range) {
  state_->remember(render(value), {section_, key, type, render(fallback), range});
}

SourceLocation Reader::where(const std::string& key) const {
  const auto overridden = state_->overrides.find(section_ + "." + key);
  if (overridden != state_->overrides.end()) return overridden->second.where;
  if (const toml::node* node = state_->find(section_, key))
    return locate(state_->name, node->source());
  return {state_->name};
}

bool Reader::has(const std::string& key) const { return state_->find(section_, key) != nullptr; }

void Reader::fail(const std::string& key, const std::string& message) const {
  fail_at(where(key), key, message);
}

void Reader::fail_at(const SourceLocation& where, const std::string& key,
                     const std::string& message) const {
  throw ConfigError(where, fmt::format("{}.{}: {}", section_, key, message));
}

template <class T>
T Reader::read_number(const std::string& key, T fallback, const Range<T>& range) {
  T value = fallback;
  if (const toml::node* node = state_->find(section_, key)) {
    const std::optional<T> read = number<T>(*node);
    if (!read || !inside(range, *read))
      fail(key, fmt::format("is {}; must be {}", read ? render(*read) : describe(*node),
                            requirement(range, *node)));
    value = *read;
  }
  remember(key, value, fallback, kTypeName<T>, describe(range));
  return value;
}

template <class T>
std::vector<T> Reader::read_numbers(const std::string& key, const std::vector<T>& fallback,
                                    const Range<T>& range, size_t min_count) {
  std::vector<T> values = fallback;
  if (const toml::node* node = state_->find(section_, key)) {
    const toml::array one_number(*node);
    const toml::array* array = node->is_number() ? &one_number : node->as_array();
    if (!array)
      fail(key, fmt::format("is {}; must be an array such as [1, 2, 2]", describe(*node)));
    values.clear();
    for (const toml::node& item : *array) {
      const std::optional<T> read = number<T>(item);
      if (!read || !inside(range, *read)) {
        fail_at(where_in(where(key), item), key,
                fmt::format("holds {}; each element must be {}",
                            read ? render(*read) : describe(item), requirement(range, item)));
      }
      values.push_back(*read);
    }
    if (values.size() < min_count) {
      fail(key, fmt::format("has {} elements; must have at least {}", values.size(), min_count));
    }
  }
  remember(key, values, fallback, std::string(kTypeName<T>) + "s", describe(range));
  return values;
}

int64_t Reader::integer(const std::string& key, int64_t fallback, Range<int64_t> range) {
  return read_number(key, fallback, range);
}

double Reader::real(const std::string& key, double fallback, Range<double> range) {
  return read_number(key, fallback, range);
}

std::vector<int64_t> Reader::integers(const std::string& key, const std::vector<int64_t>& fallback,
                                      Range<int64_t> range, size_t min_count) {
  return read_numbers(key, fallback, range, min_count);
}

std::vector<double> Reader::reals(const std::string& key, const std::vector<double>& fallback,
                                  Range<double> range, size_t min_count) {
  return read_numbers(key, fallback, range, min_count);
}

bool Reader::boolean(const std::string& key, bool fallback) {
  bool value = fallback;
  if (const toml::node* node = state_->find(section_, key)) {
    if (!node->is_boolean())
      fail(key, fmt::format("is {}; must be true or false", describe(*node)));
    value = node->as_boolean()->get();
  }
  remember(key, value, fallback, "true or false");
  return value;
}

std::optional<bool> Reader::boolean_or_auto(const std::string& key, std::optional<bool> fallback) {
  std::optional<bool> value = fallback;
  if (const toml::node* node = state_->find(section_, key)) {
    if (node->is_boolean()) {
      value = node->as_boolean()->get();
    } else if (node->is_string() && node->as_string()->get() == "auto") {
      value.reset();
    } else {
      fail(key, fmt::format("is {}; must be true, false or \"auto\"", describe(*node)));
    }
  }
  const auto text = [](std::optional<bool> b) { return b ? render(*b) : render("auto"); };
  state_->remember(text(value), {section_, key, "true or false", text(fallback), "or \"auto\""});
  return value;
}

void Reader::settle(const std::string& key, bool value) {
  state_->remember(render(value), {section_, key, "", "", ""});
}

std::string Reader::read_text(const std::string& key, const std::string& fallback) const {
  std::string value = fallback;
  if (const toml::node* node = state_->find(section_, key)) {
    const auto overridden = state_->overrides.find(section_ + "." + key);
    if (node->is_string()) {
      value = node->as_string()->get();
    } else if (node->is_value() && overridden != state_->overrides.end()) {
      value = overridden->second.value;  // --set run.name=12: a shell takes quotes away
    } else {
      fail(key, fmt::format("is {}; must be text in quotes", describe(*node)));
    }
  }
  return value;
}

std::string Reader::text(const std::string& key, const std::string& fallback) {
  const std::string value = read_text(key, fallback);
  if (!is_utf8(value)) {
    fail(key,
         fmt::format("is \"{}\", which is not UTF-8 (\\x marks the bytes): no config could hold "
                     "it; rename it, or make a symbolic link with another name",
                     as_utf8(value)));
  }
  remember(key, value, fallback, "text");
  return value;
}

std::string Reader::choice(const std::string& key, const std::string& fallback,
                           const std::vector<std::string>& allowed) {
  const std::string value = read_text(key, fallback);
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    const std::string suggestion = nearest(value, allowed);
    fail(key,
         fmt::format("is {}; must be one of {}{}", render(value), fmt::join(allowed, ", "),
                     suggestion.empty() ? "" : fmt::format(" (did you mean \"{}\"?)", suggestion)));
  }
  remember(key, value, fallback, "one of", fmt::format("{}", fmt::join(allowed, ", ")));
  return value;
}

std::vector<std::string> Reader::texts(const std::string& key,
                                       const std::vector<std::string>& fallback) {
  std::vector<std::string> values = fallback;
  if (const toml::node* node = state_->find(section_, key)) {
    if (!node->is_array())
      fail(key, fmt::format("is {}; must be an array of texts", describe(*node)));
    values.clear();
    for (const toml::node& item : *node->as_array()) {
      if (!item.is_string()) {
        fail_at(where_in(where(key), item), key,
                fmt::format("holds {}; each element must be text in quotes", describe(item)));
      }
      values.push_back(item.as_string()->get());
    }
  }
  remember(key, values, fallback, "texts");
  return values;
}

}  // namespace ddpm::config
