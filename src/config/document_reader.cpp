#include "ddpm/base/text.h"
#include "ddpm/config/document.h"
#include "document_state.h"
#include "toml_text.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

namespace ddpm::config {
namespace {

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

// "; write 10" for the text "010" or ".1e2", which are no TOML numbers, and for a number in quotes.
template <class T>
std::string spelling_hint(const toml::node& node) {
  const auto* text = node.as_string();
  if (!text || text->get().empty()) return "";
  const std::string& written = text->get();
  char* end = nullptr;
  const double value = std::strtod(written.c_str(), &end);
  const bool is_number = *end == '\0' && std::isfinite(value) &&
                         written.find_first_not_of("0123456789.eE+-_") == std::string::npos;
  if (!is_number || (std::is_integral_v<T> && std::floor(value) != value)) return "";
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (std::floor(value) != value || std::abs(value) > kExact) return "; write " + render(value);
  return fmt::format("; write {}", static_cast<int64_t>(value));
}

// What a value of this range must be; `node` is the wrong value that was found.
template <class T>
std::string requirement(const Range<T>& range, const toml::node& node) {
  const auto* real = node.as_floating_point();
  const bool finite = !real || std::isfinite(real->get());
  const std::string bounds = describe(range);
  return fmt::format("{}{}{}{}",
                     std::is_integral_v<T> ? "an integer"
                     : finite              ? "a number"
                                           : "a finite number",
                     bounds.empty() ? "" : ", ", bounds, spelling_hint<T>(node));
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

// The place of one element, given the place of the whole value.
SourceLocation where_in(const SourceLocation& whole, const toml::node& item) {
  const bool known = whole.line > 0 && item.source().begin.line > 0;
  return known ? locate(whole.file, item.source()) : whole;
}

}  // namespace

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
