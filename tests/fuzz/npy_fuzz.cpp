// An array of NumPy, as a file.
#include "fuzz.h"

#include "ddpm/io/npy.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  read([&] { io::parse_npy({bytes.begin(), bytes.end()}, "fuzz.npy").sum(); });
}

}  // namespace ddpm::fuzz
