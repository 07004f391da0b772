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

/// Most reference vectors that are kept one by one.
inline constexpr int64_t kMostKept = 50000;

/// What samples are compared with.
struct Reference {
  std::string description;  ///< what it was measured on, for the protocol
  Gaussian gaussian;
  std::optional<Gaussian> spatial;
  torch::Tensor features;  ///< float32 [kept,D]; undefined where only statistics are known
  int64_t stride = 1;      ///< features[r] are of image r * stride
  bool cached = false;     ///< read, not measured
};

/// $DDPM_EVAL_CACHE, or ddpm/eval in $XDG_CACHE_HOME or in ~/.cache.
std::filesystem::path default_cache();

/// Features of all images of a data set, from `cache` where the same images were measured by the
/// same network before, else measured and left there. `digest`: digest_of_images(dataset). With
/// several ranks, rank 0 alone has the result. Throws IoError.
Reference measure_reference(const data::Dataset& dataset, const std::string& digest,
                            const FeatureExtractor& extractor, const std::filesystem::path& cache,
                            const torch::Device& device,
                            const dist::World& world = dist::single_process());

/// Is it a .npz of statistics (mu, sigma) and no images?
bool is_statistics_file(const std::filesystem::path& path);

/// Reads mu [D] and sigma [D,D] (EDM's and pytorch-fid's files; ADM's, which also have mu_s and
/// sigma_s for sFID). Which network made them the file does not say. Throws IoError.
Reference read_statistics(const std::filesystem::path& path);

}  // namespace ddpm::eval
