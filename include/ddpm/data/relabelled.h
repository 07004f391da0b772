#pragma once

#include "ddpm/data/subset.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ddpm::data {

/// Classes of a trained network.
struct KnownClasses {
  int64_t count = 0;
  std::vector<std::string> names;  ///< one per class, or empty
};

/// For each class of the data, its number among the known ones: by name if every name is known;
/// else by number if the counts agree, or if one side has only numbers as names. Throws Error,
/// which begins with "the data has", if neither is possible.
std::vector<int64_t> class_numbers(const std::vector<std::string>& classes,
                                   const KnownClasses& known);

/// The same images with the known classes: class c becomes numbers[c].
std::shared_ptr<const Dataset> relabelled(std::shared_ptr<const Dataset> dataset,
                                          std::vector<int64_t> numbers, KnownClasses known);
/// Both parts; a missing part stays missing.
Split relabelled(const Split& split, const std::vector<int64_t>& numbers,
                 const KnownClasses& known);

}  // namespace ddpm::data
