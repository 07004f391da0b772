#include "ddpm/data/factory.h"

#include "cifar.h"
#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/data/vectors.h"
#include "folder_listing.h"
#include "idx.h"
#include "image_folder.h"
#include "image_lmdb.h"
#include "image_tar.h"
#include "image_zip.h"
#include "numpy_images.h"
#include "procedural.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxSide = 8192;
constexpr int64_t kMinProceduralSide = 8;
constexpr int64_t kMaxMegapixels = 500;  // with 4 channels, decoders still count bytes in 31 bits

ImageOptions options_of(const DataConfig& config) {
  ImageOptions options;
  options.size = config.image_size;
  options.channels = config.channels;
  options.bad_images = config.on_bad_image;
  options.workers = config.workers;
  options.depth = config.depth;
  options.labels = config.labels;
  options.max_pixels = config.max_megapixels * 1'000'000;
  options.has_config = config.has_config;
  return options;
}

ImageOptions options_of(const DataConfig& config, const DataIndex& index) {
  ImageOptions options = options_of(config);
  options.index = index.file;
  options.share = index.share;
  return options;
}

struct Kind {
  std::string_view name;
  std::unique_ptr<Dataset> (*open)(const DataConfig& config, uint64_t seed, const DataIndex& index);
};

constexpr std::array<Kind, 9> kKinds = {{
    {"procedural",
     [](const DataConfig& config, uint64_t seed, const DataIndex&) -> std::unique_ptr<Dataset> {
       const ImageSize size = config.image_size.value_or(ImageSize{32, 32});
       const ImageShape shape{config.channels == 0 ? 3 : config.channels, size.height, size.width};
       if (config.theme == "scenes")
         return std::make_unique<ProceduralScenes>(config.size, shape, seed);
       return std::make_unique<ProceduralShapes>(config.size, shape, seed);
     }},
    {"idx", [](const DataConfig& config, uint64_t,
               const DataIndex&) { return open_idx(config.path, options_of(config)); }},
    {"cifar", [](const DataConfig& config, uint64_t,
                 const DataIndex&) { return open_cifar(config.path, options_of(config)); }},
    {"npy",
     [](const DataConfig& config, uint64_t, const DataIndex&) {
       return open_npy(config.path, {config.layout, config.range}, options_of(config));
     }},
    {"npz",
     [](const DataConfig& config, uint64_t, const DataIndex&) {
       return open_npz(config.path, {config.layout, config.range}, options_of(config));
     }},
    {"folder",
     [](const DataConfig& config, uint64_t, const DataIndex& index) {
       return open_image_folder(config.path, options_of(config, index));
     }},
    {"zip",
     [](const DataConfig& config, uint64_t, const DataIndex& index) {
       return open_image_zip(config.path, options_of(config, index));
     }},
    {"tar",
     [](const DataConfig& config, uint64_t, const DataIndex& index) {
       return open_image_tar(config.path, options_of(config, index));
     }},
    {"lmdb",
     [](const DataConfig& config, uint64_t, const DataIndex& index) {
       return open_image_lmdb(config.path, options_of(config, index));
     }},
}};

// A file's kind by its ending; "" if unknown.
std::string kind_of_ending(const fs::path& path) {
  const std::string ending = lowercase(path.extension().string());
  constexpr std::array<std::array<const char*, 2>, 5> kEndings = {
      {{".zip", "zip"}, {".tar", "tar"}, {".npy", "npy"}, {".npz", "npz"}, {".bin", "cifar"}}};
  for (const auto& [known, kind] : kEndings) {
    if (ending == known) return kind;
  }
  return is_idx_image_name(path) ? "idx" : "";
}

// Throws IoError unless the path can be of the config's kind.
void expect_kind(const DataConfig& config) {
  expect_exists(config.path, config.has_config);
  const auto fail = [&](const std::string& what) {
    throw IoError(
        config.path,
        fmt::format("is {}, but data.kind is \"{}\"; set data.kind = \"auto\"", what, config.kind));
  };
  const bool folder = fs::is_directory(config.path);
  const bool needs_file = config.kind == "zip" || config.kind == "npy" || config.kind == "npz";
  if (folder && needs_file) fail("a folder");
  if (folder) return;
  const std::string found = kind_of_ending(config.path);
  if (config.kind == "folder")
    fail(found.empty() ? "a file" : fmt::format("a file of kind {}", found));
  if (!found.empty() && found != config.kind) fail(fmt::format("a file of kind {}", found));
}

bool is_kind_of_files(const std::string& kind) {
  return kind == "folder" || kind == "zip" || kind == "tar" || kind == "lmdb";
}

void expect_labels(const DataConfig& config, const std::string& kind) {
  if (is_kind_of_files(kind) || config.labels == "auto" || config.labels == "none") return;
  throw UsageError(
      fmt::format("data.labels = \"{}\" goes with a folder, a zip, a tar or an LMDB of images, but "
                  "{} is of kind {}; "
                  "set it to \"auto\" (its own labels) or \"none\"",
                  config.labels, config.path.string(), kind));
}

