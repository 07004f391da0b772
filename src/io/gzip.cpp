#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"
#include "ddpm/io/file.h"

#include <algorithm>
#include <memory>

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <zlib.h>

namespace ddpm::io {
namespace {

constexpr size_t kChunk = size_t{1} << 20;
constexpr int kGzipWindow = 15 + 16;  // the largest window, gzip framing

bool is_gzip(const std::vector<uint8_t>& bytes) {
  return bytes.size() >= 2 && bytes[0] == 0x1F && bytes[1] == 0x8B;
}

// A gzip file is one or more members, each with its own checksum, one after another (RFC 1952).
std::vector<uint8_t> inflate_all(const std::vector<uint8_t>& packed,
                                 const std::filesystem::path& path, uint64_t most) {
  z_stream stream{};
  TORCH_CHECK(inflateInit2(&stream, kGzipWindow) == Z_OK, "zlib cannot start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  std::vector<uint8_t> out;
  size_t consumed = 0, produced = 0;
  while (produced < most) {
    if (out.size() - produced < kChunk) out.resize(std::max(2 * out.size(), produced + 4 * kChunk));
    // zlib counts in 32 bits, so it gets pieces.
    stream.next_in = const_cast<Bytef*>(packed.data() + consumed);
    stream.avail_in = static_cast<uInt>(std::min(kChunk, packed.size() - consumed));
    stream.next_out = out.data() + produced;
    stream.avail_out = static_cast<uInt>(kChunk);
    const int status = inflate(&stream, Z_NO_FLUSH);
    consumed = stream.next_in - packed.data();
    produced = stream.next_out - out.data();
    if (status == Z_STREAM_END) {
      const bool another =
          packed.size() - consumed >= 2 && packed[consumed] == 0x1F && packed[consumed + 1] == 0x8B;
      if (!another) break;
      inflateReset(&stream);
    } else if (status == Z_BUF_ERROR && consumed == packed.size()) {
      throw IoError(
          path, fmt::format("is a truncated gzip file ({} bytes); fetch it again", packed.size()));
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      throw IoError(path,
                    fmt::format("is a damaged gzip file ({}); fetch it again",
                                stream.msg ? stream.msg : "zlib error " + std::to_string(status)));
    }
  }
  out.resize(std::min<uint64_t>(produced, most));
  return out;
}

}  // namespace

std::vector<uint8_t> read_file_maybe_gzip(const std::filesystem::path& path, uint64_t most) {
  const InputFile file(path);
  std::vector<uint8_t> beginning(std::min<uint64_t>(file.size(), 2));
  file.read_at(0, beginning);
  if (is_gzip(beginning)) return inflate_all(read_file(path), path, most);
  std::vector<uint8_t> bytes(std::min(file.size(), most));
  file.read_at(0, bytes);
  return bytes;
}

}  // namespace ddpm::io
