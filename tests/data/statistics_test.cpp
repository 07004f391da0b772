#include "ddpm/data/statistics.h"

#include "ddpm/base/error.h"
#include "tests/io/fixtures.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

// Image i: channel 0 is all i, channel 1 holds 0 .. 15, channel 2 half 0 and half 255. Its label is
// i mod 3, or none if i mod 3 is 2. Images 5 and 7 cannot be read.
class Known final : public Dataset {
 public:
  int64_t size() const override { return 10; }
  ImageShape shape() const override { return {3, 4, 4}; }
  int64_t class_count() const override { return 2; }
  std::vector<std::string> class_names() const override { return {"a", "b"}; }
  std::string description() const override { return "known"; }
  Example get(int64_t index) const override {
    if (index == 5 || index == 7) throw IoError("image" + std::to_string(index), "is broken");
    torch::Tensor image = torch::empty({3, 4, 4}, torch::kUInt8);
    image[0].fill_(index);
    image[1].copy_(torch::arange(16).view({4, 4}));
    image[2].slice(0, 0, 2).fill_(0);
    image[2].slice(0, 2, 4).fill_(255);
    return {image, index % 3 == 2 ? -1 : index % 3};
  }
};

TEST(Measure, GivesTheClosedFormForAnyNumberOfThreads) {
  for (const int64_t workers : {1, 3, 20}) {
    const Statistics s = measure(Known(), spread_indices(10, 10), workers);
    EXPECT_EQ(s.images, 8);
    EXPECT_EQ(s.bad, (std::vector<std::string>{"image5: is broken", "image7: is broken"}));
    EXPECT_EQ(s.class_counts, (std::vector<int64_t>{4, 2}));  // 0, 3, 6, 9 and 1, 4
    EXPECT_EQ(s.unlabelled, 2);                               // 2, 8
    ASSERT_EQ(s.channels.size(), 3u);
    // 0, 1, 2, 3, 4, 6, 8, 9: mean 33 / 8, mean square 211 / 8.
    EXPECT_DOUBLE_EQ(s.channels[0].mean(), 33.0 / 8);
    EXPECT_DOUBLE_EQ(s.channels[0].deviation(), std::sqrt(211.0 / 8 - 33.0 * 33 / 64));
    // Uniform on 0..15: variance (16^2 - 1) / 12.
    EXPECT_DOUBLE_EQ(s.channels[1].mean(), 7.5);
    EXPECT_DOUBLE_EQ(s.channels[1].deviation(), std::sqrt(255.0 / 12));
    EXPECT_DOUBLE_EQ(s.channels[2].mean(), 127.5);
    EXPECT_DOUBLE_EQ(s.channels[2].deviation(), 127.5);
    EXPECT_EQ(s.channels[0].lowest(), 0);
    EXPECT_EQ(s.channels[0].highest(), 9);
    EXPECT_EQ(s.channels[2].highest(), 255);
    EXPECT_EQ(s.all_channels().total(), 8 * 48);
  }
}

TEST(Measure, HistogramAddsNeighbouringValues) {
  const Statistics s = measure(Known(), {0, 1, 2}, 2);
  const std::vector<int64_t> bins = histogram(s.all_channels(), 16);
  EXPECT_EQ(bins.front(), 3 * (16 + 16 + 8));
  EXPECT_EQ(bins.back(), 3 * 8);
  EXPECT_EQ(bins[1] + bins[14], 0);
  EXPECT_THROW(histogram(s.all_channels(), 10), c10::Error);
}

TEST(SpreadIndices, AreEvenAndDistinct) {
  EXPECT_EQ(spread_indices(10, 4), (std::vector<int64_t>{0, 2, 5, 7}));
  EXPECT_EQ(spread_indices(3, 8), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(spread_indices(1000000, 3), (std::vector<int64_t>{0, 333333, 666666}));
}

}  // namespace
}  // namespace ddpm::data
