#include "ddpm/data/factory.h"

#include "ddpm/base/error.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

using fixtures::message_of;

DataConfig read(const std::string& toml) {
  config::Document document = config::Document::parse(toml, "test.toml");
  config::Reader reader = document.section("data");
  const DataConfig config = read_data_config(reader);
  document.check_all_read();
  return config;
}

fixtures::Bytes idx_images() { return {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 5, 6}; }

TEST(DataConfig, HasDefaults) {
  const DataConfig config = read("[data]\npath = \"images\"");
  EXPECT_EQ(config.kind, "auto");
  EXPECT_EQ(config.path, "images");
  EXPECT_FALSE(config.image_size.has_value());
  EXPECT_EQ(config.channels, 0);
  EXPECT_FALSE(config.flip);
  EXPECT_EQ(config.workers, 2);
  EXPECT_EQ(config.cache_mb, 4096);
  EXPECT_EQ(config.size, 50000);
  EXPECT_EQ(config.crop, Crop::kCentre);
  EXPECT_EQ(config.on_bad_image, BadImages::kError);
  EXPECT_EQ(config.layout, "auto");
  EXPECT_EQ(config.range, "auto");
  EXPECT_EQ(config.labels, "auto");
  EXPECT_EQ(config.max_megapixels, 128);
}

TEST(DataConfig, ReadsEveryKey) {
  const DataConfig config = read(
      "[data]\nkind = \"procedural\"\nimage_size = [16, 24]\nchannels = 1\nflip = true\nworkers = "
      "5\ncache_mb = 0\n"
      "size = 12");
  EXPECT_EQ(config.kind, "procedural");
  EXPECT_EQ(config.image_size, (ImageSize{16, 24}));
  EXPECT_EQ(config.channels, 1);
  EXPECT_TRUE(config.flip);
  EXPECT_EQ(config.workers, 5);
  EXPECT_EQ(config.cache_mb, 0);
  EXPECT_EQ(config.size, 12);
  EXPECT_EQ(read("[data]\npath = \"x\"\nimage_size = 64").image_size, (ImageSize{64, 64}));
  const DataConfig other = read(
      "[data]\npath = \"x\"\nimage_size = 64\nchannels = 4\ncrop = \"random\"\non_bad_image = "
      "\"skip\"\nlayout = \"nchw\"\nrange = \"-1_1\"\nlabels = \"my.csv\"\nmax_megapixels = 300");
  EXPECT_EQ(other.labels, "my.csv");
  EXPECT_EQ(other.max_megapixels, 300);
  EXPECT_EQ(other.channels, 4);
  EXPECT_EQ(other.crop, Crop::kRandom);
  EXPECT_EQ(other.on_bad_image, BadImages::kSkip);
  EXPECT_EQ(other.layout, "nchw");
  EXPECT_EQ(other.range, "-1_1");
}

TEST(DataConfig, PointsAtWhatIsWrong) {
  const auto error = [](const std::string& lines) {
    return message_of<ConfigError>([&] { read("[data]\npath = \"x\"\n" + lines); });
  };
  EXPECT_CONTAINS(error("kind = \"rar\""), "test.toml:3:");
  EXPECT_CONTAINS(error("kind = \"rar\""), "procedural");
  EXPECT_CONTAINS(error("channels = 17"), "data.channels");
  EXPECT_CONTAINS(error("kind = \"procedural\"\nchannels = 2"), "data.channels: is 2; procedural");
  EXPECT_CONTAINS(error("crop = \"random\""), "test.toml:3:8: data.crop: is \"random\", but");
  EXPECT_CONTAINS(error("crop = \"middle\""), "data.crop");
  EXPECT_CONTAINS(error("on_bad_image = \"ignore\""), "data.on_bad_image");
  EXPECT_CONTAINS(error("layout = \"hwc\""), "data.layout");
  EXPECT_CONTAINS(error("range = \"0-1\""), "data.range");
  EXPECT_CONTAINS(error("image_size = 0"), "data.image_size");
  EXPECT_CONTAINS(error("image_size = [1, 2, 3]"), "more than two numbers");
  EXPECT_CONTAINS(error("workers = 0"), "data.workers");
  EXPECT_CONTAINS(error("labels = \"\""), "data.labels: is empty; use auto, folders");
  EXPECT_CONTAINS(error("kind = \"procedural\"\nlabels = \"none\""), "data.labels: goes with");
  EXPECT_CONTAINS(error("max_megapixels = 501"), "data.max_megapixels");
  EXPECT_CONTAINS(error("cache_mb = -1"), "data.cache_mb");
  EXPECT_CONTAINS(error("size = 0"), "data.size");
  EXPECT_CONTAINS(error("flip = 1"), "data.flip");
  EXPECT_CONTAINS(error("kind = \"procedural\"\nimage_size = 4"),
                  "procedural images are at least 8x8");
}

