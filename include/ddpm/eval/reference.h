#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/dist/world.h"
#include "ddpm/eval/features.h"
#include "ddpm/eval/moments.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <torch/types.h>

namespace ddpm::eval {

/// Most memory, and room in the cache, for reference vectors: 524,288 images with the 2,048
/// features of Inception, 8 million with a classifier's 128. Of more images every second, third,
/// ... is kept.
inline constexpr int64_t kMostFeatureBytes = int64_t{4} << 30;

/// What samples are compared with.
struct Reference {
  std::string description;  ///< what it was measured on, for the protocol
  Gaussian gaussian;
  std::optional<Gaussian> spatial;
  int64_t count = 0;       ///< images; 0 if only statistics are known
  torch::Tensor features;  ///< float32 [kept,D], likewise undefined
  int64_t stride = 1;      ///< features[r] are of image r * stride
  bool cached = false;     ///< read, not measured
};

/// $DDPM_EVAL_CACHE, or ddpm/eval in $XDG_CACHE_HOME or in ~/.cache.
std::filesystem::path default_cache();

/// Features of all images of a data set, from `cache` if the same images were measured by the same
/// network before, else measured and left there; a damaged file is made anew. `digest`:
/// digest_of_images(dataset). With several ranks, rank 0 alone has the result. Throws IoError.
Reference measure_reference(const data::Dataset& dataset, const std::string& digest,
                            const FeatureExtractor& extractor, const std::filesystem::path& cache,
                            const torch::Device& device,
                            const dist::World& world = dist::single_process());

/// What a .npz holds of statistics (mu, sigma) and of images.
enum class NpzContent { kNoStatistics, kStatistics, kStatisticsAndImages };
NpzContent npz_content(const std::filesystem::path& path);

/// Reads mu [D] and sigma [D,D] (EDM's and pytorch-fid's files; ADM's, which also have mu_s and
/// sigma_s for sFID). Which network made them the file does not say. Throws IoError.
Reference read_statistics(const std::filesystem::path& path);

/// ADM's reference files have the statistics of a whole data set beside some of its images:
/// distances of mean and covariance come from the former, all else from the latter.
Reference with_statistics(Reference images, const Reference& statistics);

}  // namespace ddpm::eval
