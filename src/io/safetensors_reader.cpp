#include "ddpm/io/safetensors.h"

#include "ddpm/base/error.h"
#include "ddpm/base/utf8.h"
#include "ddpm/io/foreign_text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <unordered_set>
#include <utility>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

static_assert(std::endian::native == std::endian::little,
              "safetensors holds little-endian numbers");

namespace ddpm::io {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as in the reference implementation
constexpr size_t kMaxDimensions = 64;
constexpr const char* kMetadataKey = "__metadata__";

struct Dtype {
  const char* name;
  torch::ScalarType type;
};

constexpr std::array<Dtype, 10> kDtypes = {{{"F64", torch::kFloat64},
                                            {"F32", torch::kFloat32},
                                            {"F16", torch::kFloat16},
                                            {"BF16", torch::kBFloat16},
                                            {"I64", torch::kInt64},
                                            {"I32", torch::kInt32},
                                            {"I16", torch::kInt16},
                                            {"I8", torch::kInt8},
                                            {"U8", torch::kUInt8},
                                            {"BOOL", torch::kBool}}};

std::optional<torch::ScalarType> type_of(const std::string& name) {
  for (const Dtype& d : kDtypes) {
    if (name == d.name) return d.type;
  }
  return std::nullopt;
}

const char* name_of(torch::ScalarType type) {
  for (const Dtype& d : kDtypes) {
    if (type == d.type) return d.name;
  }
  return nullptr;
}

// JSON text of a string; what is not UTF-8 in it is escaped.
std::string quoted(const std::string& text) { return json(as_utf8(text)).dump(); }

// A name from a file as an error message shows it: on one line and not endless.
std::string shown(const std::string& name) {
  return name.size() <= 120 ? quoted(name) : quoted(name.substr(0, 117) + "...");
}

// ---- Writing
// ---------------------------------------------------------------------------------------

// Positions in `tensors`, wide types first.
std::vector<size_t> order_of_data(const std::vector<NamedTensor>& tensors) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return tensors[a].tensor.element_size() > tensors[b].tensor.element_size();
  });
  return order;
}

void check_writable(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors) {
  std::unordered_set<std::string> seen;
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(tensor.defined(), "tensor '", name, "' is undefined");
    TORCH_CHECK(tensor.layout() == torch::kStrided, "tensor '", name, "' is not dense");
    TORCH_CHECK(name != kMetadataKey, "'", name, "' is reserved");
    TORCH_CHECK(seen.insert(name).second, "two tensors are named '", name, "'");
    if (name_of(tensor.scalar_type()) == nullptr) {
      throw IoError(path, fmt::format("tensor {} has type {}, which cannot be written; convert it",
                                      shown(name), torch::toString(tensor.scalar_type())));
    }
  }
}

// The length and the JSON, padded with spaces so that the data begins at a multiple of 8 bytes.
std::string make_header(const std::vector<NamedTensor>& tensors, const std::vector<size_t>& order,
                        const Metadata& metadata) {
  std::vector<uint64_t> offsets(tensors.size());
  uint64_t next = 0;
  for (const size_t i : order) {
    offsets[i] = next;
    next += tensors[i].tensor.nbytes();
  }

  std::vector<std::string> entries;
  if (!metadata.empty()) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : metadata) pairs.push_back(quoted(key) + ":" + quoted(value));
    entries.push_back(fmt::format("\"{}\":{{{}}}", kMetadataKey, fmt::join(pairs, ",")));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    entries.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  quoted(name), name_of(tensor.scalar_type()),
                                  fmt::join(tensor.sizes().vec(), ","), offsets[i],
                                  offsets[i] + tensor.nbytes()));
  }
  std::string text = fmt::format("{{{}}}", fmt::join(entries, ","));
  text.append((8 - text.size() % 8) % 8, ' ');

  const uint64_t length = text.size();
  std::string header(kLengthBytes, '\0');
  std::memcpy(header.data(), &length, kLengthBytes);
  return header + text;
}

// ---- Reading
// ---------------------------------------------------------------------------------------

// One tensor as the header tells it, before anything is believed.
struct Entry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<uint64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;
};

// Reads exactly the JSON that the format allows, event by event: unlike a document tree this sees
// names that occur twice, and needs no more memory than the header. `problem` says what was wrong.
class HeaderParser : public nlohmann::json_sax<json> {
 public:
  std::vector<Entry> entries;
  Metadata metadata;
  std::string problem;

  bool start_object(std::size_t) override {
    if (state_ == State::kStart) return enter(State::kTop);
    if (state_ != State::kTop) return unexpected("an object");
    if (key_ == kMetadataKey) return enter(State::kMetadata);
    entries.push_back({.name = key_, .dtype = {}, .shape = {}, .offsets = {}});
    return enter(State::kTensor);
  }