TEST(OpenDataset, ProceduralHasTheAskedShapeAndSeed) {
  DataConfig config =
      read("[data]\nkind = \"procedural\"\nsize = 20\nimage_size = [16, 24]\nchannels = 1");
  const auto set = open_dataset(config, 3);
  EXPECT_EQ(set->size(), 20);
  EXPECT_EQ(set->shape(), (ImageShape{1, 16, 24}));
  EXPECT_FALSE(torch::equal(set->get(0).image, open_dataset(config, 4)->get(0).image));
  EXPECT_EQ(open_dataset(read("[data]\nkind = \"procedural\""), 0)->shape(),
            (ImageShape{3, 32, 32}));
}

// Reading leaves a missing path alone, so that a misspelt key is reported as unknown.
TEST(OpenDataset, ProceduralHasTheAskedTheme) {
  DataConfig config;
  config.kind = "procedural";
  EXPECT_EQ(open_dataset(config, 0)->class_names().front(), "disc");
  config.theme = "scenes";
  EXPECT_EQ(open_dataset(config, 0)->class_names().front(), "planet");
}

TEST(OpenDataset, WithoutAPathSaysWhatToSet) {
  const DataConfig config = read("[data]\nflip = true");
  const std::string message = message_of<UsageError>([&] { open_dataset(config, 0); });
  EXPECT_CONTAINS(message, "data.path names no data; set it to a folder of images");
  EXPECT_CONTAINS(message, "set data.kind = \"procedural\"");
}

TEST(OpenDataset, AutoTellsKindsApart) {
  const TemporaryFolder folder;
  fixtures::write(folder / "images/a.pgm", fixtures::flat_pnm(2, 2, 1, 0));
  fixtures::write(folder / "mnist/train-images-idx3-ubyte.gz", fixtures::gzip(idx_images()));
  fixtures::write_zip(folder / "a.ZIP", {{"a.pgm", fixtures::flat_pnm(2, 2, 1, 0)}});
  fixtures::write(folder / "c10/data_batch_1.bin", fixtures::Bytes(3073, 0));
  fixtures::write(folder / "c100/train.bin", fixtures::Bytes(3074, 0));
  fixtures::write(
      folder / "a.NPY",
      fixtures::from_text("\x93NUMPY\x01" + std::string("\0\x3d\0", 3) +
                          "{'descr':'|u1','fortran_order':False,'shape':(1,2,2)}       " +
                          "\n\1\2\3\4"));
  EXPECT_EQ(kind_of_path(folder / "c10"), "cifar");
  EXPECT_EQ(kind_of_path(folder / "c100"), "cifar");
  EXPECT_EQ(kind_of_path(folder / "c10/data_batch_1.bin"), "cifar");
  EXPECT_EQ(kind_of_path(folder / "a.NPY"), "npy");
  EXPECT_EQ(kind_of_path(folder / "images"), "folder");
  EXPECT_EQ(kind_of_path(folder / "mnist"), "idx");
  EXPECT_EQ(kind_of_path(folder / "mnist/train-images-idx3-ubyte.gz"), "idx");
  EXPECT_EQ(kind_of_path(folder / "a.ZIP"), "zip");
  for (const char* name : {"images", "mnist", "mnist/train-images-idx3-ubyte.gz", "a.ZIP", "c10",
                           "c100", "c10/data_batch_1.bin", "a.NPY"}) {
    DataConfig config;
    config.path = folder / name;
    EXPECT_EQ(open_dataset(config, 0)->size(), 1) << name;
  }
}

TEST(OpenDataset, NamesThePathThatIsNoData) {
  const TemporaryFolder folder;
  const auto opening = [&](const std::string& name) {
    DataConfig config;
    config.path = folder / name;
    return message_of<IoError>([&] { open_dataset(config, 0); });
  };
  EXPECT_CONTAINS(opening("none"), "none: does not exist; check data.path");
  std::filesystem::create_directory(folder / "empty");
  EXPECT_CONTAINS(opening("empty"), "empty: no images");
  fixtures::write(folder / "a.7z", {1});
  EXPECT_CONTAINS(opening("a.7z"), "a.7z: is neither a folder, a .zip, .tar, .npy");
}

