// Writing, in protocol 2.
#include "ddpm/io/bytes.h"
#include "pickle.h"
#include "pickle_node.h"

#include <algorithm>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::io {
namespace {

void put_integer(std::string& out, int64_t value) {
  if (value >= 0 && value < (int64_t{1} << 31)) {
    out += 'J';
    append_little_endian(out, static_cast<uint64_t>(value), 4);
  } else {
    out += "\x8a\x08";
    append_little_endian(out, static_cast<uint64_t>(value), 8);
  }
}
void put_text(std::string& out, const std::string& text) {
  out += 'X';
  append_little_endian(out, text.size(), 4);
  out += text;
}
void put_tuple(std::string& out, at::IntArrayRef numbers) {
  out += '(';
  for (const int64_t n : numbers) put_integer(out, n);
  out += 't';
}

}  // namespace

std::string pickle_state_dict(const std::vector<NamedTensor>& tensors) {
  std::string out = "\x80\x02}(";
  for (size_t i = 0; i < tensors.size(); ++i) {
    const torch::Tensor& tensor = tensors[i].tensor;
    const auto type = std::find_if(kStorageTypes.begin(), kStorageTypes.end(),
                                   [&](const auto& t) { return t.type == tensor.scalar_type(); });
    TORCH_CHECK(type != kStorageTypes.end(), "no storage for type ", tensor.scalar_type());
    put_text(out, tensors[i].name);
    out += "ctorch._utils\n_rebuild_tensor_v2\n((";
    put_text(out, "storage");
    out += fmt::format("ctorch\n{}\n", type->storage);
    put_text(out, fmt::format("{}", i));
    put_text(out, "cpu");
    put_integer(out, tensor.numel());
    out += "tQ";
    put_integer(out, 0);
    put_tuple(out, tensor.sizes());
    put_tuple(out, c10::contiguous_strides(tensor.sizes()));
    out +=
        "\x89"
        "ccollections\nOrderedDict\n)RtR";
  }
  return out + "u.";
}

}  // namespace ddpm::io