  bool end_object() override {
    if (state_ == State::kTop) return enter(State::kEnd);
    if (state_ == State::kTensor) {
      const Entry& entry = entries.back();
      if (!entry.dtype || !entry.shape || !entry.offsets) {
        return fail(fmt::format("tensor {} lacks dtype, shape or data_offsets", shown(entry.name)));
      }
    }
    return enter(State::kTop);
  }

  bool key(std::string& key) override {
    if (state_ == State::kTop) {
      if (!names_.insert(key).second) return fail(shown(key) + " occurs twice");
      key_ = key;
    } else {
      field_ = key;
    }
    return true;
  }

  bool string(std::string& text) override {
    if (state_ == State::kMetadata) {
      if (metadata.emplace(field_, text).second) return true;
      return fail(fmt::format("metadata {} occurs twice", shown(field_)));
    }
    if (state_ != State::kTensor || field_ != "dtype") return unexpected("a string");
    if (entries.back().dtype) return twice();
    entries.back().dtype = text;
    return true;
  }

  bool start_array(std::size_t) override {
    const bool is_shape = field_ == "shape";
    if (state_ != State::kTensor || (!is_shape && field_ != "data_offsets")) {
      return unexpected("an array");
    }
    std::optional<std::vector<uint64_t>>& list =
        is_shape ? entries.back().shape : entries.back().offsets;
    if (list) return twice();
    numbers_ = &list.emplace();
    return enter(State::kNumbers);
  }

  bool end_array() override { return enter(State::kTensor); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ != State::kNumbers) return unexpected("a number");
    if (numbers_->size() >= kMaxDimensions) {
      return fail(
          fmt::format("tensor {} has more than {} dimensions", shown(key_), kMaxDimensions));
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
    return fail(fmt::format("tensor {} states {} twice", shown(key_), shown(field_)));
  }
  bool unexpected(const char* what) {
    switch (state_) {
      case State::kStart:
      case State::kEnd:
        return fail(fmt::format("the header is {}, not an object", what));
      case State::kTop:
        return fail(fmt::format("{} is {}, not an object", shown(key_), what));
      case State::kMetadata:
        return fail(fmt::format("metadata {} is {}, not a string", shown(field_), what));
      default:
        return fail(fmt::format("tensor {}: {} may not be {}", shown(key_), shown(field_), what));
    }
  }

  State state_ = State::kStart;
  std::string key_;    // of the top level: the tensor's name
  std::string field_;  // within the tensor or the metadata
  std::vector<uint64_t>* numbers_ = nullptr;
  std::unordered_set<std::string> names_;
};

// The bytes of a tensor; nothing where they, or its strides, do not fit in an int64.
std::optional<uint64_t> byte_count(const std::vector<uint64_t>& shape, uint64_t item_bytes) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  uint64_t bytes = item_bytes;
  bool empty = false;
  for (const uint64_t size : shape) {
    empty |= size == 0;
    const uint64_t factor = std::max<uint64_t>(size, 1);
    if (bytes > kMax / factor) return std::nullopt;
    bytes *= factor;
  }
  return empty ? 0 : bytes;
}

[[noreturn]] void invalid(const std::filesystem::path& path, const std::string& problem) {
  throw IoError(path, "is not a valid safetensors file: " + problem);
}

// What the header says of one tensor, checked by itself. Throws IoError.
TensorInfo checked_info(const std::filesystem::path& path, const Entry& entry, uint64_t data_begin,
                        uint64_t data_bytes) {
  const auto fail = [&](const std::string& problem) {
    invalid(path, fmt::format("tensor {} {}", shown(entry.name), problem));
  };
  const std::optional<torch::ScalarType> type = type_of(*entry.dtype);
  if (!type) fail(fmt::format("has the unknown dtype {}", shown(*entry.dtype)));
  if (entry.offsets->size() != 2) fail("has not two data_offsets");
  const uint64_t begin = entry.offsets->at(0), end = entry.offsets->at(1);
  if (begin > end || end > data_bytes) {
    fail(fmt::format("has data_offsets {} to {}, but the file holds {} bytes of data", begin, end,
                     data_bytes));
  }
  const std::string shape = fmt::format("[{}]", fmt::join(*entry.shape, ", "));
  const std::optional<uint64_t> bytes = byte_count(*entry.shape, torch::elementSize(*type));
  if (!bytes) fail(fmt::format("has shape {}, too large to exist", shape));
  if (*bytes != end - begin) {
    fail(fmt::format("has shape {} and dtype {}, {} bytes, but data_offsets of {} bytes", shape,
                     *entry.dtype, *bytes, end - begin));
  }
  return {.dtype = *type,
          .shape = {entry.shape->begin(), entry.shape->end()},
          .offset = data_begin + begin,
          .bytes = *bytes};
}

