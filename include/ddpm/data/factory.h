#pragma once

#include "ddpm/config/fields.h"
#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::data {

/// Crop of an image that is larger than requested.
enum class Crop { kCentre, kRandom };
constexpr auto names_of(Crop) { return std::array{"centre", "random"}; }

/// How training changes images besides mirroring and cropping.
enum class Augment {
  kNone,
  kEdm,  ///< "edm": the pipe of Karras 2022, Appendix F.2 (train/augment_pipe.h)
};
constexpr auto names_of(Augment) { return std::array{"none", "edm"}; }

/// Where the decoded images are kept while training: see ResidentLoader.
enum class Resident {
  kAuto,    ///< on the device if that is a GPU and they fit a quarter of its free memory
  kNever,   ///< on the host
  kAlways,  ///< on the device
};
constexpr auto names_of(Resident) { return std::array{"auto", "never", "always"}; }

struct DataConfig {
  std::string kind = "auto";            ///< auto (from the path), or a name of kind_names()
  std::filesystem::path path;           ///< file, folder or archive; not used by procedural
  std::optional<ImageSize> image_size;  ///< pixels; none: as in the files (procedural: 32x32)
  /// 1 to 4, of an array 1 to 16; 0: as in the array, or as in the first file without alpha
  /// (procedural: 3).
  int64_t channels = 0;
  int64_t depth = 8;     ///< bits per channel that are kept: 8, or 16, which also keeps floats
  int64_t size = 50000;  ///< number of procedural images
  std::string theme = "shapes";  ///< of procedural images: shapes or scenes
  bool flip = false;             ///< mirror images left to right with probability 1/2
  Crop crop = Crop::kCentre;     ///< kRandom: another offset for every sample
  Augment augment = Augment::kNone;
  double augment_probability = 0.12;           ///< of each transformation of kEdm
  BadImages on_bad_image = BadImages::kError;  ///< image files that cannot be read
  std::string layout = "auto";                 ///< axes of a NumPy array: auto, nhwc or nchw
  std::string range = "auto";  ///< black and white in a NumPy array: auto, or LOW_HIGH as in 0_1
  int64_t holdout = 0;  ///< images never trained on, for the held-out loss; chosen by run.seed
  int64_t workers = 2;  ///< decoding threads
  Resident resident = Resident::kAuto;
  int64_t cache_mb = 4096;  ///< keep the decoded images in memory up to this size, MiB
  /// Source of the classes of image files: auto, folders, prefix, none, or the path of a list
  /// (src/data/labels.h).
  std::string labels = "auto";
  /// Numbers of each image, for model.vector_conditional: a file (ddpm/data/vectors.h), seen from
  /// here or from `path`; empty: none.
  std::filesystem::path vectors;
  int64_t max_megapixels = io::kMaxPixels / 1'000'000;  ///< largest image that is decoded, 10^6
  bool has_config = true;  ///< whether errors may suggest keys of [data]
};

/// What a run adds to the config; see ImageOptions.
struct DataIndex {
  std::filesystem::path file = {};
  ShareBytes share = {};
};

/// The file in a run's folder with the known properties of the image files.
inline constexpr const char* kIndexName = "data.index";

/// procedural, idx, cifar, npy, npz, folder, zip.
std::vector<std::string> kind_names();

/// The keys of [data].
void fields(config::Fields& f, DataConfig& c);

/// Throws ConfigError also if values contradict each other.
DataConfig read_data_config(config::Reader& reader);

/// Opens the data set of a config; `seed` is that of procedural images. Throws UsageError if no
/// path is given, and IoError if files are missing, damaged or not of one size.
std::unique_ptr<Dataset> open_dataset(const DataConfig& config, uint64_t seed,
                                      const DataIndex& index = {});

/// The kind that "auto" means at `path`. Throws IoError if it is none.
std::string kind_of_path(const std::filesystem::path& path, bool has_config = true);

/// The image files directly in a folder, hidden ones aside, in natural order ("2" before "10").
/// Throws IoError naming the folder if it cannot be listed.
std::vector<std::filesystem::path> image_files_in(const std::filesystem::path& folder);

}  // namespace ddpm::data
