#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/safetensors.h"
#include "safetensors_header.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <unordered_set>

#include <fmt/ranges.h>
#include <torch/types.h>

static_assert(std::endian::native == std::endian::little,
              "tensors are written as the machine has them, and safetensors is little-endian");

namespace ddpm::io {
namespace {

const char* dtype_name(torch::ScalarType type) {
  for (const Dtype& d : kDtypes) {
    if (type == d.type) return d.name;
  }
  return nullptr;
}

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
    if (dtype_name(tensor.scalar_type()) == nullptr) {
      throw IoError(path, fmt::format("tensor {} has type {}, which cannot be written; convert it",
                                      shown_name(name), torch::toString(tensor.scalar_type())));
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
    for (const auto& [key, value] : metadata)
      pairs.push_back(json_quoted(key) + ":" + json_quoted(value));
    entries.push_back(fmt::format("\"{}\":{{{}}}", kMetadataKey, fmt::join(pairs, ",")));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    entries.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  json_quoted(name), dtype_name(tensor.scalar_type()),
                                  fmt::join(tensor.sizes().vec(), ","), offsets[i],
                                  offsets[i] + tensor.nbytes()));
  }
  std::string text = fmt::format("{{{}}}", fmt::join(entries, ","));
  text.append((8 - text.size() % 8) % 8, ' ');

  std::string header;
  append_little_endian(header, text.size(), kLengthBytes);
  return header + text;
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

}  // namespace ddpm::io
