#pragma once

#include "ddpm/base/error.h"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ddpm::config {

template <class T>
struct Range {
  T low;
  T high;
  bool low_open = false;   ///< low itself is not allowed
  bool high_open = false;  ///< high itself is not allowed
};

/// At least `low`.
Range<int64_t> at_least(int64_t low);
inline Range<int64_t> at_least(int low) { return at_least(int64_t{low}); }
Range<double> at_least(double low);
/// Greater than zero.
Range<double> positive();

/// A key as the program reads it, for the reference of all keys.
struct KeyDeclaration {
  std::string section, key;
  std::string type;  ///< "integer", "number", "true or false", "text", "one of", "integers", ...
  std::string fallback;  ///< the default, as TOML
  std::string range;     ///< "at least 1"; the names that a choice allows; "": any
};

class Reader;

/// A value that was read, default or not.
struct Setting {
  std::string key;    ///< "section.key"
  std::string value;  ///< as TOML, in one spelling: equal values are equal texts
};

/// A TOML file (or text) whose keys are read once each, typed and range-checked, through Reader. It
/// remembers which keys were asked for: what nobody asked for is a user's mistake, found by
/// check_all_read.
class Document {
 public:
  /// Throws IoError where the file cannot be read, ConfigError where it is not TOML.
  static Document load(const std::filesystem::path& path);
  /// `name` stands for the file in error messages.
  static Document parse(std::string_view text, const std::string& name);
  ~Document();
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;

  /// Applies "section.key=value" from the command line. The value is TOML; a bare word is taken as
  /// a string. Throws ConfigError where the assignment has no such form.
  void set(std::string_view assignment);
  /// The same where errors say that the value is from `origin` instead of "--set ...".
  void set(std::string_view assignment, const std::string& origin);

  /// The section [name]; a section that is not in the file reads as empty.
  Reader section(const std::string& name);

  /// Throws ConfigError at the first key, in file order, that nothing has read, and names the
  /// nearest known one.
  void check_all_read() const;

  /// Every value read so far, defaults included, as TOML: reading this text gives the same values.
  std::string effective() const;
  /// The same for the named sections alone.
  std::string effective(const std::vector<std::string>& sections) const;
  /// The same, one by one.
  std::vector<Setting> settings() const;

  /// Every key read so far, in the order of reading.
  std::vector<KeyDeclaration> declarations() const;

 private:
  Document();
  friend class Reader;
  struct State;
  std::unique_ptr<State> state_;
};

/// A key whose values in two documents differ; "" if it was not read in one of them.
struct Change {
  std::string key, was, is;
};

/// What differs between the values read from two documents, in the order of the second.
std::vector<Change> changes(const Document& was, const Document& is);
/// "optimizer.lr 0.001 -> 1e-05"; a long value is cut off.
std::string to_string(const Change& change);

/// Reads the keys of one section. Every read states its default and its range; each throws
/// ConfigError, located at the value, where the value has another type or lies outside.
class Reader {
 public:
  /// 1e6 and 1000000.0 are integers too.
  int64_t integer(const std::string& key, int64_t fallback, Range<int64_t> range);
  double real(const std::string& key, double fallback, Range<double> range);
  bool boolean(const std::string& key, bool fallback);
  /// true, false, or nothing for "auto", which settle() replaces once it is known.
  std::optional<bool> boolean_or_auto(const std::string& key, std::optional<bool> fallback);
  /// What "auto" at `key` stands for: the effective config has it from here on.
  void settle(const std::string& key, bool value);
  std::string text(const std::string& key, const std::string& fallback);
  /// One of `allowed`.
  std::string choice(const std::string& key, const std::string& fallback,
                     const std::vector<std::string>& allowed);
  /// An array, or one number, of at least `min_count` integers.
  std::vector<int64_t> integers(const std::string& key, const std::vector<int64_t>& fallback,
                                Range<int64_t> range, size_t min_count = 0);
  /// An array, or one number, of at least `min_count` reals.
  std::vector<double> reals(const std::string& key, const std::vector<double>& fallback,
                            Range<double> range, size_t min_count = 0);

  /// An array of texts.
  std::vector<std::string> texts(const std::string& key, const std::vector<std::string>& fallback);

  /// Where the value of `key` was written (for errors that span several keys); the section's name
  /// and file where it has its default.
  SourceLocation where(const std::string& key) const;
  /// Throws ConfigError("section.key: <message>"), located at the value. Messages read "is 7; must
  /// be ...".
  [[noreturn]] void fail(const std::string& key, const std::string& message) const;
  /// Is the key written in the file or on the command line?
  bool has(const std::string& key) const;

 private:
  friend class Document;
  Reader(Document::State* state, std::string section)
      : state_(state), section_(std::move(section)) {}
  [[noreturn]] void fail_at(const SourceLocation& where, const std::string& key,
                            const std::string& message) const;
  template <class T>
  T read_number(const std::string& key, T fallback, const Range<T>& range);
  template <class T>
  std::vector<T> read_numbers(const std::string& key, const std::vector<T>& fallback,
                              const Range<T>& range, size_t min_count);

  std::string read_text(const std::string& key, const std::string& fallback) const;
  template <class Value>
  void remember(const std::string& key, const Value& value, const Value& fallback,
                const std::string& type, const std::string& range = "");

  Document::State* state_;
  std::string section_;
};

}  // namespace ddpm::config
