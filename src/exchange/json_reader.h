#pragma once

#include "ddpm/base/error.h"
#include "json_text.h"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::exchange {

/// Reads the keys of a JSON object one by one, with defaults. null counts as missing.
class JsonReader {
 public:
  JsonReader(std::string_view text, std::filesystem::path path)
      : path_(std::move(path)), json_(parse_json_object(text, path_)) {}

  bool has(const std::string& key) {
    read_.insert(key);
    return json_.contains(key) && !json_[key].is_null();
  }
  /// Whether the key exists, even if it is null.
  bool written(const std::string& key) const { return json_.contains(key); }
  /// The value, or the default if the key is missing. Throws if the type is wrong, a number is not
  /// finite, or an integer has a fraction.
  template <class T>
  T get(const std::string& key, T fallback) {
    if (!has(key)) return fallback;
    const nlohmann::json& value = json_[key];
    try {
      if (fits<T>(value)) return value.template get<T>();
    } catch (const nlohmann::json::exception&) {  // wrong type
    }
    fail(key, "is of the wrong type");
  }
  const nlohmann::json& raw(const std::string& key) const { return json_[key]; }
  /// Throws if the key has another value.
  template <class T>
  void expect(const std::string& key, T only) {
    if (get<T>(key, only) != only)
      fail(key, fmt::format("cannot be expressed; only {} can", nlohmann::json(only).dump()));
  }
  /// The same for a required key; also throws if it is null.
  template <class T>
  void expect_written(const std::string& key, T only) {
    read_.insert(key);
    if (json_[key] != nlohmann::json(only))
      fail(key, fmt::format("cannot be expressed; only {} can", nlohmann::json(only).dump()));
  }
  void expect_null(const std::string& key) {
    if (has(key)) fail(key, "cannot be expressed; only null can");
  }
  void ignore(const std::string& key) { read_.insert(key); }
  /// Throws for a key that was not read, unless its value is null or false or its name starts with
  /// "_".
  void check_all_read() const {
    for (const auto& [key, value] : json_.items()) {
      const bool empty = value.is_null() || value == false || key.starts_with("_");
      if (!empty && !read_.contains(key)) fail(key, "is unknown here");
    }
  }
  [[noreturn]] void fail(const std::string& key, const std::string& message) const {
    const std::string value = json_.contains(key) ? shown(json_[key]) : "null";
    throw IoError(path_, fmt::format("{} = {} {}", key, value, message));
  }

 private:
  static bool is_whole(const nlohmann::json& value) {
    if (!value.is_number_float()) return true;
    const auto number = value.get<double>();
    return number == std::floor(number) && std::abs(number) < 9007199254740992.0;  // 2^53
  }
  static bool is_finite(const nlohmann::json& value) {
    return !value.is_number_float() || std::isfinite(value.get<double>());
  }
  template <class T>
  static bool fits(const nlohmann::json& value) {
    if constexpr (std::same_as<T, int64_t>) return is_whole(value);
    if constexpr (std::same_as<T, double>) return is_finite(value);
    if constexpr (std::same_as<T, std::vector<int64_t>>)
      return std::all_of(value.begin(), value.end(), is_whole);
    if constexpr (std::same_as<T, std::vector<double>>)
      return std::all_of(value.begin(), value.end(), is_finite);
    return true;
  }

  std::filesystem::path path_;
  nlohmann::json json_;
  std::set<std::string> read_;
};

}  // namespace ddpm::exchange
