// The pickle in the old format of torch.save, without the zip archive whose checksum stops a fuzzer, and
// a file of pickle.dump.
#include "ddpm/io/torch_file.h"
#include "fuzz.h"

#include <vector>

namespace ddpm::fuzz {

void run(Bytes bytes) {
  // The magic number, the protocol 1001 and the system's dictionary of torch.save before 1.6.
  static constexpr uint8_t kHead[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                                      0x20, 0x6a, 0xa8, 0x50, 0x19, '.',  0x80, 2,    'M',
                                      0xe9, 3,    '.',  0x80, 2,    '}',  '.'};
  std::vector<uint8_t> file(std::begin(kHead), std::end(kHead));
  file.insert(file.end(), bytes.begin(), bytes.end());
  const auto path = write_file("fuzz.pt", file);
  require(io::is_torch_file(path));
  read([&] { io::read_torch_file(path); });
  const auto bare = write_file("fuzz.pickle", bytes);
  read([&] { io::read_pickle_file(bare); });
}

}  // namespace ddpm::fuzz