// Contradictions among valid keys.
void check_together(const config::Reader& reader, const DataConfig& config) {
  if (config.crop == Crop::kRandom && !config.image_size && config.kind != "procedural") {
    reader.fail("crop",
                "is \"random\", but images that keep their size are not cropped; set "
                "data.image_size, or data.crop = \"centre\"");
  }
  if (config.labels.empty())
    reader.fail("labels", "is empty; use auto, folders, prefix, none or the path of a list");
  if (config.kind != "procedural") return;
  if (config.labels != "auto")
    reader.fail("labels", "goes with images in files; procedural images have classes of their own");
  if (config.channels != 0 && config.channels != 1 && config.channels != 3) {
    reader.fail("channels",
                fmt::format("is {}; procedural images have 1 (grey) or 3 (RGB)", config.channels));
  }
  const ImageSize size = config.image_size.value_or(ImageSize{32, 32});
  if (std::min(size.height, size.width) < kMinProceduralSide) {
    reader.fail("image_size", fmt::format("is below {0}; procedural images are at least {0}x{0}",
                                          kMinProceduralSide));
  }
}

// The file of vectors: as named, or in the folder of the images.
fs::path vectors_of(const DataConfig& config) {
  std::error_code error;
  const fs::path inside = config.path / config.vectors;
  return !fs::exists(config.vectors, error) && fs::is_regular_file(inside, error) ? inside
                                                                                  : config.vectors;
}

}  // namespace

std::vector<std::string> kind_names() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

void fields(config::Fields& f, DataConfig& c) {
  std::vector<std::string> kinds = kind_names();
  kinds.insert(kinds.begin(), "auto");
  std::vector<int64_t> sides;
  if (c.image_size) sides = {c.image_size->height, c.image_size->width};
  f("kind", c.kind, kinds);
  f("path", c.path);
  f("image_size", sides, {1, kMaxSide});
  if (sides.size() > 2)
    f.reject("image_size", "has more than two numbers; write one side or [height, width]");
  f("channels", c.channels, {0, kMaxImageChannels});
  f("depth", c.depth, {8, 16});
  if (c.depth != 8 && c.depth != 16)
    f.reject("depth", fmt::format("is {}; use 8, or 16 to keep 16 bits and floats", c.depth));
  f("size", c.size, {1, std::numeric_limits<uint32_t>::max()});
  f("theme", c.theme, {"shapes", "scenes"});
  f("flip", c.flip);
  f("crop", c.crop);
  f("augment", c.augment);
  f("augment_probability", c.augment_probability, {0.0, 1.0});
  f("on_bad_image", c.on_bad_image);
  f("layout", c.layout, array_layouts());
  f("range", c.range);
  if (const std::string problem = problem_of_array_range(c.range); !problem.empty())
    f.reject("range", problem);
  f("holdout", c.holdout, config::at_least(0));
  f("workers", c.workers, {1, 256});
  f("resident", c.resident);
  f("cache_mb", c.cache_mb, config::at_least(0));
  f("labels", c.labels);
  f("max_megapixels", c.max_megapixels, {1, kMaxMegapixels});
  if (!f.omits(c.vectors.empty())) f("vectors", c.vectors);
  if (!sides.empty()) c.image_size = ImageSize{sides.front(), sides.back()};
}

DataConfig read_data_config(config::Reader& reader) {
  const auto config = config::read<DataConfig>(reader);
  check_together(reader, config);
  return config;
}

std::string kind_of_path(const fs::path& path, bool has_config) {
  expect_exists(path, has_config);
  if (fs::is_directory(path)) {
    const std::vector<fs::path> entries = files_in(path);
    const bool idx = std::any_of(entries.begin(), entries.end(), is_idx_image_name);
    if (idx) return "idx";
    if (is_cifar_folder(path)) return "cifar";
    if (is_lmdb_folder(path)) return "lmdb";
    return is_tar_folder(path) ? "tar" : "folder";
  }
  const std::string kind = kind_of_ending(path);
  if (!kind.empty()) return kind;
  throw IoError(
      path,
      "is neither a folder, a .zip, .tar, .npy, .npz or (CIFAR) .bin file, nor an IDX file "
      "(…images-idx3-ubyte[.gz])" +
          std::string(has_config ? "; check data.path, or set data.kind" : ""));
}

std::unique_ptr<Dataset> open_dataset(const DataConfig& config, uint64_t seed,
                                      const DataIndex& index) {
  // Checked here, not when it is read: a misspelt data.path is then reported as an unknown key.
  if (config.kind != "procedural" && config.path.empty()) {
    throw UsageError(
        "data.path names no data; set it to a folder of images, a .zip of them, or an IDX, CIFAR, "
        ".npy or .npz file, or set data.kind = \"procedural\"");
  }
  if (config.kind != "procedural" && config.kind != "auto") expect_kind(config);
  const std::string name =
      config.kind == "auto" ? kind_of_path(config.path, config.has_config) : config.kind;
  expect_labels(config, name);
  const auto kind =
      std::find_if(kKinds.begin(), kKinds.end(), [&](const Kind& k) { return k.name == name; });
  TORCH_CHECK(kind != kKinds.end(), "unknown data kind ", name);
  std::unique_ptr<Dataset> images = kind->open(config, seed, index);
  if (config.vectors.empty()) return images;
  return with_vectors(std::move(images), vectors_of(config));
}

}  // namespace ddpm::data
