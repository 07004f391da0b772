#include "ddpm/io/npy.h"

#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/foreign_text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ddpm::io {
namespace {

// "\x93NUMPY", version (two bytes), length of the text that follows (2 bytes in version 1, else 4).
constexpr std::array<uint8_t, 6> kNpySignature = {0x93, 'N', 'U', 'M', 'P', 'Y'};
constexpr size_t kMaxText = 64 * 1024;
constexpr size_t kMaxAxes = 8;

// The header's text, a Python dictionary of three entries:
// {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  void read(NpyHeader& header) {
    bool seen[3] = {false, false, false};
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        read_type(header);
        seen[0] = true;
      } else if (key == "fortran_order") {
        header.fortran_order = boolean();
        seen[1] = true;
      } else if (key == "shape") {
        header.sizes = sizes();
        seen[2] = true;
      } else {
        fail(fmt::format("unknown entry '{}'", key.substr(0, 40)));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!seen[0] || !seen[1] || !seen[2]) fail("descr, fortran_order or shape is missing");
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw IoError(name_, fmt::format("is not a readable .npy file: its header is damaged ({}); "
                                     "save it again with numpy.save",
                                     reason));
  }
  [[noreturn]] void fail_type(const std::string& what) const {
    throw IoError(name_, fmt::format("holds {}, which are no numbers of images; save it as uint8 "
                                     "or float32",
                                     what));
  }

  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(fmt::format("'{}' expected at byte {}", c, at_));
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail(fmt::format("a text expected at byte {}", at_));
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail("a text without end");
    const std::string content(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return content;
  }
  bool boolean() {
    peek();
    for (const auto& [word, value] : {std::pair<std::string_view, bool>{"True", true},
                                      std::pair<std::string_view, bool>{"False", false}}) {
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    }
    fail(fmt::format("True or False expected at byte {}", at_));
  }
  int64_t number() {
    int64_t value = 0;
    const char first = peek();
    if (first < '0' || first > '9') fail(fmt::format("a number expected at byte {}", at_));
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (value > std::numeric_limits<int64_t>::max() / 10 - 1) fail("a size beyond 64 bits");
      value = 10 * value + (text_[at_] - '0');
    }
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // as Python 2 wrote it
    return value;
  }
  std::vector<int64_t> sizes() {
    std::vector<int64_t> values;
    expect('(');
    while (!accept(')')) {
      if (values.size() == kMaxAxes) fail(fmt::format("more than {} axes", kMaxAxes));
      values.push_back(number());
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return values;
  }
  void read_type(NpyHeader& header) {
    if (peek() == '[') fail_type("records");
    const std::string type = quoted();
    const size_t begin = type.find_first_of("<>|=") == 0 ? 1 : 0;
    header.big_endian = begin == 1 && type[0] == '>';
    header.kind = type.size() > begin ? type[begin] : '?';
    const std::string digits = type.substr(std::min(type.size(), begin + 1));
    const bool known = digits == "1" || digits == "2" || digits == "4" || digits == "8";
    header.item_size = known ? digits[0] - '0' : 0;
    const bool valid = header.kind == 'u' || header.kind == 'i'
                           ? known
                           : (header.kind == 'f' && known && header.item_size > 1) ||
                                 (header.kind == 'b' && header.item_size == 1);
    if (!valid) {
      fail_type(header.kind == 'O' ? "Python objects"
                                   : fmt::format("values of NumPy type '{}'", type.substr(0, 40)));
    }
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0;
};

// The number of values; false if it or their bytes do not fit 62 bits.
bool count_values(const NpyHeader& header, int64_t* count) {
  bool empty = false;
  *count = 1;
  for (const int64_t size : header.sizes) {
    empty = empty || size == 0;
    const int64_t factor = std::max<int64_t>(size, 1);  // strides ignore the 0
    if (__builtin_mul_overflow(*count, factor, count)) return false;
  }
  const bool fits = *count <= std::numeric_limits<int64_t>::max() / 16;
  if (empty) *count = 0;
  return fits;
}

// Bytes that live as long as `owner`.
struct OwnedBytes {
  uint8_t* data;
  size_t size;
  std::shared_ptr<void> owner;
};

OwnedBytes map_file(const std::filesystem::path& path) {
  const auto fail = [&](const char* call) {
    throw IoError(path, fmt::format("cannot {} ({})", call, std::strerror(errno)));
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("be opened");
  const std::shared_ptr<void> closer(nullptr, [fd](void*) { ::close(fd); });
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail("be looked at");
  if (!S_ISREG(status.st_mode)) throw IoError(path, "is not a regular file");
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) throw IoError(path, "is empty; save it again with numpy.save");
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
  if (data == MAP_FAILED) fail("be mapped into memory");
  return {static_cast<uint8_t*>(data), size,
          std::shared_ptr<void>(data, [size](void* at) { ::munmap(at, size); })};
}

void reverse_bytes(uint8_t* data, int64_t count, int64_t item_size) {
  for (int64_t i = 0; i < count; ++i)
    std::reverse(data + i * item_size, data + (i + 1) * item_size);
}

// From -> To, value by value.
template <class From, class To>
torch::Tensor widened(const uint8_t* data, int64_t count, torch::ScalarType type) {
  torch::Tensor out = torch::empty({count}, type);
  To* to = out.data_ptr<To>();
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, data + i * static_cast<int64_t>(sizeof(From)), sizeof(From));
    to[i] = static_cast<To>(value);
  }
  return out;
}

