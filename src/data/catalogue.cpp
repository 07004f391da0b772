#include "catalogue.h"

#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"
#include "image_files.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <string_view>
#include <system_error>

#include <spdlog/spdlog.h>

namespace ddpm::data {
namespace {

// The last two bytes are the version of the format and of the meaning of a record.
constexpr std::string_view kSign = "ddpm data index 01";

// Numbers in native byte order: an index is not meant for machines of another kind.
class Writer {
 public:
  template <class T>
  void number(T value) {
    const auto from = io::bytes_of(std::span(&value, 1));
    bytes.insert(bytes.end(), from.begin(), from.end());
  }
  void text(std::string_view value) {
    number(static_cast<uint32_t>(value.size()));
    bytes.insert(bytes.end(), value.begin(), value.end());
  }
  std::vector<uint8_t> bytes;
};

// After a read beyond the end, all values are 0 or empty and `ok` is false.
class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : rest_(bytes) {}
  template <class T>
  T number() {
    T value{};
    if (const auto from = take(sizeof value); !from.empty())
      std::memcpy(&value, from.data(), sizeof value);
    return value;
  }
  std::string text() {
    const auto from = take(number<uint32_t>());
    return {from.begin(), from.end()};
  }
  bool ok() const { return ok_; }
  size_t left() const { return rest_.size(); }

 private:
  std::span<const uint8_t> take(size_t count) {
    if (!ok_ || count > rest_.size()) {
      ok_ = false;
      return {};
    }
    const auto taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  std::span<const uint8_t> rest_;
  bool ok_ = true;
};

void write(Writer& to, const FileRecord& file) {
  to.text(file.name);
  to.number(file.size);
  to.number(file.modified);
  to.number(file.check);
  to.number(file.info.height);
  to.number(file.info.width);
  to.number(static_cast<uint8_t>(file.info.channels));
  to.number(static_cast<uint8_t>(file.info.deep));
  to.text(file.problem);
}

FileRecord read_record(ByteReader& from) {
  FileRecord file;
  file.name = from.text();
  file.size = from.number<uint64_t>();
  file.modified = from.number<int64_t>();
  file.check = from.number<Check>();
  file.info.height = from.number<int64_t>();
  file.info.width = from.number<int64_t>();
  file.info.channels = from.number<uint8_t>();
  file.info.deep = from.number<uint8_t>() != 0;
  file.problem = from.text();
  return file;
}

}  // namespace

void pass_over(Catalogue& catalogue, const std::string& name) {
  constexpr std::array<std::string_view, 3> kLeftBehind = {"Thumbs.db", "desktop.ini", "Icon\r"};
  const std::string base = name.substr(name.rfind('/') + 1);
  if (is_hidden_name(name) ||
      std::find(kLeftBehind.begin(), kLeftBehind.end(), base) != kLeftBehind.end())
    return;
  const std::string ending = ending_of(base);
  ++catalogue.passed_over[ending.empty() ? "" : "." + ending];
}

void add_archived_(Catalogue& catalogue, const std::string& name, uint64_t size, int64_t modified) {
  if (!is_image_name(name)) {
    pass_over(catalogue, name);
    return;
  }
  FileRecord file;
  file.name = name;
  file.modified = modified;
  file.size = size;
  catalogue.files.push_back(std::move(file));
}

int64_t time_of_archive(const std::filesystem::path& archive) {
  std::error_code error;
  const auto modified = std::filesystem::last_write_time(archive, error).time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(modified).count();
}

int64_t take_known(Catalogue& catalogue, const Catalogue& before) {
  int64_t known = 0;
  auto old = before.files.begin();
  for (FileRecord& file : catalogue.files) {
    while (old != before.files.end() && old->name < file.name) ++old;
    if (old == before.files.end()) break;
    const bool same = old->name == file.name && old->size == file.size &&
                      old->modified == file.modified && file.problem.empty();
    if (!same) continue;
    file = *old;
    ++known;
  }
  return known;
}

std::vector<uint8_t> to_bytes(const Catalogue& catalogue) {
  Writer to;
  to.bytes.assign(kSign.begin(), kSign.end());
  to.number(static_cast<uint64_t>(catalogue.files.size()));
  for (const FileRecord& file : catalogue.files) write(to, file);
  to.number(static_cast<uint64_t>(catalogue.passed_over.size()));
  for (const auto& [ending, count] : catalogue.passed_over) {
    to.text(ending);
    to.number(count);
  }
  to.number(static_cast<uint64_t>(catalogue.remarks.size()));
  for (const std::string& remark : catalogue.remarks) to.text(remark);
  to.number(io::crc32c(to.bytes));
  return std::move(to.bytes);
}

std::optional<Catalogue> catalogue_of(std::span<const uint8_t> bytes) {
  uint32_t sum = 0;
  if (bytes.size() < kSign.size() + sizeof sum || !io::begins_with(bytes, io::bytes_of(kSign)))
    return std::nullopt;
  const auto content = bytes.first(bytes.size() - sizeof sum);
  std::memcpy(&sum, content.data() + content.size(), sizeof sum);
  if (io::crc32c(content) != sum) return std::nullopt;
  ByteReader from(content.subspan(kSign.size()));
  Catalogue result;
  for (auto n = from.number<uint64_t>(); n > 0 && from.ok(); --n)
    result.files.push_back(read_record(from));
  for (auto n = from.number<uint64_t>(); n > 0 && from.ok(); --n) {
    const std::string ending = from.text();
    result.passed_over[ending] = from.number<int64_t>();
  }
  for (auto n = from.number<uint64_t>(); n > 0 && from.ok(); --n)
    result.remarks.push_back(from.text());
  if (!from.ok() || from.left() > 0) return std::nullopt;
  return result;
}

std::optional<Catalogue> read_catalogue(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return std::nullopt;
  try {
    auto catalogue = catalogue_of(io::read_file(file));
    if (!catalogue) spdlog::info("{} is of no use: the data are looked at anew", file.string());
    return catalogue;
  } catch (const IoError& problem) {
    spdlog::warn("{} (the data are looked at anew)", problem.what());
    return std::nullopt;
  }
}

void write_catalogue(const std::filesystem::path& file, const Catalogue& catalogue) {
  const std::vector<uint8_t> bytes = to_bytes(catalogue);
  io::write_file_atomic(file, [&](io::OutputFile& out) { out.write(std::span(bytes)); });
}

}  // namespace ddpm::data