HeaderParser parse_header(const InputFile& file, uint64_t* data_begin) {
  const auto fail = [&](const std::string& problem) { invalid(file.path(), problem); };
  uint64_t length = 0;
  if (file.size() < kLengthBytes) {
    refuse_foreign_text(file.path());
    fail("it is shorter than 8 bytes");
  }
  file.read_at(0, {reinterpret_cast<uint8_t*>(&length), kLengthBytes});
  if (length > kMaxHeaderBytes || length > file.size() - kLengthBytes) {
    refuse_foreign_text(file.path());
    fail(fmt::format("it claims a header of {} bytes in a file of {} bytes", length, file.size()));
  }
  std::string text(length, '\0');
  file.read_at(kLengthBytes, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
  // The JSON parser takes a zero byte for the end of its input.
  if (text.find('\0') != std::string::npos) fail("the header holds a zero byte");
  if (!text.starts_with('{')) fail("the header does not begin with '{'");
  HeaderParser parser;
  if (!json::sax_parse(text, &parser)) fail(parser.problem);
  *data_begin = kLengthBytes + length;
  return parser;
}

// The tensors must tile the data: no gap, no overlap, nothing left over. Returns the problem, or
// "".
std::string tiling_problem(std::vector<std::pair<const std::string*, const TensorInfo*>> tensors,
                           uint64_t data_begin, uint64_t file_size) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->offset, a.second->bytes) <
           std::pair(b.second->offset, b.second->bytes);
  });
  uint64_t next = data_begin;
  for (const auto& [name, info] : tensors) {
    if (info->offset != next) {
      return fmt::format("tensor {} {}", shown(*name),
                         info->offset < next ? "overlaps another" : "follows a gap");
    }
    next += info->bytes;
  }
  return next == file_size
             ? ""
             : fmt::format("{} bytes at its end belong to no tensor", file_size - next);
}

}  // namespace

void write_safetensors(OutputFile& file, const std::vector<NamedTensor>& tensors,
                       const Metadata& metadata) {
  check_writable(file.path(), tensors);
  const std::vector<size_t> order = order_of_data(tensors);
  file.write(make_header(tensors, order, metadata));
  for (const size_t i : order) {
    const torch::Tensor data = tensors[i].tensor.detach().cpu().resolve_neg().contiguous();
    file.write(std::span(static_cast<const uint8_t*>(data.const_data_ptr()), data.nbytes()));
  }
}

FileSum write_safetensors(const std::filesystem::path& path,
                          const std::vector<NamedTensor>& tensors, const Metadata& metadata) {
  return write_file_atomic(path,
                           [&](OutputFile& file) { write_safetensors(file, tensors, metadata); });
}

bool is_safetensors_file(const std::filesystem::path& path) {
  try {
    const InputFile file(path);
    std::array<uint8_t, kLengthBytes + 1> begin = {};
    uint64_t length = 0;
    if (file.size() < begin.size()) return false;
    file.read_at(0, begin);
    std::memcpy(&length, begin.data(), kLengthBytes);
    return length > 0 && length <= kMaxHeaderBytes && length <= file.size() - kLengthBytes &&
           begin.back() == '{';
  } catch (const IoError&) {
    return false;
  }
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile result{InputFile(path)};
  uint64_t data_begin = 0;
  HeaderParser header = parse_header(result.file_, &data_begin);
  const uint64_t file_size = result.file_.size();
  result.metadata_ = std::move(header.metadata);
  result.tensors_.reserve(header.entries.size());
  std::vector<std::pair<const std::string*, const TensorInfo*>> tensors;
  for (const Entry& entry : header.entries) {
    TensorInfo info = checked_info(path, entry, data_begin, file_size - data_begin);
    const auto& placed = *result.tensors_.emplace(entry.name, std::move(info)).first;
    tensors.emplace_back(&placed.first, &placed.second);
    result.names_.push_back(entry.name);
  }
  const std::string problem = tiling_problem(std::move(tensors), data_begin, file_size);
  if (!problem.empty()) invalid(path, problem);
  return result;
}

const TensorInfo& SafetensorsFile::info(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw IoError(path(), fmt::format("holds no tensor {} (it holds {} tensors{}{})", shown(name),
                                      names_.size(), names_.empty() ? "" : ", the first is ",
                                      names_.empty() ? "" : shown(names_.front())));
  }
  return found->second;
}

torch::Tensor SafetensorsFile::get(const std::string& name) const {
  const TensorInfo& info = this->info(name);
  torch::Tensor tensor = torch::empty(info.shape, torch::TensorOptions(info.dtype));
  const std::span<uint8_t> bytes(static_cast<uint8_t*>(tensor.mutable_data_ptr()), info.bytes);
  file_.read_at(info.offset, bytes);
  if (info.dtype == torch::kBool &&
      std::any_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte > 1; })) {
    throw IoError(path(), fmt::format("tensor {} has a BOOL that is neither 0 nor 1", shown(name)));
  }
  return tensor;
}

std::vector<NamedTensor> read_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::vector<NamedTensor> tensors;
  for (const std::string& name : file.names()) tensors.push_back({name, file.get(name)});
  return tensors;
}

}  // namespace ddpm::io
