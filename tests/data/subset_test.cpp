#include "ddpm/data/view.h"
#include "src/data/procedural.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

std::shared_ptr<const Dataset> shapes(int64_t count) {
  return std::make_shared<ProceduralShapes>(count, ImageShape{1, 8, 8}, 5);
}

std::vector<int64_t> indices(const std::shared_ptr<const Dataset>& part) {
  return dynamic_cast<const Subset&>(*part).indices();
}

TEST(Subset, HoldsTheImagesOfItsIndices) {
  const auto whole = shapes(20);
  const Subset subset(whole, {7, 3});
  ASSERT_EQ(subset.size(), 2);
  EXPECT_TRUE(subset.get(0).image.equal(whole->get(7).image));
  EXPECT_EQ(subset.get(1).label, whole->get(3).label);
  EXPECT_THROW(Subset(whole, {20}), c10::Error);
}

TEST(HoldOut, PartsAreDisjointAndComplete) {
  const Split split = hold_out(shapes(50), 10, 1);
  std::vector<int64_t> all = indices(split.training);
  EXPECT_EQ(split.training->size(), 40);
  EXPECT_EQ(split.held_out->size(), 10);
  const std::vector<int64_t> held = indices(split.held_out);
  all.insert(all.end(), held.begin(), held.end());
  std::sort(all.begin(), all.end());
  for (int64_t i = 0; i < 50; ++i) EXPECT_EQ(all[i], i);
}

TEST(HoldOut, IsAFunctionOfTheSeed) {
  EXPECT_EQ(indices(hold_out(shapes(50), 10, 1).held_out),
            indices(hold_out(shapes(50), 10, 1).held_out));
  EXPECT_NE(indices(hold_out(shapes(50), 10, 1).held_out),
            indices(hold_out(shapes(50), 10, 2).held_out));
}

TEST(HoldOut, OfNothingIsTheDataSetItself) {
  const auto whole = shapes(5);
  const Split split = hold_out(whole, 0, 1);
  EXPECT_EQ(split.training, whole);
  EXPECT_EQ(split.held_out, nullptr);
}

}  // namespace
}  // namespace ddpm::data
