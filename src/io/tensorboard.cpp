#include "ddpm/io/tensorboard.h"

#include "ddpm/base/error.h"
#include "ddpm/base/host.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"

#include <bit>
#include <chrono>
#include <span>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

namespace ddpm::io {
namespace {

// Protocol-buffer wire format: a field is the varint (number << 3 | type), then its value.
enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void append_integer(std::string& out, uint64_t field, int64_t value) {
  append_varint(out, field << 3 | kVarint);
  append_varint(out, static_cast<uint64_t>(value));
}

void append_float(std::string& out, uint64_t field, float value) {
  append_varint(out, field << 3 | kFixed32);
  append_little_endian(out, std::bit_cast<uint32_t>(value), 4);
}

void append_double(std::string& out, uint64_t field, double value) {
  append_varint(out, field << 3 | kFixed64);
  append_little_endian(out, std::bit_cast<uint64_t>(value), 8);
}

void append_bytes(std::string& out, uint64_t field, std::string_view value) {
  append_varint(out, field << 3 | kBytes);
  append_varint(out, value.size());
  out += value;
}

// Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5;
// SessionLog session_log = 7; }, Summary { repeated Value value = 1; }, Value { string tag = 1;
// float simple_value = 2; Image image = 4; }
std::string as_summary(const std::string& value) {
  std::string summary, payload;
  append_bytes(summary, 1, value);
  append_bytes(payload, 5, summary);
  return payload;
}

// TFRecord rotates checksums and adds a constant: a CRC of data that includes its CRC is weak.
uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u; }

double now_in_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::filesystem::path unused_name(const std::filesystem::path& directory) {
  const std::string name =
      fmt::format("events.out.tfevents.{:010d}.{}.{}", static_cast<int64_t>(now_in_seconds()),
                  host_name(), getpid());
  std::filesystem::path path = directory / name;
  for (int i = 1; std::filesystem::exists(path); ++i)
    path = directory / fmt::format("{}.{}", name, i);
  return path;
}

}  // namespace

EventWriter::EventWriter(const std::filesystem::path& directory) {
  make_folder(directory);
  path_ = unused_name(directory);
  file_.open(path_, std::ios::binary);
  if (!file_) throw IoError(path_, "cannot be created; may you write in this folder?");
  std::string version;
  append_bytes(version, 3, "brain.Event:2");
  write_event(0, version);
  flush();
}

void EventWriter::restart(int64_t step) {
  std::string session, payload;
  append_integer(session, 1, 1);  // SessionLog.status = START
  append_bytes(payload, 7, session);
  write_event(step, payload);
}

void EventWriter::scalar(std::string_view tag, int64_t step, double value) {
  std::string entry;
  append_bytes(entry, 1, tag);
  append_float(entry, 2, static_cast<float>(value));
  write_event(step, as_summary(entry));
}

void EventWriter::image(std::string_view tag, int64_t step, const torch::Tensor& chw_u8) {
  const std::vector<uint8_t> png = encode_png(chw_u8);
  std::string picture, entry;
  append_integer(picture, 1, chw_u8.size(1));
  append_integer(picture, 2, chw_u8.size(2));
  append_integer(picture, 3, chw_u8.size(0));
  append_bytes(picture, 4, text_of(png));
  append_bytes(entry, 1, tag);
  append_bytes(entry, 4, picture);
  write_event(step, as_summary(entry));
}

void EventWriter::flush() {
  file_.flush();
  if (!file_) throw IoError(path_, "could not be written; is the disk full?");
}

void EventWriter::write_event(int64_t step, std::string_view payload) {
  std::string event;
  append_double(event, 1, now_in_seconds());
  append_integer(event, 2, step);
  event += payload;
  std::string record;
  append_little_endian(record, event.size(), 8);
  append_little_endian(record, masked_crc(record), 4);
  record += event;
  append_little_endian(record, masked_crc(event), 4);
  file_.write(record.data(), static_cast<std::streamsize>(record.size()));
  if (!file_) throw IoError(path_, "could not be written; is the disk full?");
}

}  // namespace ddpm::io
