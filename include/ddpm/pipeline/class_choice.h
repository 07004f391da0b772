#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ddpm::pipeline {

/// The numbers of the classes that `key` (in messages: "--class", "classes") chooses of `count`
/// classes. `names`: theirs, or empty. Each text is a class name or a list with commas ("\," is a
/// comma in a name). An item is a name, a number, or "#K" for number K. If classes are named by
/// numbers, a bare number is a name. Throws UsageError.
std::vector<int64_t> chosen_classes(const std::vector<std::string>& texts,
                                    const std::vector<std::string>& names, int64_t count,
                                    const std::string& key);

}  // namespace ddpm::pipeline
