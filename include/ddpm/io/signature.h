#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace ddpm::io {

/// A kind of file that is none of those that a reader hoped for, in the words of an error message.
struct Signature {
  std::string_view what;     ///< "a web page (HTML)", "a GIF image"
  std::string_view way_out;  ///< "fetch the file itself", "convert it to PNG"
};

/// What a file is that begins with these bytes (64 are enough), whatever its name says: a web page,
/// a pointer of Git LFS, an archive, an image of a format that is not read. None if unknown.
std::optional<Signature> signature_of(std::span<const uint8_t> beginning);

}  // namespace ddpm::io
