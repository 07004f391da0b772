#include "src/data/numpy_images.h"

#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <cstring>
#include <limits>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

using fixtures::Bytes;
using fixtures::message_of;

const std::filesystem::path kGolden = std::filesystem::path(DDPM_SOURCE_DIR) / "tests" / "golden";

// scripts/make_npy_golden.py: uint8 [3,3,6,5], NCHW.
torch::Tensor expected_images() {
  const auto axis = [](int64_t size, int place) {
    std::vector<int64_t> sizes(4, 1);
    sizes[place] = size;
    return torch::arange(size).view(sizes);
  };
  return (37 * axis(3, 0) + 83 * axis(3, 1) + 11 * axis(6, 2) + 5 * axis(5, 3))
      .remainder(256)
      .to(torch::kUInt8);
}

torch::Tensor all_of(const Dataset& set) {
  std::vector<torch::Tensor> images;
  for (int64_t i = 0; i < set.size(); ++i) images.push_back(set.get(i).image);
  return torch::stack(images);
}

// A .npy file of a contiguous tensor.
Bytes npy(const torch::Tensor& array, const std::string& type) {
  std::string text = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (";
  for (const int64_t size : array.sizes()) text += std::to_string(size) + ",";
  text += ")}";
  text.resize(118, ' ');
  Bytes bytes = fixtures::from_text("\x93NUMPY\x01" + std::string("\0\x76\0", 3) + text);
  const size_t header = bytes.size();
  bytes.resize(header + array.nbytes());
  if (array.numel() > 0) std::memcpy(bytes.data() + header, array.data_ptr(), array.nbytes());
  return bytes;
}

class NumpyImages : public testing::Test {
 protected:
  std::unique_ptr<Dataset> open(const Bytes& bytes, const ArrayOptions& array = {},
                                const ImageOptions& options = {}) {
    fixtures::write(folder_ / "x.npy", bytes);
    return open_npy(folder_ / "x.npy", array, options);
  }
  std::unique_ptr<Dataset> open_golden(const std::string& name, const ArrayOptions& array = {}) {
    return open(io::ZipReader(kGolden / "numpy_arrays.npz").read(name + ".npy"), array);
  }
  std::string error(const Bytes& bytes, const ArrayOptions& array = {}) {
    return message_of<IoError>([&] { open(bytes, array); });
  }
  TemporaryFolder folder_;
};

// Floats of 16 bits are near 1 accurate to 1/2048: within 255/4096 of the bytes they were made of,
// so rounding gives these back.
TEST_F(NumpyImages, AreTheSameInEveryTypeAndOrder) {
  const ArrayOptions nhwc;
  for (const char* name : {"u1", "u1_version2", "u1_version3", "u1_fortran", "f2", "f4", "f4_big",
                           "f8_signed", "f8_fortran_big"}) {
    const auto set = open_golden(name, nhwc);
    EXPECT_EQ(set->shape(), (ImageShape{3, 6, 5})) << name;
    EXPECT_TRUE(torch::equal(all_of(*set), expected_images())) << name;
    EXPECT_EQ(set->class_count(), 0);
    EXPECT_EQ(set->get(0).label, -1);
  }
  EXPECT_TRUE(torch::equal(all_of(*open_golden("u1_nchw", {.layout = "nchw"})), expected_images()));
  EXPECT_TRUE(torch::equal(all_of(*open_golden("u1_nhw")), expected_images().narrow(1, 0, 1)));
  EXPECT_TRUE(torch::equal(all_of(*open_golden("b1", nhwc)),
                           (expected_images() >= 128).to(torch::kUInt8) * 255));
}

TEST_F(NumpyImages, SayHowTheyWereUnderstood) {
  EXPECT_CONTAINS(open_golden("f8_signed")->description(),
                  "(nhwc, floats of range -1_1 (-1 to 1)): 3 images of 6x5");
  EXPECT_CONTAINS(open_golden("f4")->description(), "(nhwc, floats of range 0_1 (0 to 1))");
  EXPECT_CONTAINS(open_golden("f8_fortran_big")->description(), "range 0_255 (0 to 255)");
  EXPECT_CONTAINS(open_golden("u1_nhw")->description(), "(nhw, bytes)");
}

TEST_F(NumpyImages, LayoutIsFoundWhereOneAxisCanBeChannels) {
  const auto zeros = [](std::vector<int64_t> sizes) {
    return npy(torch::zeros(sizes, torch::kUInt8), "|u1");
  };
  EXPECT_EQ(open(zeros({2, 8, 9, 3}))->shape(), (ImageShape{3, 8, 9}));
  EXPECT_EQ(open(zeros({2, 4, 8, 9}))->shape(), (ImageShape{4, 8, 9}));
  EXPECT_EQ(open(zeros({2, 8, 9, 2}))->shape(), (ImageShape{2, 8, 9}));
  EXPECT_EQ(open(zeros({2, 3, 9, 1}), {.layout = "nchw"})->shape(), (ImageShape{3, 9, 1}));
  EXPECT_EQ(open(zeros({2, 3, 9, 1}), {.layout = "nhwc"})->shape(), (ImageShape{1, 3, 9}));
  EXPECT_CONTAINS(error(zeros({2, 3, 9, 1})),
                  "x.npy: has the shape [2, 3, 9, 1], in which the second and the last axis could "
                  "be the channels (1 to 4); set data.layout = \"nhwc\" or \"nchw\"");
  EXPECT_EQ(open(zeros({2, 20, 30, 5}))->shape(), (ImageShape{5, 20, 30}));
  EXPECT_EQ(open(zeros({2, 16, 20, 30}))->shape(), (ImageShape{16, 20, 30}));
  EXPECT_EQ(open(zeros({2, 8, 9, 5}), {.layout = "nhwc"})->shape(), (ImageShape{5, 8, 9}));
  EXPECT_CONTAINS(error(zeros({2, 8, 9, 5})),
                  "in which the second and the last axis could be the channels (1 to 16)");
  EXPECT_CONTAINS(error(zeros({2, 17, 9, 18})), "in which no axis could be the channels (1 to 16)");
  EXPECT_CONTAINS(error(zeros({2, 8, 9, 17}), {.layout = "nhwc"}),
                  "makes 17 channels; 1 to 16 are possible");
  EXPECT_EQ(open(zeros({2, 8, 9, 3}), {.layout = "nchw"})->shape(), (ImageShape{8, 9, 3}));
  EXPECT_CONTAINS(error(zeros({2, 8})), "has the shape [2, 8]; images are [N,H,W]");
  EXPECT_CONTAINS(error(zeros({0, 8, 8})), "holds no image");
}

TEST_F(NumpyImages, RangeIsAskedForOrFound) {
  const auto floats = [](double low, double high) {
    return npy(torch::linspace(low, high, 32, torch::kFloat).view({2, 4, 4}), "<f4");
  };
  const auto first_and_last = [&](const Bytes& bytes, const std::string& range) {
    const torch::Tensor all = all_of(*open(bytes, {.layout = "auto", .range = range})).flatten();
    return std::pair{all[0].item<int>(), all[-1].item<int>()};
  };
  EXPECT_EQ(first_and_last(floats(0, 1), "auto"), (std::pair{0, 255}));
  EXPECT_EQ(first_and_last(floats(0, 1), "-1_1"), (std::pair{128, 255}));
  EXPECT_EQ(first_and_last(floats(0, 1), "0_255"), (std::pair{0, 1}));
  EXPECT_EQ(first_and_last(floats(-1, 1), "0_1"), (std::pair{0, 255}));
  EXPECT_EQ(first_and_last(floats(-3, 3), "-1_1"), (std::pair{0, 255}));
  EXPECT_EQ(first_and_last(floats(-1.001, 0.5), "auto"), (std::pair{0, 191}));
  EXPECT_EQ(first_and_last(floats(0, 200.4), "auto"), (std::pair{0, 200}));
  EXPECT_CONTAINS(error(floats(-3, 3)),
                  "holds values from -3 to 3, which are none of 0..1, -1..1 or 0..255; set "
                  "data.range");
  EXPECT_CONTAINS(error(npy(torch::zeros({2, 4, 4}, torch::kUInt8), "|u1"), {.range = "0_1"}),
                  "holds bytes, 0..255, but data.range is \"0_1\"");
  torch::Tensor bad = torch::zeros({3, 4, 4});
  bad[1][2][3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_CONTAINS(error(npy(bad, "<f4")), "holds NaN or infinity in image 1");
  bad[1][2][3] = -std::numeric_limits<float>::infinity();
  EXPECT_CONTAINS(error(npy(bad, "<f4"), {.range = "0_1"}), "holds NaN or infinity in image 1");
  EXPECT_CONTAINS(error(npy(torch::zeros({2, 4, 4}, torch::kInt), "<i4")),
                  "holds int32 values, 0 to 0; images are uint8 (0..255), uint16 or floats: save it "
                  "with .astype(\"uint8\"), or set data.range to black and white");
}

TEST_F(NumpyImages, AnyRangeAndAnyNumbersAreUnderstood) {
  const torch::Tensor values = torch::tensor({-1000, -1001, 0, 1000, 3000, 4000}).view({1, 2, 3});
  for (const Bytes& bytes :
       {npy(values.to(torch::kShort), "<i2"), npy(values.to(torch::kInt), "<i4"),
        npy(values, "<i8"), npy(values.to(torch::kFloat), "<f4")}) {
    const auto set = open(bytes, {.range = "-1000_3000"});
    const auto expected = torch::tensor({0, 0, 64, 128, 255, 255}, torch::kByte).view({1, 2, 3});
    EXPECT_TRUE(set->get(0).image.equal(expected)) << set->get(0).image;
  }
  EXPECT_EQ(problem_of_array_range("auto"), "");
  EXPECT_EQ(problem_of_array_range("-0.5_1e3"), "");
  for (const char* wrong : {"", "1", "1_0", "1_1", "a_b", "0_1_2", "_", "nan_1", "0_inf", "0_1 "})
    EXPECT_CONTAINS(problem_of_array_range(wrong), "use \"auto\", or \"LOW_HIGH\"");
}

TEST_F(NumpyImages, KeepTheirDepthIfAsked) {
  ImageOptions options;
  const torch::Tensor words =
      torch::tensor({0, 1, 128, 129, 257, 40000, 65535, 65534}, torch::kInt).view({1, 2, 4});
  const Bytes file = npy(words.to(torch::kUInt16), "<u2");
  EXPECT_TRUE(open(file)->get(0).image.equal(
      torch::tensor({0, 0, 0, 1, 1, 156, 255, 255}, torch::kByte).view({1, 2, 4})));
  options.depth = 16;
  const auto kept = open(file, {}, options);
  EXPECT_EQ(kept->pixel_type(), torch::kFloat);
  EXPECT_TRUE(
      kept->get(0).image.allclose(words.to(torch::kDouble).div(257).to(torch::kFloat), 1e-6, 0));
  // Floats: 255 (v - low) / (high - low), cut off at the ends.
  const torch::Tensor floats = torch::tensor({0.0, 0.1234567, 0.5, 1.001}).view({1, 2, 2});
  const torch::Tensor expected = (floats * 255).clamp(0, 255);
  EXPECT_TRUE(open(npy(floats, "<f4"), {}, options)->get(0).image.allclose(expected, 1e-6, 0));
  // Bytes have no more.
  EXPECT_EQ(open(npy(torch::zeros({1, 2, 2}, torch::kUInt8), "|u1"), {}, options)->pixel_type(),
            torch::kByte);
  // Scaling does not round either.
  const auto scaled = open(file, {}, [] {
    ImageOptions smaller;
    smaller.size = ImageSize{1, 2};
    smaller.depth = 16;
    return smaller;
  }());
  const torch::Tensor pixels = scaled->get(0).image;
  EXPECT_EQ(pixels.scalar_type(), torch::kFloat);
  EXPECT_FALSE(pixels.equal(pixels.round()));
}

TEST_F(NumpyImages, DarkWordsAreRemarkedOn) {
  const auto remarks = [&](int64_t high) {
    return open(npy(torch::full({1, 2, 2}, high, torch::kInt).to(torch::kUInt16), "<u2"))
        ->remarks();
  };
  EXPECT_EQ(remarks(4000),
            std::vector<std::string>{"the values end at 4000 of 65535, so the images are dark; set "
                                     "data.range = \"0_4095\" if 4095 is white"});
  EXPECT_TRUE(remarks(40000).empty());
}

TEST_F(NumpyImages, OfManyChannelsKeepThem) {
  const Bytes file =
      npy(torch::arange(7 * 20 * 21).remainder(251).view({1, 7, 20, 21}).to(torch::kByte), "|u1");
  const auto set = open(file);
  EXPECT_EQ(set->shape(), (ImageShape{7, 20, 21}));
  EXPECT_TRUE(set->get(0).image.flatten().equal(
      torch::arange(7 * 20 * 21).remainder(251).to(torch::kByte)));
  EXPECT_CONTAINS(message_of<UsageError>([&] {
                    open(file, {}, {std::nullopt, 3});
                  }),
                  "has 7 channels, which cannot become 3; set data.channels = 7");
  EXPECT_CONTAINS(message_of<UsageError>([&] {
                    open(npy(torch::zeros({1, 8, 8}, torch::kByte), "|u1"), {}, {std::nullopt, 5});
                  }),
                  "has 1 channel, which cannot become 5; set data.channels = 1");
}

TEST_F(NumpyImages, AreScaledAndConverted) {
  const auto set =
      open(npy(torch::full({2, 10, 20, 3}, 9, torch::kUInt8), "|u1"), {}, {ImageSize{5, 5}, 4});
  EXPECT_EQ(set->shape(), (ImageShape{4, 5, 5}));
  EXPECT_EQ(set->uncropped_shape(), (ImageShape{4, 5, 10}));
  EXPECT_EQ(set->get_uncropped(1).image.sizes(), (torch::IntArrayRef{4, 5, 10}));
  EXPECT_EQ(set->get(1).image[3].min().item<int>(), 255);
  EXPECT_EQ(set->source_sizes(), (SizeRange{10, 10, 20, 20}));
}

TEST(NumpyArchive, HoldsImagesAndLabels) {
  const auto set = open_npz(kGolden / "numpy_images.npz", {}, {});
  EXPECT_TRUE(torch::equal(all_of(*set), expected_images()));
  EXPECT_EQ(set->class_names(), (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(set->get(0).label, 2);
  EXPECT_EQ(set->get(1).label, 0);
  EXPECT_EQ(set->get(2).label, 1);
}

TEST(NumpyArchive, ReferenceBatchesOfGuidedDiffusionLoad) {
  const auto set = open_npz(kGolden / "numpy_batch.npz", {}, {});
  EXPECT_TRUE(torch::equal(all_of(*set), expected_images()));
  EXPECT_EQ(set->class_count(), 2);
  EXPECT_EQ(set->get(2).label, 1);
}

TEST(NumpyArchive, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const Bytes images = npy(torch::zeros({2, 8, 8}, torch::kUInt8), "|u1");
  const auto error = [&](const std::map<std::string, Bytes>& files) {
    fixtures::write_zip(folder / "a.npz", files);
    return message_of<IoError>([&] { open_npz(folder / "a.npz", {}, {}); });
  };
  EXPECT_CONTAINS(error({{"a.npy", images}, {"b.npy", images}}),
                  "a.npz: holds no array named images, data or arr_0, but a, b");
  EXPECT_CONTAINS(error({{"readme.txt", fixtures::from_text("text")}}), "but none at all");
  EXPECT_CONTAINS(
      error({{"images.npy", images}, {"y.npy", npy(torch::zeros({3}, torch::kLong), "<i8")}}),
      "a.npz/y.npy: holds 3 labels for 2 images");
  EXPECT_CONTAINS(error({{"images.npy", images}, {"y.npy", npy(torch::zeros({2}), "<f4")}}),
                  "y.npy: holds Float of shape [2]; labels are integers of shape [N]");
  EXPECT_CONTAINS(error({{"images.npy", images},
                         {"label.npy", npy(torch::full({2}, -1, torch::kLong), "<i8")}}),
                  "holds labels from -1 to -1; they must lie in 0..");
  Bytes cut = images;
  cut.pop_back();
  EXPECT_CONTAINS(error({{"data.npy", cut}}), "a.npz/data.npy: is cut short");
  fixtures::write(folder / "text.npz", fixtures::from_text("text"));
  EXPECT_CONTAINS(message_of<IoError>([&] { open_npz(folder / "text.npz", {}, {}); }),
                  "text.npz: is not a readable zip archive");
  EXPECT_CONTAINS(message_of<IoError>([&] { open_npz(folder / "none.npz", {}, {}); }),
                  "none.npz: does not exist; check data.path");
  EXPECT_CONTAINS(message_of<IoError>([&] { open_npy(folder.path(), {}, {}); }), "is a folder");
}

}  // namespace
}  // namespace ddpm::data
