// A checkpoint's MANIFEST: what is accepted is written back byte for byte.
#include "ddpm/checkpoint/manifest.h"
#include "ddpm/io/checksum.h"
#include "fuzz.h"

#include <fmt/format.h>

namespace ddpm::fuzz {

void run(Bytes bytes) {
  read([&] {
    require(checkpoint::to_text(checkpoint::parse_manifest("MANIFEST", as_text(bytes))) ==
            as_text(bytes));
  });
  // Behind the right checksum, so that the rest is reached.
  const std::string text = fmt::format("{}crc32c {:08x}\n", as_text(bytes), io::crc32c(bytes));
  read([&] { require(checkpoint::to_text(checkpoint::parse_manifest("MANIFEST", text)) == text); });
}

}  // namespace ddpm::fuzz
