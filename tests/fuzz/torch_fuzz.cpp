// A file of Python's torch.save, either format; the tensors are read to their last number.
#include "fuzz.h"

#include "ddpm/io/torch_file.h"

namespace ddpm::fuzz {
namespace {

void touch(const io::TorchValue& value) {
  if (value.is_tensor() && value.tensor.numel() < 1 << 20) value.tensor.clone();
  for (const io::TorchValue& item : value.items) touch(item);
  for (const auto& [key, entry] : value.entries) touch(entry);
}

}  // namespace

void run(Bytes bytes) {
  const auto path = write_file("fuzz.pt", bytes);
  io::is_torch_file(path);
  read([&] { touch(io::read_torch_file(path)); });
}

}  // namespace ddpm::fuzz
