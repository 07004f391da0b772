// A tar archive.
#include "ddpm/io/archive.h"
#include "fuzz.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  const auto path = write_file("fuzz.tar", bytes);
  read([&] {
    const io::TarReader archive(path);
    for (const std::string& name : archive.names())
      require(archive.read(name).size() == archive.size_of(name));
  });
}

}  // namespace ddpm::fuzz