torch::ScalarType type_of(const NpyHeader& header) {
  const bool floating = header.kind == 'f';
  switch (header.item_size) {
    case 1:
      return header.kind == 'i' ? torch::kChar : torch::kByte;
    case 2:
      return floating ? torch::kHalf : torch::kShort;
    case 4:
      return floating ? torch::kFloat : torch::kInt;
    default:
      return floating ? torch::kDouble : torch::kLong;
  }
}

// The values in file order: [count].
torch::Tensor flat_values(const NpyHeader& header, const OwnedBytes& file, int64_t count) {
  uint8_t* data = file.data + header.data_offset;
  const bool aligned =
      reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(header.item_size) == 0;
  const bool swapped = header.big_endian && header.item_size > 1;
  torch::Tensor copy;
  if (!aligned || swapped) {
    copy = torch::empty({count * header.item_size}, torch::kByte);
    if (count > 0) std::memcpy(copy.data_ptr<uint8_t>(), data, count * header.item_size);
    data = copy.data_ptr<uint8_t>();
    if (swapped) reverse_bytes(data, count, header.item_size);
  }
  if (header.kind == 'u' && header.item_size == 2)
    return widened<uint16_t, int32_t>(data, count, torch::kInt);
  if (header.kind == 'u' && header.item_size == 4)
    return widened<uint32_t, int64_t>(data, count, torch::kLong);
  const std::shared_ptr<void> owner = copy.defined() ? nullptr : file.owner;
  const torch::Tensor values = torch::from_blob(
      data, {count}, [owner, copy](void*) {}, torch::TensorOptions(type_of(header)));
  return header.kind == 'b' ? values.ne(0) : values;
}

// Row-major strides, or for Fortran's order the reverse.
torch::Tensor shaped(const torch::Tensor& flat, const NpyHeader& header) {
  if (!header.fortran_order) return flat.view(header.sizes);
  std::vector<int64_t> backwards(header.sizes.rbegin(), header.sizes.rend());
  std::vector<int64_t> axes;
  for (size_t i = 0; i < backwards.size(); ++i) {
    axes.push_back(static_cast<int64_t>(backwards.size() - 1 - i));
  }
  return flat.view(backwards).permute(axes);
}

