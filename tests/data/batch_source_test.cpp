#include "ddpm/data/loader.h"
#include "src/data/procedural.h"

#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

TEST(ReadBatch, HoldsTheImagesLabelsAndNumbersOfItsIndices) {
  const ProceduralShapes dataset(20, {3, 8, 9}, 5);
  const std::vector<int64_t> indices = {7, 3, 7};
  const Batch batch = read_batch(dataset, indices);
  ASSERT_EQ(batch.images.sizes(), (torch::IntArrayRef{3, 3, 8, 9}));
  EXPECT_TRUE(batch.images.is_contiguous());
  for (int64_t i = 0; i < 3; ++i) {
    const Example expected = dataset.get(indices[i]);
    EXPECT_TRUE(batch.images[i].equal(expected.image));
    EXPECT_EQ(batch.labels[i].item<int64_t>(), expected.label);
    EXPECT_EQ(batch.ids[i].item<int64_t>(), indices[i]);
  }
  EXPECT_EQ(batch.labels.scalar_type(), torch::kLong);
}

}  // namespace
}  // namespace ddpm::data
