#pragma once

#include "ddpm/config/document.h"
#include "ddpm/config/names.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::config {

/// A visitor of a config struct's keys. Each struct lists its keys once, in a function beside it:
///   void fields(Fields& f, SampleConfig& c) {
///     f("method", c.method);
///     f("steps", c.steps, at_least(0));
///   }
/// That list reads the struct from a config, writes it as TOML and JSON, and compares two of them.
/// The order is the order of writing. A value that the struct was made with is the key's default.
class Fields {
 public:
  virtual ~Fields() = default;

  void operator()(const std::string& key, int64_t& value, Range<int64_t> range) {
    integer(key, value, range);
  }
  void operator()(const std::string& key, uint64_t& value, Range<int64_t> range);
  void operator()(const std::string& key, double& value, Range<double> range) {
    real(key, value, range);
  }
  void operator()(const std::string& key, bool& value) { boolean(key, value); }
  void operator()(const std::string& key, std::string& value) { text(key, value); }
  void operator()(const std::string& key, std::filesystem::path& value);
  /// One of `allowed`.
  void operator()(const std::string& key, std::string& value,
                  const std::vector<std::string>& allowed) {
    choice(key, value, allowed);
  }
  /// At least `min_count` numbers; one number may stand without brackets.
  void operator()(const std::string& key, std::vector<int64_t>& values, Range<int64_t> range,
                  size_t min_count = 0) {
    integers(key, values, range, min_count);
  }
  void operator()(const std::string& key, std::vector<double>& values, Range<double> range,
                  size_t min_count = 0) {
    reals(key, values, range, min_count);
  }
  void operator()(const std::string& key, std::vector<std::string>& values) { texts(key, values); }
  template <Named Enum>
  void operator()(const std::string& key, Enum& value) {
    std::string name = to_string(value);
    choice(key, name, names<Enum>());
    value = *value_named<Enum>(name);
  }
  /// A bool whose two values have names in a config.
  void two(const std::string& key, bool& value, const std::string& if_false,
           const std::string& if_true);
  /// What was read at `key` is wrong for a reason that no range states.
  virtual void reject(const std::string& /*key*/, const std::string& /*message*/) {}
  /// Whether a key that came after others is left out: while writing, if it has its default. A text
  /// without the key is then as it was before the key existed.
  virtual bool omits(bool /*is_default*/) const { return false; }
  /// true, false or "auto"; `value` is false while `automatic` is true.
  virtual void boolean_or_auto(const std::string& key, bool& value, bool& automatic) = 0;

 protected:
  virtual void integer(const std::string& key, int64_t& value, Range<int64_t> range) = 0;
  virtual void real(const std::string& key, double& value, Range<double> range) = 0;
  virtual void boolean(const std::string& key, bool& value) = 0;
  virtual void text(const std::string& key, std::string& value) = 0;
  virtual void choice(const std::string& key, std::string& value,
                      const std::vector<std::string>& allowed) = 0;
  virtual void integers(const std::string& key, std::vector<int64_t>& values, Range<int64_t> range,
                        size_t min_count) = 0;
  virtual void reals(const std::string& key, std::vector<double>& values, Range<double> range,
                     size_t min_count) = 0;
  virtual void texts(const std::string& key, std::vector<std::string>& values) = 0;
};

/// Reads every key. Throws ConfigError as Reader does.
class FieldReader : public Fields {
 public:
  explicit FieldReader(Reader& reader) : reader_(reader) {}
  void reject(const std::string& key, const std::string& message) override {
    reader_.fail(key, message);
  }
  void boolean_or_auto(const std::string& key, bool& value, bool& automatic) override;

 protected:
  void integer(const std::string& key, int64_t& value, Range<int64_t> range) override;
  void real(const std::string& key, double& value, Range<double> range) override;
  void boolean(const std::string& key, bool& value) override;
  void text(const std::string& key, std::string& value) override;
  void choice(const std::string& key, std::string& value,
              const std::vector<std::string>& allowed) override;
  void integers(const std::string& key, std::vector<int64_t>& values, Range<int64_t> range,
                size_t min_count) override;
  void reals(const std::string& key, std::vector<double>& values, Range<double> range,
             size_t min_count) override;
  void texts(const std::string& key, std::vector<std::string>& values) override;

 private:
  Reader& reader_;
};

/// Collects every value.
class FieldWriter : public Fields {
 public:
  FieldWriter();
  ~FieldWriter() override;
  /// As TOML, in the order of the keys; `Setting::key` is the bare key.
  const std::vector<Setting>& settings() const { return settings_; }
  /// An object in the order of the keys. An infinite number is null.
  const nlohmann::ordered_json& json() const { return *json_; }
  bool omits(bool is_default) const override { return is_default; }
  void boolean_or_auto(const std::string& key, bool& value, bool& automatic) override;

 protected:
  void integer(const std::string& key, int64_t& value, Range<int64_t>) override { add(key, value); }
  void real(const std::string& key, double& value, Range<double>) override { add(key, value); }
  void boolean(const std::string& key, bool& value) override { add(key, value); }
  void text(const std::string& key, std::string& value) override { add(key, value); }
  void choice(const std::string& key, std::string& value,
              const std::vector<std::string>&) override {
    add(key, value);
  }
  void integers(const std::string& key, std::vector<int64_t>& values, Range<int64_t>,
                size_t) override {
    add(key, values);
  }
  void reals(const std::string& key, std::vector<double>& values, Range<double>, size_t) override {
    add(key, values);
  }
  void texts(const std::string& key, std::vector<std::string>& values) override {
    add(key, values);
  }

 private:
  template <class Value>
  void add(const std::string& key, const Value& value);

  std::vector<Setting> settings_;
  std::unique_ptr<nlohmann::ordered_json> json_;
};

/// "[section]" and a line per setting.
std::string section_text(const std::string& section, const std::vector<Setting>& settings);

/// Reads a config struct; its defaults are those of Config{}.
template <class Config>
Config read(Reader& reader) {
  Config config;
  FieldReader read(reader);
  fields(read, config);
  return config;
}

/// Every key with its value as TOML.
template <class Config>
std::vector<Setting> settings_of(Config config) {
  FieldWriter write;
  fields(write, config);
  return write.settings();
}

/// The section as TOML: reading it gives the same values.
template <class Config>
std::string to_toml(const Config& config, const std::string& section) {
  return section_text(section, settings_of(config));
}

/// Every key with its value, an ordered_json. Callers include <nlohmann/json.hpp>.
template <class Config>
auto to_json(Config config) {
  FieldWriter write;
  fields(write, config);
  return write.json();  // nlohmann::ordered_json
}

}  // namespace ddpm::config
