#pragma once

#include <cstdint>
#include <string>

namespace ddpm::train {

/// A rank's part of every batch: consecutive images.
struct Share {
  int64_t first = 0, count = 0;

  bool operator==(const Share&) const = default;
};

/// Divides `batch` images among the ranks as evenly as possible: the first ones have one more if
/// they do not divide evenly.
Share share_of(int64_t batch, int64_t rank, int64_t ranks);

/// Part `part` of `parts` of so many images, as even as possible.
Share part_of(int64_t images, int64_t part, int64_t parts);

/// "22+21+21 images", or with many ranks "1 x 22 + 12 x 21 images".
std::string describe_shares(int64_t batch, int64_t ranks);

}  // namespace ddpm::train
