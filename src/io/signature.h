#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace ddpm::io {

/// A kind of file that no reader accepts, in the words of an error message.
struct Signature {
  std::string_view what;     ///< "a GIF image", "a zip archive"
  std::string_view way_out;  ///< "convert it to PNG, JPEG or WebP", "unpack it"
};

/// The kind of a file that begins with these bytes (300 are enough), whatever its name: an archive,
/// a document, or an image of a format that is not supported. None if unknown. (foreign_text.h
/// recognises failed downloads.)
std::optional<Signature> signature_of(std::span<const uint8_t> beginning);

}  // namespace ddpm::io
