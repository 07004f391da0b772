#pragma once

#include <string>

namespace ddpm::data {

/// The text after the last dot of a name, in lower case; "" if there is no dot.
std::string ending_of(const std::string& name);

/// Whether a part of the path begins with a dot or is "__MACOSX".
bool is_hidden_name(const std::string& name);

/// Whether the path ends in png, jpg, jpeg, jpe, jfif, webp, bmp, tga, pgm or ppm (either case) and
/// is not hidden.
bool is_image_name(const std::string& name);

/// Those endings, "png, jpg, ...".
std::string image_endings();

}  // namespace ddpm::data
