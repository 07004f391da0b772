#include "zip_writer.h"

#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"

#include <limits>

#include <zlib.h>

namespace ddpm::io {
namespace {

constexpr uint64_t kAlignment = 64;

// Fields that local headers and directory entries share: versions, flags, method, date, sizes.
void put_common(std::string& out, uint32_t crc32, uint32_t size, size_t name, size_t extra) {
  append_little_endian(out, 20, 2);      // version 2.0 is needed to read it
  append_little_endian(out, 0x0800, 2);  // names are UTF-8
  append_little_endian(out, 0, 2);       // stored
  append_little_endian(out, 0, 2);       // 00:00:00
  append_little_endian(out, 0x21, 2);    // 1980-01-01
  append_little_endian(out, crc32, 4);
  append_little_endian(out, size, 4);
  append_little_endian(out, size, 4);
  append_little_endian(out, name, 2);
  append_little_endian(out, extra, 2);
}

uint32_t crc32_of(std::span<const uint8_t> bytes) {
  return static_cast<uint32_t>(::crc32_z(0, bytes.data(), bytes.size()));
}

}  // namespace

void ZipWriter::write(const std::string& bytes) {
  file_.write(bytes);
  position_ += bytes.size();
}

void ZipWriter::check_size(uint64_t more) const {
  if (position_ + more > std::numeric_limits<uint32_t>::max())
    throw IoError(file_.path(), "would be larger than 4 GiB; write safetensors instead");
}

void ZipWriter::add(const std::string& name, std::span<const uint8_t> content) {
  check_size(content.size() + name.size() + 1024);
  const uint64_t begin = position_ + 30 + name.size() + 4;
  const uint64_t padding = (kAlignment - begin % kAlignment) % kAlignment;
  const Entry entry{name, crc32_of(content), static_cast<uint32_t>(content.size()),
                    static_cast<uint32_t>(position_)};
  std::string header = "PK\x03\x04";
  put_common(header, entry.crc32, entry.size, name.size(), 4 + padding);
  header += name;
  append_little_endian(header, 0x4246, 2);  // "FB", torch's own padding field
  append_little_endian(header, padding, 2);
  header.append(padding, 'Z');
  write(header);
  file_.write(content);
  position_ += content.size();
  entries_.push_back(entry);
}

void ZipWriter::finish() {
  const uint64_t begin = position_;
  for (const Entry& entry : entries_) {
    std::string record = "PK\x01\x02";
    append_little_endian(record, 20, 2);  // made by version 2.0
    put_common(record, entry.crc32, entry.size, entry.name.size(), 0);
    append_little_endian(record, 0, 2 + 2 + 2 + 4);  // no comment, disk 0, no attributes
    append_little_endian(record, entry.offset, 4);
    check_size(record.size() + entry.name.size());
    write(record + entry.name);
  }
  std::string end = "PK\x05\x06";
  append_little_endian(end, 0, 2 + 2);  // disk 0
  append_little_endian(end, entries_.size(), 2);
  append_little_endian(end, entries_.size(), 2);
  append_little_endian(end, position_ - begin, 4);
  append_little_endian(end, begin, 4);
  append_little_endian(end, 0, 2);
  check_size(end.size());
  write(end);
}

}  // namespace ddpm::io
