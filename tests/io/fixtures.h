#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <zip.h>
#include <zlib.h>

// Input files for the tests of images, archives and data sets.
namespace ddpm::fixtures {

using Bytes = std::vector<uint8_t>;

inline Bytes from_hex(std::string_view text) {
  Bytes bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

inline Bytes from_text(std::string_view text) { return {text.begin(), text.end()}; }

inline void write(const std::filesystem::path& path, const Bytes& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  if (!file) throw std::runtime_error("cannot write " + path.string());
}

inline Bytes read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A binary PGM (1 channel) or PPM (3), the simplest image format.
inline Bytes pnm(int height, int width, int channels, const Bytes& pixels) {
  Bytes bytes = from_text((channels == 1 ? "P5\n" : "P6\n") + std::to_string(width) + " " +
                          std::to_string(height) + "\n255\n");
  bytes.insert(bytes.end(), pixels.begin(), pixels.end());
  return bytes;
}

/// A PGM or PPM of one value.
inline Bytes flat_pnm(int height, int width, int channels, uint8_t value) {
  return pnm(height, width, channels, Bytes(static_cast<size_t>(height * width * channels), value));
}

inline void write_zip(const std::filesystem::path& path, const std::map<std::string, Bytes>& files,
                      bool deflate = true, const char* password = nullptr) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  if (!archive) throw std::runtime_error("cannot write " + path.string());
  for (const auto& [name, bytes] : files) {
    zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
    const zip_int64_t entry = name.back() == '/' ? zip_dir_add(archive, name.c_str(), 0)
                                                 : zip_file_add(archive, name.c_str(), source, 0);
    if (name.back() == '/') {
      zip_source_free(source);
      continue;
    }
    zip_set_file_compression(archive, entry, deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
    if (password) zip_file_set_encryption(archive, entry, ZIP_EM_AES_256, password);
  }
  if (zip_close(archive) != 0) throw std::runtime_error("cannot write " + path.string());
}

inline Bytes gzip(const Bytes& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  Bytes packed(deflateBound(&stream, bytes.size()) + 64);
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

/// The message of the exception of type E that `call` throws. If it throws none, fails the test and
/// returns "".
template <class E, class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "no exception of the expected type was thrown";
  return "";
}

}  // namespace ddpm::fixtures

/// Expects that the text contains the part; shows both if it does not.
#define EXPECT_CONTAINS(text, part)                          \
  EXPECT_NE(std::string(text).find(part), std::string::npos) \
      << "text: " << (text) << "\npart: " << (part)