torch::Tensor array_of(const OwnedBytes& file, const std::string& name) {
  const NpyHeader header = parse_npy_header({file.data, file.size}, name);
  const uint64_t expected = header.byte_count(), have = file.size - header.data_offset;
  if (expected != have) {
    throw IoError(name,
                  fmt::format("{}: its header announces {} bytes of data ({} of {}), it holds "
                              "{}; save or fetch it again",
                              have < expected ? "is cut short" : "is too long", expected,
                              fmt::join(header.sizes, " x "), header.type_name(), have));
  }
  int64_t count = 0;
  count_values(header, &count);
  return shaped(flat_values(header, file, count), header);
}

}  // namespace

std::string NpyHeader::type_name() const {
  if (kind == 'b') return "bool";
  return fmt::format("{}{}", kind == 'f' ? "float" : kind == 'u' ? "uint" : "int", 8 * item_size);
}

uint64_t NpyHeader::byte_count() const {
  int64_t count = 0;
  TORCH_CHECK(count_values(*this, &count), "an array of too many values");
  return static_cast<uint64_t>(count) * static_cast<uint64_t>(item_size);
}

NpyHeader parse_npy_header(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.size() < 10 || !begins_with(bytes, kNpySignature)) {
    refuse_foreign_text(name, bytes);
    throw IoError(name, "is not a .npy file (it does not begin like one); save it with numpy.save");
  }
  const int version = bytes[6];
  if (version < 1 || version > 3) {
    throw IoError(name, fmt::format("is a .npy file of version {}; 1 to 3 can be read", version));
  }
  const size_t length_size = version == 1 ? 2 : 4;
  const size_t text_begin = 8 + length_size;
  const size_t length = little_endian(bytes.subspan(8, std::min(length_size, bytes.size() - 8)));
  if (length > kMaxText)
    throw IoError(name, fmt::format("has a .npy header of {} bytes; is it damaged?", length));
  if (bytes.size() < text_begin || length > bytes.size() - text_begin)
    throw IoError(name, "is cut short: its .npy header is not whole; save or fetch it again");

  NpyHeader header;
  HeaderText(text_of(bytes.subspan(text_begin, length)), name).read(header);
  header.data_offset = text_begin + length;
  int64_t count = 0;
  if (!count_values(header, &count)) {
    throw IoError(name, fmt::format("announces {} values, more than any memory holds; is it "
                                    "damaged?",
                                    fmt::join(header.sizes, " x ")));
  }
  return header;
}

torch::Tensor read_npy(const std::filesystem::path& path) {
  return array_of(map_file(path), path.string());
}

torch::Tensor parse_npy(std::vector<uint8_t> bytes, const std::string& name) {
  const auto owner = std::make_shared<std::vector<uint8_t>>(std::move(bytes));
  return array_of({owner->data(), owner->size(), owner}, name);
}

std::vector<uint8_t> encode_npy(const torch::Tensor& values) {
  const auto type = values.scalar_type();
  const char* name = type == torch::kByte     ? "|u1"
                     : type == torch::kUInt16 ? "<u2"
                     : type == torch::kFloat  ? "<f4"
                                              : nullptr;
  TORCH_CHECK(name != nullptr, "expected uint8, uint16 or float32, got ", type);
  const std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", name,
                  fmt::join(values.sizes(), ", "), values.dim() == 1 ? "," : "");
  // The text ends with a line feed, and the values begin at a multiple of 64 bytes.
  constexpr size_t kBeforeText = 10, kMultiple = 64;
  const size_t length =
      (kBeforeText + header.size() + kMultiple) / kMultiple * kMultiple - kBeforeText;
  std::vector<uint8_t> bytes(kNpySignature.begin(), kNpySignature.end());
  bytes.insert(bytes.end(),
               {1, 0, static_cast<uint8_t>(length), static_cast<uint8_t>(length >> 8)});
  bytes.insert(bytes.end(), header.begin(), header.end());
  bytes.resize(kBeforeText + length - 1, ' ');
  bytes.push_back('\n');
  const torch::Tensor flat = values.cpu().contiguous();
  const auto* data = static_cast<const uint8_t*>(flat.const_data_ptr());
  bytes.insert(bytes.end(), data, data + flat.nbytes());
  return bytes;
}

}  // namespace ddpm::io
