#pragma once

#include <string>

namespace ddpm::data {

/// What stands behind the last dot of a name, in lower case; "" if there is no dot.
std::string ending_of(const std::string& name);

/// Has the path a part of the kind ".name", as in "._name", or "__MACOSX"?
bool is_hidden_name(const std::string& name);

/// Is the path that of an image: ending in png, jpg, jpeg, jpe, jfif, webp, bmp, tga, pgm or ppm
/// (either case), and not hidden?
bool is_image_name(const std::string& name);

/// Those endings, "png, jpg, ...".
std::string image_endings();

}  // namespace ddpm::data