TEST(OpenDataset, SaysThatThePathIsOfAnotherKind) {
  const TemporaryFolder folder;
  fixtures::write(folder / "images/a.pgm", fixtures::flat_pnm(2, 2, 1, 0));
  fixtures::write_zip(folder / "a.zip", {{"a.pgm", fixtures::flat_pnm(2, 2, 1, 0)}});
  fixtures::write(folder / "some", {1});
  const auto opening = [&](const std::string& kind, const std::string& name) {
    DataConfig config;
    config.kind = kind;
    config.path = folder / name;
    return message_of<IoError>([&] { open_dataset(config, 0); });
  };
  for (const char* kind : {"zip", "npy", "npz"}) {
    EXPECT_EQ(opening(kind, "images"), (folder / "images").string() +
                                           ": is a folder, but data.kind is \"" + kind +
                                           "\"; set data.kind = \"auto\"");
  }
  EXPECT_CONTAINS(
      opening("folder", "a.zip"),
      "a.zip: is a file of kind zip, but data.kind is \"folder\"; set data.kind = \"auto\"");
  EXPECT_CONTAINS(opening("npy", "a.zip"), "a file of kind zip, but data.kind is \"npy\"");
  EXPECT_CONTAINS(opening("cifar", "a.zip"), "a file of kind zip, but data.kind is \"cifar\"");
  EXPECT_CONTAINS(opening("folder", "some"), "some: is a file, but data.kind is \"folder\"");
  EXPECT_CONTAINS(opening("zip", "some"), "some: is not a readable zip archive");
  for (const char* kind : {"folder", "zip", "npz", "idx", "cifar"})
    EXPECT_CONTAINS(opening(kind, "none"), "none: does not exist; check data.path");
}

TEST(OpenDataset, NamesTheScriptThatFetchesWhatIsMissing) {
  const auto opening = [&](const std::string& path) {
    DataConfig config;
    config.path = path;
    return message_of<IoError>([&] { open_dataset(config, 0); });
  };
  EXPECT_EQ(opening("data/mnist"),
            "data/mnist: does not exist; scripts/fetch_data.sh mnist downloads it");
  EXPECT_CONTAINS(opening("./data/cifar10/train.zip"), "fetch_data.sh cifar10 downloads it");
  EXPECT_CONTAINS(opening("data/images"), "data/images: does not exist; check data.path");
  EXPECT_CONTAINS(opening("my/data/mnist"), "; check data.path");
}

TEST(OpenDataset, LabelsOfAnotherSourceNeedFiles) {
  const TemporaryFolder folder;
  fixtures::write(folder / "train-images-idx3-ubyte", idx_images());
  fixtures::write(folder / "train-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 1, 3});
  DataConfig config;
  config.path = folder.path();
  EXPECT_EQ(open_dataset(config, 0)->class_count(), 4);
  config.labels = "none";
  EXPECT_EQ(open_dataset(config, 0)->class_count(), 0);
  EXPECT_EQ(open_dataset(config, 0)->get(0).label, -1);
  config.labels = "prefix";
  EXPECT_CONTAINS(message_of<UsageError>([&] { open_dataset(config, 0); }),
                  "data.labels = \"prefix\" goes with a folder, a zip, a tar or an LMDB of images");
}

// Without a config there are no keys to set.
TEST(OpenDataset, NamesNoKeysIfThereIsNoConfig) {
  const TemporaryFolder folder;
  DataConfig config;
  config.has_config = false;
  const auto opening = [&](const std::string& name) {
    config.path = folder / name;
    const std::string message = message_of<IoError>([&] { open_dataset(config, 0); });
    EXPECT_EQ(message.find("data."), std::string::npos) << message;
    return message;
  };
  EXPECT_CONTAINS(opening("none"), "none: does not exist");
  fixtures::write(folder / "odd", {1});
  EXPECT_CONTAINS(opening("odd"), "odd: is neither a folder");
  fixtures::write(folder / "set/1.ppm", fixtures::from_text("x"));
  EXPECT_CONTAINS(opening("set"), "1.ppm: is not a PNG");
  fixtures::write(folder / "set/1.ppm", fixtures::flat_pnm(4, 4, 3, 0));
  fixtures::write(folder / "set/2.ppm", fixtures::flat_pnm(4, 5, 3, 0));
  EXPECT_CONTAINS(opening("set"), "2.ppm: is 4x5 (height x width), but 1.ppm is 4x4");
}

}  // namespace
}  // namespace ddpm::data
