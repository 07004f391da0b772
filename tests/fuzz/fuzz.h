#pragma once

#include "ddpm/base/error.h"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include <unistd.h>

namespace ddpm::fuzz {

using Bytes = std::span<const uint8_t>;

inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A folder in memory for this process, removed when it ends: some readers want files.
inline const std::filesystem::path& folder() {
  struct Folder {
    std::filesystem::path path = "/dev/shm/ddpm-fuzz-" + std::to_string(getpid());
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static const Folder made;
  return made.path;
}

/// Writes the bytes as a file of this name in folder(), in place of the last one.
inline std::filesystem::path write_file(const std::string& name, Bytes bytes) {
  std::filesystem::path path = folder() / name;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << as_text(bytes);
  return path;
}

/// Ends the program, which the fuzzer reports with the input, if what must hold does not.
inline void require(bool holds) {
  if (!holds) std::abort();
}

/// Runs a reader. Foreign bytes may be refused by a ddpm::Error and in no other way.
template <class Reader>
void read(const Reader& reader) {
  try {
    reader();
  } catch (const Error&) {
  }
}

/// Defined by each program: feeds the bytes to one reader.
void run(Bytes bytes);

}  // namespace ddpm::fuzz
