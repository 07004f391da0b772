#include "src/data/procedural.h"

#include <set>
#include <thread>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

// Of images to those at four times the resolution, averaged: the mean over all pixels, of 255.
double distance_to_averaged(const Dataset& small, const Dataset& large) {
  double sum = 0;
  for (int64_t i = 0; i < small.size(); ++i) {
    const torch::Tensor mean =
        torch::avg_pool2d(large.get(i).image.to(torch::kFloat).unsqueeze(0), 4)[0];
    sum += (small.get(i).image.to(torch::kFloat) - mean).abs().mean().item<double>();
  }
  return sum / static_cast<double>(small.size());
}

TEST(ProceduralShapes, ImageIsAFunctionOfSeedAndIndex) {
  const ProceduralShapes first(1000, {3, 32, 32}, 7), second(5000, {3, 32, 32}, 7),
      other(1000, {3, 32, 32}, 8);
  for (const int64_t index : {0, 1, 999}) {
    EXPECT_TRUE(torch::equal(first.get(index).image, second.get(index).image));
    EXPECT_FALSE(torch::equal(first.get(index).image, other.get(index).image));
  }
}

TEST(ProceduralShapes, NoTwoOfAThousandImagesAreAlike) {
  const ProceduralShapes shapes(1000, {1, 16, 16}, 0);
  std::set<std::string> seen;
  for (int64_t i = 0; i < shapes.size(); ++i) {
    const torch::Tensor image = shapes.get(i).image;
    seen.emplace(static_cast<const char*>(image.data_ptr()), image.numel());
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(ProceduralShapes, ClassesAreBalancedAndNamed) {
  const ProceduralShapes shapes(80, {3, 16, 16}, 0);
  std::vector<int> counts(shapes.class_count(), 0);
  for (int64_t i = 0; i < shapes.size(); ++i) ++counts.at(shapes.get(i).label);
  EXPECT_EQ(counts,
            std::vector<int>(shapes.class_count(), static_cast<int>(80 / shapes.class_count())));
  const std::vector<std::string> names = shapes.class_names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), counts.size());
}

TEST(ProceduralShapes, DrawsAnySizeAndChannels) {
  for (const ImageShape shape : {ImageShape{1, 8, 8}, {3, 16, 48}, {1, 40, 9}, {3, 64, 64}}) {
    const ProceduralShapes shapes(4, shape, 0);
    EXPECT_EQ(shapes.get(3).image.sizes(),
              (torch::IntArrayRef{shape.channels, shape.height, shape.width}));
    EXPECT_EQ(shapes.get(3).image.scalar_type(), torch::kUInt8);
  }
  EXPECT_THROW(ProceduralShapes(4, {2, 16, 16}, 0), c10::Error);
  EXPECT_THROW(ProceduralShapes(4, {3, 7, 16}, 0), c10::Error);
}

// The border shows ground alone (slopes of at most 0.07 in lightness); the shape stands out from it
// by 0.36 - 2 x 0.09 - 0.07 or so, and covers a visible part of the picture. In grey, lightness is
// all there is.
TEST(ProceduralShapes, EveryImageShowsOneBoldShape) {
  const ProceduralShapes shapes(400, {1, 32, 32}, 3);
  for (int64_t i = 0; i < shapes.size(); ++i) {
    const torch::Tensor image = shapes.get(i).image[0].to(torch::kFloat) / 255;
    const torch::Tensor corners =
        torch::stack({image[0][0], image[0][31], image[31][0], image[31][31]});
    EXPECT_LT((corners.max() - corners.min()).item<float>(), 0.16f) << "image " << i;
    const float share =
        ((image - corners.mean()).abs() > 0.2f).to(torch::kFloat).mean().item<float>();
    EXPECT_GT(share, 0.06f) << "image " << i;
    EXPECT_LT(share, 0.60f) << "image " << i;
  }
}

// A picture at four times the resolution, averaged, is the picture: what anti-aliasing means. Edges
// with a corner in the pixel are the worst case; on the average pixel the two agree to 1 of 255.
TEST(ProceduralShapes, AreAntiAliased) {
  const ProceduralShapes small(32, {3, 32, 32}, 1), large(32, {3, 128, 128}, 1);
  EXPECT_LT(distance_to_averaged(small, large), 1.0);
}

TEST(ProceduralShapes, ManyThreadsDrawTheSame) {
  const ProceduralShapes shapes(64, {3, 16, 16}, 0);
  std::vector<std::thread> threads;
  std::vector<torch::Tensor> drawn(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<torch::Tensor> images;
      for (int64_t i = 0; i < shapes.size(); ++i) images.push_back(shapes.get(i).image);
      drawn[t] = torch::stack(images);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 1; t < 4; ++t) EXPECT_TRUE(torch::equal(drawn[t], drawn[0]));
}

TEST(ProceduralScenes, ImageIsAFunctionOfSeedAndIndex) {
  const ProceduralScenes first(1000, {3, 32, 32}, 7), second(5000, {3, 32, 32}, 7),
      other(1000, {3, 32, 32}, 8);
  for (int64_t index = 0; index < first.class_count(); ++index) {
    EXPECT_TRUE(torch::equal(first.get(index).image, second.get(index).image));
    EXPECT_FALSE(torch::equal(first.get(index).image, other.get(index).image));
    EXPECT_EQ(first.get(index).label, index);
  }
}

TEST(ProceduralScenes, DrawsAnySizeAndChannels) {
  for (const ImageShape shape : {ImageShape{1, 8, 8}, {3, 16, 48}, {1, 40, 9}, {3, 64, 64}}) {
    const ProceduralScenes scenes(8, shape, 0);
    EXPECT_EQ(scenes.get(7).image.sizes(),
              (torch::IntArrayRef{shape.channels, shape.height, shape.width}));
  }
  EXPECT_THROW(ProceduralScenes(4, {2, 16, 16}, 0), c10::Error);
}

// The nearest of the classes' means names 0.9 of the images of another seed; chance is 1 of 8.
TEST(ProceduralScenes, ClassesCanBeToldApart) {
  const ProceduralScenes scenes(800, {3, 32, 32}, 1), others(400, {3, 32, 32}, 2);
  const int64_t classes = scenes.class_count();
  torch::Tensor means = torch::zeros({classes, 3, 32, 32});
  for (int64_t i = 0; i < scenes.size(); ++i)
    means[i % classes] += scenes.get(i).image.to(torch::kFloat) * classes / scenes.size();
  int64_t right = 0;
  for (int64_t i = 0; i < others.size(); ++i) {
    const Example example = others.get(i);
    const torch::Tensor distances = (means - example.image).square().sum({1, 2, 3});
    right += distances.argmin().item<int64_t>() == example.label;
  }
  EXPECT_GT(right, 0.8 * others.size());
}

// As for the shapes.
TEST(ProceduralScenes, AreAntiAliased) {
  const ProceduralScenes small(32, {3, 32, 32}, 1), large(32, {3, 128, 128}, 1);
  EXPECT_LT(distance_to_averaged(small, large), 1.0);
}

}  // namespace
}  // namespace ddpm::data
