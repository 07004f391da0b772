// A zip archive.
#include "fuzz.h"

#include "ddpm/io/archive.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  const auto path = write_file("fuzz.zip", bytes);
  read([&] {
    const io::ZipReader archive(path);
    for (const std::string& name : archive.names())
      read([&] { require(archive.read(name).size() == archive.size_of(name)); });
  });
}

}  // namespace ddpm::fuzz
