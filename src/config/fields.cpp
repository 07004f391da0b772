#include "ddpm/config/fields.h"

#include "ddpm/base/text.h"
#include "toml_text.h"

#include <concepts>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::config {

void Fields::operator()(const std::string& key, uint64_t& value, Range<int64_t> range) {
  auto number = static_cast<int64_t>(value);
  integer(key, number, range);
  value = static_cast<uint64_t>(number);
}

void Fields::operator()(const std::string& key, std::filesystem::path& value) {
  std::string path = value.string();
  text(key, path);
  value = path;
}

void Fields::two(const std::string& key, bool& value, const std::string& if_false,
                 const std::string& if_true) {
  std::string name = value ? if_true : if_false;
  choice(key, name, value ? std::vector{if_true, if_false} : std::vector{if_false, if_true});
  value = name == if_true;
}

void FieldReader::integer(const std::string& key, int64_t& value, Range<int64_t> range) {
  value = reader_.integer(key, value, range);
}
void FieldReader::real(const std::string& key, double& value, Range<double> range) {
  value = reader_.real(key, value, range);
}
void FieldReader::boolean(const std::string& key, bool& value) {
  value = reader_.boolean(key, value);
}
void FieldReader::boolean_or_auto(const std::string& key, bool& value, bool& automatic) {
  const auto read =
      reader_.boolean_or_auto(key, automatic ? std::nullopt : std::optional<bool>(value));
  automatic = !read;
  value = read.value_or(false);
}
void FieldReader::text(const std::string& key, std::string& value) {
  value = reader_.text(key, value);
}
void FieldReader::choice(const std::string& key, std::string& value,
                         const std::vector<std::string>& allowed) {
  value = reader_.choice(key, value, allowed);
}
void FieldReader::integers(const std::string& key, std::vector<int64_t>& values,
                           Range<int64_t> range, size_t min_count) {
  values = reader_.integers(key, values, range, min_count);
}
void FieldReader::reals(const std::string& key, std::vector<double>& values, Range<double> range,
                        size_t min_count) {
  values = reader_.reals(key, values, range, min_count);
}
void FieldReader::texts(const std::string& key, std::vector<std::string>& values) {
  values = reader_.texts(key, values);
}

FieldWriter::FieldWriter()
    : json_(std::make_unique<nlohmann::ordered_json>(nlohmann::ordered_json::object())) {}
FieldWriter::~FieldWriter() = default;

template <class Value>
void FieldWriter::add(const std::string& key, const Value& value) {
  settings_.push_back({key, render(value)});
  if constexpr (std::same_as<Value, std::string>) {
    (*json_)[key] = as_utf8(value);
  } else if constexpr (std::same_as<Value, std::vector<std::string>>) {
    nlohmann::ordered_json& all = (*json_)[key] = nlohmann::ordered_json::array();
    for (const std::string& one : value) all.push_back(as_utf8(one));
  } else {
    (*json_)[key] = value;
  }
}

void FieldWriter::boolean_or_auto(const std::string& key, bool& value, bool& automatic) {
  if (automatic)
    add(key, std::string("auto"));
  else
    add(key, value);
}

std::string section_text(const std::string& section, const std::vector<Setting>& settings) {
  std::string text = fmt::format("[{}]\n", section);
  for (const Setting& s : settings) text += fmt::format("{} = {}\n", s.key, s.value);
  return text;
}

}  // namespace ddpm::config
