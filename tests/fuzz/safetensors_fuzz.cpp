// A safetensors file.
#include "fuzz.h"

#include "ddpm/io/safetensors.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  const auto path = write_file("fuzz.safetensors", bytes);
  read([&] {
    for (const io::NamedTensor& t : io::read_safetensors(path)) t.tensor.clone();
  });
}

}  // namespace ddpm::fuzz
