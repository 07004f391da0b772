#include "safetensors_header.h"

#include "ddpm/base/text.h"

#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::io {
namespace {

using nlohmann::json;

constexpr size_t kMaxDimensions = 64;

// Reads the JSON event by event: unlike a document tree this sees names that occur twice, and needs
// no more memory than the header. `problem` is the error message.
class HeaderParser : public nlohmann::json_sax<json> {
 public:
  explicit HeaderParser(SafetensorsHeader& header)
      : entries_(header.entries), metadata_(header.metadata) {}

  std::string problem;

  bool start_object(std::size_t) override {
    if (state_ == State::kStart) return enter(State::kTop);
    if (state_ != State::kTop) return unexpected("an object");
    if (key_ == kMetadataKey) return enter(State::kMetadata);
    entries_.push_back({.name = key_, .dtype = {}, .shape = {}, .offsets = {}});
    return enter(State::kTensor);
  }

  bool end_object() override {
    if (state_ == State::kTop) return enter(State::kEnd);
    if (state_ == State::kTensor) {
      const HeaderEntry& entry = entries_.back();
      if (!entry.dtype || !entry.shape || !entry.offsets) {
        return fail(
            fmt::format("tensor {} lacks dtype, shape or data_offsets", shown_name(entry.name)));
      }
    }
    return enter(State::kTop);
  }

  bool key(std::string& key) override {
    if (state_ == State::kTop) {
      if (!names_.insert(key).second) return fail(shown_name(key) + " occurs twice");
      key_ = key;
    } else {
      field_ = key;
    }
    return true;
  }

  bool string(std::string& text) override {
    if (state_ == State::kMetadata) {
      if (metadata_.emplace(field_, text).second) return true;
      return fail(fmt::format("metadata {} occurs twice", shown_name(field_)));
    }
    if (state_ != State::kTensor || field_ != "dtype") return unexpected("a string");
    if (entries_.back().dtype) return twice();
    entries_.back().dtype = text;
    return true;
  }

  bool start_array(std::size_t) override {
    const bool is_shape = field_ == "shape";
    if (state_ != State::kTensor || (!is_shape && field_ != "data_offsets")) {
      return unexpected("an array");
    }
    std::optional<std::vector<uint64_t>>& list =
        is_shape ? entries_.back().shape : entries_.back().offsets;
    if (list) return twice();
    numbers_ = &list.emplace();
    return enter(State::kNumbers);
  }

  bool end_array() override { return enter(State::kTensor); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ != State::kNumbers) return unexpected("a number");
    if (numbers_->size() >= kMaxDimensions) {
      return fail(
          fmt::format("tensor {} has more than {} dimensions", shown_name(key_), kMaxDimensions));
    }
    numbers_->push_back(value);
    return true;
  }

  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const std::string&) override {
    return unexpected("a fraction, or a number that is too large,");
  }
  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return fail(fmt::format("the header is not JSON at its byte {}", position));
  }

 private:
  enum class State { kStart, kTop, kMetadata, kTensor, kNumbers, kEnd };

  bool enter(State state) {
    state_ = state;
    return true;
  }
  bool fail(std::string message) {
    problem = std::move(message);
    return false;
  }
  bool twice() {
    return fail(fmt::format("tensor {} states {} twice", shown_name(key_), shown_name(field_)));
  }
  bool unexpected(const char* what) {
    switch (state_) {
      case State::kStart:
      case State::kEnd:
        return fail(fmt::format("the header is {}, not an object", what));
      case State::kTop:
        return fail(fmt::format("{} is {}, not an object", shown_name(key_), what));
      case State::kMetadata:
        return fail(fmt::format("metadata {} is {}, not a string", shown_name(field_), what));
      default:
        return fail(
            fmt::format("tensor {}: {} may not be {}", shown_name(key_), shown_name(field_), what));
    }
  }

  std::vector<HeaderEntry>& entries_;
  Metadata& metadata_;
  State state_ = State::kStart;
  std::string key_;    // of the top level: the tensor's name
  std::string field_;  // within the tensor or the metadata
  std::vector<uint64_t>* numbers_ = nullptr;
  std::unordered_set<std::string> names_;
};

}  // namespace

std::string json_quoted(const std::string& text) { return json(as_utf8(text)).dump(); }

std::string shown_name(const std::string& name) {
  return json_quoted(name.size() <= 120 ? name : name.substr(0, 117) + "...");
}

std::string parse_header(const std::string& text, SafetensorsHeader& header) {
  HeaderParser parser(header);
  return json::sax_parse(text, &parser) ? "" : parser.problem;
}

}  // namespace ddpm::io
