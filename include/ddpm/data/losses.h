#pragma once

#include "ddpm/io/image.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ddpm::data {

/// How many images lose something on their way out of their files.
struct Losses {
  int64_t colour = 0;  ///< become grey
  int64_t alpha = 0;   ///< lose their alpha
  int64_t depth = 0;   ///< are rounded from 16 bits to 8

  /// Counts an image that becomes one of `channels`.
  void count(const io::ImageInfo& info, int64_t channels);

  /// A sentence for each loss that was not asked for, with the key to set, of `total` images whose
  /// first is `first`. `as_asked`: the number of channels is the user's own.
  std::vector<std::string> remarks(int64_t total, const std::string& first, int64_t channels,
                                   bool as_asked, bool has_config) const;
};

/// "12 .gif, 3 .txt, 1 without ending", the most frequent first.
std::string counted_endings(const std::map<std::string, int64_t>& endings);

/// A sentence on those of the files that are pictures or films by their endings; "" if there are
/// none.
std::string pictures_passed_over(const std::map<std::string, int64_t>& endings);

}  // namespace ddpm::data
