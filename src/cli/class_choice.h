#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ddpm::cli {

/// The numbers of the classes that --class names, of `count` classes named `names` (or of none: by
/// number alone). Each text is the name of a class, or a list with commas ("\," is a comma in a
/// name). A part is a name, "#K" the class of number K, or a number; but if classes are named by
/// numbers, a number is a name only. Throws UsageError.
std::vector<int64_t> chosen_classes(const std::vector<std::string>& texts,
                                    const std::vector<std::string>& names, int64_t count);

}  // namespace ddpm::cli
