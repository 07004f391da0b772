#pragma once

#include "ddpm/io/image.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ddpm::data {

/// Number of images that lose information by conversion.
struct Losses {
  int64_t colour = 0;  ///< coloured, become grey
  int64_t alpha = 0;   ///< lose their alpha
  int64_t depth = 0;   ///< of 16 bits per channel

  /// Counts an image that is converted to `channels`.
  void count(const io::ImageInfo& info, int64_t channels);

  /// One sentence per unrequested loss, with the key to set. `first` is the first of `total`
  /// images. `as_asked`: the user set the number of channels.
  std::vector<std::string> remarks(int64_t total, const std::string& first, int64_t channels,
                                   bool as_asked, bool has_config) const;
};

/// "12 .gif, 3 .txt, 1 without ending", the most frequent first.
std::string counted_endings(const std::map<std::string, int64_t>& endings);

/// A sentence on the files that are images or videos by their endings; "" if there are none.
std::string pictures_passed_over(const std::map<std::string, int64_t>& endings);

}  // namespace ddpm::data
