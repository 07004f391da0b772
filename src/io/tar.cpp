#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <span>
#include <string_view>

#include <fmt/format.h>

namespace ddpm::io {
namespace {

// POSIX.1-1988 (ustar) and POSIX.1-2001 (pax): headers and contents fill blocks of 512 bytes.
constexpr uint64_t kTarBlock = 512;
constexpr uint64_t kMaxNameBytes = 64 * 1024;  // of a pax header or a long name

using Header = std::array<uint8_t, kTarBlock>;

std::string_view field(const Header& header, size_t offset, size_t size) {
  const std::string_view whole(reinterpret_cast<const char*>(header.data()) + offset, size);
  return whole.substr(0, std::min(whole.find('\0'), size));
}

// An octal number, or (GNU) a big-endian one behind a first byte of 0x80; none if it is neither.
std::optional<uint64_t> number(const Header& header, size_t offset, size_t size) {
  uint64_t value = 0;
  if (header[offset] == 0x80) {
    for (size_t i = offset + 1; i < offset + size; ++i) {
      if (value >> 55 != 0) return std::nullopt;
      value = value << 8 | header[i];
    }
    return value;
  }
  std::string_view digits = field(header, offset, size);
  digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
  digits = digits.substr(0, digits.find(' '));
  for (const char digit : digits) {
    if (digit < '0' || digit > '7' || value >> 60 != 0) return std::nullopt;
    value = value * 8 + static_cast<uint64_t>(digit - '0');
  }
  return value;
}

// The sum of the header's bytes, its own field read as spaces.
bool checksum_matches(const Header& header) {
  constexpr size_t kAt = 148, kSize = 8;
  uint64_t sum = kSize * ' ';
  for (size_t i = 0; i < header.size(); ++i)
    if (i < kAt || i >= kAt + kSize) sum += header[i];
  return number(header, kAt, kSize) == sum;
}

std::string name_of(const Header& header) {
  const std::string name(field(header, 0, 100));
  const std::string prefix(field(header, 345, 155));
  const bool ustar = field(header, 257, 5) == "ustar" && header[263] == '0';  // GNU's has a space
  return ustar && !prefix.empty() ? prefix + "/" + name : name;
}

// pax records "LENGTH KEY=VALUE\n". Damaged ones give none.
std::map<std::string, std::string> pax_records(std::string_view text) {
  std::map<std::string, std::string> records;
  while (!text.empty()) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || space > 10) break;
    uint64_t length = 0;
    for (const char digit : text.substr(0, space)) {
      if (digit < '0' || digit > '9') return records;
      length = length * 10 + static_cast<uint64_t>(digit - '0');
    }
    if (length <= space + 1 || length > text.size()) break;
    const std::string_view record = text.substr(space + 1, length - space - 2);
    if (const size_t equals = record.find('='); equals != std::string_view::npos)
      records[std::string(record.substr(0, equals))] = std::string(record.substr(equals + 1));
    text.remove_prefix(length);
  }
  return records;
}

std::string without_dot(std::string name) {
  while (name.starts_with("./")) name.erase(0, 2);
  return name;
}

bool is_zero(const Header& header) {
  return std::all_of(header.begin(), header.end(), [](uint8_t byte) { return byte == 0; });
}

// What headers before a file say of it.
struct Ahead {
  std::string name;
  std::optional<uint64_t> size;
};

std::string text_at(const InputFile& file, uint64_t offset, uint64_t size) {
  std::vector<uint8_t> bytes(size);
  file.read_at(offset, bytes);
  return {bytes.begin(), bytes.end()};
}

// Takes a pax or GNU header's name and size.
void take_ahead_(Ahead& ahead, char type, const std::string& text) {
  if (type == 'L') {
    ahead.name = text.substr(0, text.find('\0'));
    return;
  }
  const auto records = pax_records(text);
  if (const auto path = records.find("path"); path != records.end()) ahead.name = path->second;
  const auto size = records.find("size");
  if (size == records.end() || size->second.empty() || size->second.size() > 18) return;
  if (size->second.find_first_not_of("0123456789") == std::string::npos)
    ahead.size = std::stoull(size->second);
}

}  // namespace

TarReader::TarReader(const std::filesystem::path& path) : file_(path) { list_entries(); }

void TarReader::list_entries() {
  const auto fail = [&](const std::string& what) { throw IoError(file(), what); };
  std::map<std::string, Entry> found;
  Ahead ahead;
  for (uint64_t at = 0;;) {
    if (at + kTarBlock > file_.size())  // a writer ends with blocks of zeros
      fail(at == 0 ? "is not a tar archive (too short)" : "is cut off: its end is missing");
    Header header;
    file_.read_at(at, header);
    if (is_zero(header)) break;
    if (!checksum_matches(header))
      fail(at == 0 ? "is not a tar archive (a compressed one must be unpacked to .tar first)"
                   : fmt::format("is damaged: no header at byte {}", at));
    const char type = static_cast<char>(header[156]);
    const auto stated = number(header, 124, 12);
    if (!stated) fail(fmt::format("is damaged: no size at byte {}", at));
    const bool regular = type == '0' || type == '\0' || type == '7';
    const uint64_t size = regular ? ahead.size.value_or(*stated) : *stated;
    const uint64_t begin = at + kTarBlock;
    if (size > file_.size() - begin)
      fail(fmt::format("is cut off: {} ends after the archive",
                       without_dot(ahead.name.empty() ? name_of(header) : ahead.name)));
    if (type == 'S') fail("holds a sparse file, which cannot be read; pack it without --sparse");
    if (type == 'x' || type == 'L') {
      if (size > kMaxNameBytes) fail(fmt::format("is damaged: a name of {} bytes", size));
      take_ahead_(ahead, type, text_at(file_, begin, size));
    } else if (type != 'g' && type != 'K') {  // global records and long links name no file
      const std::string name = without_dot(ahead.name.empty() ? name_of(header) : ahead.name);
      if (regular && !name.empty() && name.back() != '/') found[name] = {name, begin, size};
      ahead = {};
    }
    at = begin + (size + kTarBlock - 1) / kTarBlock * kTarBlock;
  }
  for (auto& [name, entry] : found) {
    names_.push_back(name);
    entries_.push_back(std::move(entry));
  }
}

bool TarReader::contains(const std::string& name) const {
  return std::binary_search(names_.begin(), names_.end(), name);
}

const TarReader::Entry& TarReader::entry_of(const std::string& name) const {
  const auto at = std::lower_bound(names_.begin(), names_.end(), name);
  if (at == names_.end() || *at != name) throw IoError(file() / name, "is not in the archive");
  return entries_[static_cast<size_t>(at - names_.begin())];
}

uint64_t TarReader::size_of(const std::string& name) const { return entry_of(name).size; }

std::vector<uint8_t> TarReader::read(const std::string& name) const {
  return read_beginning(name, entry_of(name).size);
}

std::vector<uint8_t> TarReader::read_beginning(const std::string& name, uint64_t count) const {
  const Entry& entry = entry_of(name);
  std::vector<uint8_t> bytes(std::min(count, entry.size));
  file_.read_at(entry.offset, bytes);
  return bytes;
}

}  // namespace ddpm::io
