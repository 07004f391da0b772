#include "src/train/share.h"

#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

TEST(Share, RanksTakeAllImagesOnceInOrderAndAsEvenlyAsPossible) {
  for (const int64_t batch : {7, 64, 65}) {
    for (int64_t ranks = 1; ranks <= 7; ++ranks) {
      int64_t next = 0;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const Share share = share_of(batch, rank, ranks);
        EXPECT_EQ(share.first, next);
        EXPECT_GE(share.count, batch / ranks);
        EXPECT_LE(share.count, (batch + ranks - 1) / ranks);
        next += share.count;
      }
      EXPECT_EQ(next, batch) << ranks << " ranks";
    }
  }
  EXPECT_EQ(share_of(64, 1, 4), (Share{16, 16}));
  EXPECT_EQ(share_of(64, 0, 3), (Share{0, 22}));
  EXPECT_EQ(share_of(64, 2, 3), (Share{43, 21}));
}

TEST(Share, MicroBatchesTakeAllImagesOnceInOrder) {
  EXPECT_EQ(part_of(16, 1, 2), (Share{8, 8}));
  for (int64_t parts = 1; parts <= 11; ++parts) {
    int64_t next = 0;
    for (int64_t part = 0; part < parts; ++part) {
      const Share share = part_of(11, part, parts);
      EXPECT_EQ(share.first, next);
      EXPECT_GE(share.count, 1);
      EXPECT_LE(share.count, (11 + parts - 1) / parts);
      next += share.count;
    }
    EXPECT_EQ(next, 11);
  }
}

TEST(Share, IsDescribedForPeople) {
  EXPECT_EQ(describe_shares(64, 1), "64 images");
  EXPECT_EQ(describe_shares(64, 3), "22+21+21 images");
  EXPECT_EQ(describe_shares(64, 16), "16 x 4 images");
  EXPECT_EQ(describe_shares(64, 15), "4 x 5 + 11 x 4 images");
}

}  // namespace
}  // namespace ddpm::train
