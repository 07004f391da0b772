#include "ddpm/sample/trajectory.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

// An estimate that tells its image and its step: pixel value 10 * image + position.
TrajectoryPoint point_of(int64_t first, int64_t count, int64_t position) {
  const torch::Tensor value =
      10.0 * torch::arange(first, first + count).view({-1, 1, 1, 1}) + position;
  return {position, {0, 0}, torch::Tensor(), value.to(torch::kFloat) / 127.5 - 1.0};
}

TEST(Trajectory, ColumnsAreEvenlySpreadAndEndWithTheLastStep) {
  const Trajectory five(timestep_plan(100, 50, Spacing::kLeading), 1, 5);
  EXPECT_EQ(five.times(), (std::vector<int64_t>{81, 61, 41, 21, 1}));
  const Trajectory three(timestep_plan(100, 3, Spacing::kTrailing), 1, 10);
  EXPECT_EQ(three.times().size(), 3u) << "no more columns than steps";
}

TEST(Trajectory, RowsAreImagesWhateverTheBatch) {
  Trajectory trajectory(timestep_plan(10, 4, Spacing::kLeading), 3, 2);  // positions 1 and 3
  for (const int64_t first : {0, 2, 4}) {
    for (int64_t position = 0; position < 4; ++position)
      trajectory.observe(first, point_of(first, 2, position));
  }
  const torch::Tensor cells = trajectory.cells();
  ASSERT_EQ(cells.sizes(), (std::vector<int64_t>{6, 1, 1, 1}));
  EXPECT_TRUE(cells.flatten().equal(torch::tensor({1, 3, 11, 13, 21, 23}, torch::kUInt8)));
}

TEST(Trajectory, AFrameIsTheGridOfOneStep) {
  Trajectory trajectory(timestep_plan(10, 4, Spacing::kLeading), 3, 2);
  for (const int64_t first : {0, 2}) {
    for (int64_t position = 0; position < 4; ++position)
      trajectory.observe(first, point_of(first, 2, position));
  }
  const torch::Tensor frames = trajectory.frames(2);
  ASSERT_EQ(frames.sizes(), (std::vector<int64_t>{2, 1, 8 * 8, 8 * 8}));  // enlarged
  // Cells of one pixel between 2 of background (48).
  const torch::Tensor pixels = frames.slice(2, 0, 64, 8).slice(3, 0, 64, 8);
  const auto cells = [&](int64_t k) {
    return torch::stack(
        {pixels[k][0][2][2], pixels[k][0][2][5], pixels[k][0][5][2], pixels[k][0][5][5]});
  };
  EXPECT_TRUE(cells(0).equal(torch::tensor({1, 11, 21, 48}, torch::kUInt8)));
  EXPECT_TRUE(cells(1).equal(torch::tensor({3, 13, 23, 48}, torch::kUInt8)));
}

TEST(Trajectory, ABatchCutShortIsLeftOut) {
  Trajectory trajectory(timestep_plan(10, 4, Spacing::kLeading), 3, 2);
  for (int64_t position = 0; position < 4; ++position)
    trajectory.observe(0, point_of(0, 2, position));
  trajectory.observe(2, point_of(2, 1, 1));
  EXPECT_EQ(trajectory.cells().size(0), 4);
}

}  // namespace
}  // namespace ddpm::sample
