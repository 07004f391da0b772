#pragma once

#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"

#include <cstdint>
#include <span>
#include <string>

#include <fmt/format.h>

namespace ddpm::io {

/// The bytes of a pickle, taken from the front, and the errors of reading them. `name` is the file's
/// name in errors and must outlive this object.
class PickleBytes {
 public:
  PickleBytes(std::span<const uint8_t> bytes, const std::string& name)
      : bytes_(bytes), name_(name) {}

  [[noreturn]] void fail(const std::string& message) const { throw IoError(name_, message); }
  [[noreturn]] void damaged() const {
    fail(fmt::format("is damaged: its pickle makes no sense at byte {}", position_));
  }
  [[noreturn]] void refuse(const std::string& what) const {
    fail(
        fmt::format("holds {}, which is not read: only tensors, numbers, texts, lists and dicts "
                    "are, and no code is run; in Python, save the state dict alone: "
                    "torch.save(model.state_dict(), \"weights.pt\")",
                    what));
  }

  std::span<const uint8_t> take(uint64_t count) {
    if (count > bytes_.size() - position_) fail("is damaged: its pickle is cut short");
    const auto piece = bytes_.subspan(position_, count);
    position_ += count;
    return piece;
  }
  uint8_t take_byte() { return take(1)[0]; }
  uint64_t take_number(uint64_t count) { return little_endian(take(count)); }
  std::string take_text(uint64_t count) {
    const auto piece = take(count);
    return {piece.begin(), piece.end()};
  }
  std::string take_line() {
    std::string line;
    for (uint8_t c = take_byte(); c != '\n'; c = take_byte()) line += static_cast<char>(c);
    return line;
  }
  size_t position() const { return position_; }

 private:
  std::span<const uint8_t> bytes_;
  size_t position_ = 0;
  const std::string& name_;
};

}  // namespace ddpm::io
