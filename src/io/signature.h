#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace ddpm::io {

/// A kind of file that is none of those that a reader hoped for, in the words of an error message.
struct Signature {
  std::string_view what;     ///< "a GIF image", "a zip archive"
  std::string_view way_out;  ///< "convert it to PNG, JPEG or WebP", "unpack it"
};

/// What a file is that begins with these bytes (64 are enough), whatever its name says: an
/// archive, a document, an image of a format that is not read. None if unknown. (What is no such
/// file at all, foreign_text.h knows.)
std::optional<Signature> signature_of(std::span<const uint8_t> beginning);

}  // namespace ddpm::io
