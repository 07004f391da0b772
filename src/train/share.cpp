#include "share.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::train {

Share share_of(int64_t batch, int64_t rank, int64_t ranks) {
  const int64_t each = batch / ranks, more = batch % ranks;
  return {rank * each + std::min(rank, more), each + (rank < more ? 1 : 0)};
}

Share part_of(int64_t images, int64_t part, int64_t parts) {
  const int64_t first = images * part / parts;
  return {first, images * (part + 1) / parts - first};
}

std::string describe_shares(int64_t batch, int64_t ranks) {
  constexpr int64_t kListed = 8;
  const int64_t each = batch / ranks, more = batch % ranks;
  if (ranks > kListed) {
    const std::string rest = fmt::format("{} x {} images", ranks - more, each);
    return more == 0 ? rest : fmt::format("{} x {} + {}", more, each + 1, rest);
  }
  std::vector<int64_t> counts;
  for (int64_t rank = 0; rank < ranks; ++rank) counts.push_back(share_of(batch, rank, ranks).count);
  return fmt::format("{} images", fmt::join(counts, "+"));
}

}  // namespace ddpm::train
