#pragma once

#include "ddpm/base/error.h"

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::exchange {

/// A JSON object whose keys are read one by one with their defaults. null counts as not written.
class JsonReader {
 public:
  JsonReader(std::string_view text, std::filesystem::path path)
      : path_(std::move(path)), json_(nlohmann::json::parse(text, nullptr, false)) {
    if (!json_.is_object()) throw IoError(path_, "is no JSON object; is it damaged?");
  }

  bool has(const std::string& key) {
    read_.insert(key);
    return json_.contains(key) && !json_[key].is_null();
  }
  /// Also as null.
  bool written(const std::string& key) const { return json_.contains(key); }
  template <class T>
  T get(const std::string& key, T fallback) {
    if (!has(key)) return fallback;
    try {
      return json_[key].template get<T>();
    } catch (const nlohmann::json::exception&) {
      fail(key, "is of the wrong type");
    }
  }
  const nlohmann::json& raw(const std::string& key) const { return json_[key]; }
  /// A key whose every other value is refused.
  template <class T>
  void expect(const std::string& key, T only) {
    if (get<T>(key, only) != only)
      fail(key, fmt::format("cannot be expressed; only {} can", nlohmann::json(only).dump()));
  }
  /// The same where the key is written; null is refused too.
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
  /// Refuses what was not asked for, unless it says nothing: null, false or a name with "_" in
  /// front.
  void check_all_read() const {
    for (const auto& [key, value] : json_.items()) {
      const bool empty = value.is_null() || value == false || key.starts_with("_");
      if (!empty && !read_.contains(key)) fail(key, "is unknown here");
    }
  }
  [[noreturn]] void fail(const std::string& key, const std::string& message) const {
    const std::string value = json_.contains(key) ? json_[key].dump() : "null";
    throw IoError(path_, fmt::format("{} = {} {}", key, value.substr(0, 80), message));
  }

 private:
  std::filesystem::path path_;
  nlohmann::json json_;
  std::set<std::string> read_;
};

}  // namespace ddpm::exchange
