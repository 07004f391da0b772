#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/dist/world.h"
#include "ddpm/eval/features.h"
#include "ddpm/eval/frechet.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <torch/types.h>

namespace ddpm::eval {

/// The maximum memory, and space in the cache, for reference vectors: 524,288 images with the 2,048
/// features of Inception, 8 million with a classifier's 128. Of more images, every second, third,
/// ... is kept.
inline constexpr int64_t kMaxFeatureBytes = int64_t{4} << 30;

/// The statistics that samples are compared with.
struct Reference {
  std::string description;  ///< the measured data, for the protocol
  Gaussian gaussian;
  std::optional<Gaussian> spatial;
  int64_t count = 0;       ///< images; 0 if only statistics are known
  torch::Tensor features;  ///< float32 [kept,D]; undefined if only statistics are known
  int64_t stride = 1;      ///< features[r] are of image r * stride
  bool cached = false;     ///< read from the cache
};

/// $DDPM_EVAL_CACHE, or ddpm/eval in $XDG_CACHE_HOME or in ~/.cache.
std::filesystem::path default_cache();

/// Features of all images of a data set: read from `cache` if this network measured these images
/// before, else measured and saved there. A damaged file is rebuilt. `digest`:
/// digest_of_images(dataset). With several ranks, only rank 0 has the result. Throws IoError.
Reference measure_reference(const data::Dataset& dataset, const std::string& digest,
                            const FeatureExtractor& extractor, const std::filesystem::path& cache,
                            const torch::Device& device,
                            const dist::World& world = dist::single_process());

/// Whether a .npz holds statistics (mu, sigma) and images.
enum class NpzContent { kNoStatistics, kStatistics, kStatisticsAndImages };
NpzContent npz_content(const std::filesystem::path& path);

/// Reads mu [D] and sigma [D,D] (EDM's and pytorch-fid's files; ADM's, which also have mu_s and
/// sigma_s for sFID). The file does not tell which network made them. Throws IoError.
Reference read_statistics(const std::filesystem::path& path);

/// ADM's reference files hold the statistics of a full data set and some of its images. Frechet
/// distances then use the statistics, all other metrics the images.
Reference with_statistics(Reference images, const Reference& statistics);

}  // namespace ddpm::eval
