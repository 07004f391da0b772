#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/foreign_text.h"
#include "ddpm/io/safetensors.h"
#include "safetensors_header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <span>
#include <utility>

#include <fmt/ranges.h>
#include <torch/types.h>

static_assert(std::endian::native == std::endian::little,
              "tensors are read as the file has them, and safetensors is little-endian");

namespace ddpm::io {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as in the reference implementation

std::optional<torch::ScalarType> dtype_of(const std::string& name) {
  for (const Dtype& d : kDtypes) {
    if (name == d.name) return d.type;
  }
  return std::nullopt;
}

// Bytes of a tensor; none if they, or its strides, do not fit in an int64.
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

// One tensor's entry, checked by itself. Throws IoError.
TensorInfo checked_info(const std::filesystem::path& path, const HeaderEntry& entry,
                        uint64_t data_begin, uint64_t data_bytes) {
  const auto fail = [&](const std::string& problem) {
    invalid(path, fmt::format("tensor {} {}", shown_name(entry.name), problem));
  };
  const std::optional<torch::ScalarType> type = dtype_of(*entry.dtype);
  if (!type) fail(fmt::format("has the unknown dtype {}", shown_name(*entry.dtype)));
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

SafetensorsHeader read_header(const InputFile& file, uint64_t* data_begin) {
  const auto fail = [&](const std::string& problem) { invalid(file.path(), problem); };
  if (file.size() < kLengthBytes) {
    refuse_foreign_text(file.path());
    fail("it is shorter than 8 bytes");
  }
  std::array<uint8_t, kLengthBytes> beginning{};
  file.read_at(0, beginning);
  const uint64_t length = little_endian(std::span<const uint8_t>(beginning));
  if (length > kMaxHeaderBytes || length > file.size() - kLengthBytes) {
    refuse_foreign_text(file.path());
    fail(fmt::format("it claims a header of {} bytes in a file of {} bytes", length, file.size()));
  }
  std::string text(length, '\0');
  file.read_at(kLengthBytes, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
  // The JSON parser takes a zero byte for the end of its input.
  if (text.find('\0') != std::string::npos) fail("the header holds a zero byte");
  if (!text.starts_with('{')) fail("the header does not begin with '{'");
  SafetensorsHeader header;
  const std::string problem = parse_header(text, header);
  if (!problem.empty()) fail(problem);
  *data_begin = kLengthBytes + length;
  return header;
}

// The tensors must tile the data: no gap, no overlap, no rest. Returns the problem, or "".
std::string tiling_problem(std::vector<std::pair<const std::string*, const TensorInfo*>> tensors,
                           uint64_t data_begin, uint64_t file_size) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->offset, a.second->bytes) <
           std::pair(b.second->offset, b.second->bytes);
  });
  uint64_t next = data_begin;
  for (const auto& [name, info] : tensors) {
    if (info->offset != next) {
      return fmt::format("tensor {} {}", shown_name(*name),
                         info->offset < next ? "overlaps another" : "follows a gap");
    }
    next += info->bytes;
  }
  return next == file_size
             ? ""
             : fmt::format("{} bytes at its end belong to no tensor", file_size - next);
}

}  // namespace

bool is_safetensors_file(const std::filesystem::path& path) {
  try {
    const InputFile file(path);
    std::array<uint8_t, kLengthBytes + 1> begin = {};
    if (file.size() < begin.size()) return false;
    file.read_at(0, begin);
    const uint64_t length = little_endian(std::span<const uint8_t>(begin).first(kLengthBytes));
    return length > 0 && length <= kMaxHeaderBytes && length <= file.size() - kLengthBytes &&
           begin.back() == '{';
  } catch (const IoError&) {
    return false;
  }
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile result{InputFile(path)};
  uint64_t data_begin = 0;
  SafetensorsHeader header = read_header(result.file_, &data_begin);
  const uint64_t file_size = result.file_.size();
  result.metadata_ = std::move(header.metadata);
  result.tensors_.reserve(header.entries.size());
  std::vector<std::pair<const std::string*, const TensorInfo*>> tensors;
  for (const HeaderEntry& entry : header.entries) {
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
    throw IoError(path(),
                  fmt::format("holds no tensor {} (it holds {} tensors{}{})", shown_name(name),
                              names_.size(), names_.empty() ? "" : ", the first is ",
                              names_.empty() ? "" : shown_name(names_.front())));
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
    throw IoError(path(),
                  fmt::format("tensor {} has a BOOL that is neither 0 nor 1", shown_name(name)));
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
