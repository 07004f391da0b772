#include "ddpm/eval/metrics.h"

#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "ddpm/data/statistics.h"
#include "ddpm/eval/inception_score.h"
#include "ddpm/eval/kernel_distance.h"
#include "ddpm/io/image.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

torch::Tensor rows(const torch::Tensor& x, const std::vector<int64_t>& indices) {
  return x.index_select(0, torch::tensor(indices, torch::kLong));
}

// `count` rows, evenly spread: a data set is often sorted by class.
torch::Tensor spread(const torch::Tensor& x, int64_t count) {
  return x.size(0) == count ? x : rows(x, data::spread_indices(x.size(0), count));
}

void warn_of_small_sets(Metrics& m, int64_t count, int64_t reference_count, int64_t dimension) {
  if (count <= dimension) {
    m.warnings.push_back(fmt::format(
        "{} samples are fewer than the {} features: the Frechet distance is far above that of many "
        "samples; compare it only with others of the same number",
        count, dimension));
  } else if (count < 10000) {
    m.warnings.push_back(fmt::format(
        "the Frechet distance of {} samples lies above that of many; compare it only with others "
        "of the same number (published ones use 50,000)",
        count));
  }
  if (reference_count > 0 && reference_count <= dimension) {
    m.warnings.push_back(fmt::format("the reference has only {} images for {} features",
                                     reference_count, dimension));
  }
}

Measured score_of(const torch::Tensor& logits, const MetricOptions& options) {
  const auto order =
      random_permutation(logits.size(0), rng_key(options.seed, Purpose::kShuffle), 1);
  return inception_score(rows(logits, order), std::min(options.score_splits, logits.size(0)));
}

}  // namespace

Measured authenticity(const torch::Tensor& real, const torch::Tensor& generated) {
  const Neighbours found = nearest(generated, real, 1);
  const torch::Tensor radii = neighbour_radii(real, 1).index_select(0, found.indices.squeeze(1));
  const double share =
      (found.distances.squeeze(1) > radii).to(torch::kDouble).mean().item<double>();
  return {share, std::sqrt(share * (1.0 - share) / static_cast<double>(generated.size(0)))};
}

Metrics measure(const FeatureSet& generated, const Reference& reference,
                const MetricOptions& options) {
  const int64_t known = reference.gaussian.mean.size(0);
  const int64_t found = generated.groups.front().dimension();
  if (known != found) {
    throw UsageError(fmt::format(
        "the reference has {} features an image, this network gives {}: statistics can only be "
        "compared by the network that made them",
        known, found));
  }
  Metrics m;
  m.frechet =
      FrechetDistance(reference.gaussian).to(generated.groups, options.replicates, options.seed);
  if (reference.spatial && !generated.spatial_groups.empty()) {
    m.spatial = FrechetDistance(*reference.spatial)
                    .to(generated.spatial_groups, options.replicates, options.seed);
  }
  warn_of_small_sets(m, generated.count, reference.gaussian.count, reference.gaussian.mean.size(0));
  if (!generated.features.defined()) return m;
  if (generated.logits.defined()) m.score = score_of(generated.logits, options);
  if (!reference.features.defined()) return m;

  const torch::Tensor& real = reference.features;
  m.kernel = kernel_distance(generated.features, real,
                             {.subsets = options.kernel_subsets,
                              .subset_size = options.kernel_size,
                              .seed = options.seed});
  m.manifold_count = std::min(real.size(0), generated.features.size(0));
  if (m.manifold_count > ManifoldOptions().k_density)
    m.manifold = manifold_scores(spread(real, m.manifold_count),
                                 spread(generated.features, m.manifold_count));
  m.authenticity = authenticity(real, generated.features);
  return m;
}

torch::Tensor neighbour_picture(const torch::Tensor& images, const torch::Tensor& features,
                                const Reference& reference, const data::Dataset& dataset,
                                int64_t columns) {
  const int64_t k = std::min(columns, reference.features.size(0));
  const torch::Tensor found = nearest(features, reference.features, k).indices;
  std::vector<torch::Tensor> cells;
  for (int64_t i = 0; i < images.size(0); ++i) {
    cells.push_back(images[i]);
    for (int64_t j = 0; j < k; ++j)
      cells.push_back(dataset.get(found[i][j].item<int64_t>() * reference.stride).image);
  }
  return io::make_grid(torch::stack(cells), k + 1);
}

}  // namespace ddpm::eval
