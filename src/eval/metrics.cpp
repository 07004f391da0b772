#include "ddpm/eval/metrics.h"

#include "ddpm/base/error.h"
#include "ddpm/io/image_grid.h"
#include "inception_score.h"
#include "kernel_distance.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

constexpr int64_t kFewVectors = 500;  // of either side of precision and recall
constexpr int64_t kFewGroups = 8;     // an error from fewer is itself uncertain by a third or more

torch::Tensor rows(const torch::Tensor& x, const std::vector<int64_t>& indices) {
  return x.index_select(0, torch::tensor(indices, torch::kLong));
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

void warn_of_rough_errors(Metrics& m, const SampleGroups& sampling) {
  if (sampling.count >= kFewGroups) return;
  m.warnings.push_back(fmt::format("the errors come from only {} groups{} and are rough",
                                   sampling.count,
                                   sampling.by_class ? ", each with every class," : ""));
}

void warn_of_small_manifolds(Metrics& m, const Reference& reference) {
  if (m.manifold && m.manifold_count < kFewVectors) {
    m.warnings.push_back(
        fmt::format("precision, recall, density and coverage of {} images say little: their balls "
                    "are large; use {} or more",
                    m.manifold_count, kFewVectors));
  }
  if (reference.stride > 1) {
    m.warnings.push_back(
        fmt::format("the {} reference images do not fit into memory: authenticity and neighbours "
                    "are searched among every {}th, {} in all",
                    reference.count, reference.stride, reference.features.size(0)));
  }
}

Measured score_of(const FeatureSet& generated, const MetricOptions& options) {
  const std::vector<int64_t> order = generated.sampling.order();
  return inception_score(rows(generated.logits, order), rows(generated.sampling.ids(), order),
                         generated.sampling.count, std::min(options.score_splits, generated.count));
}

// As many real as generated vectors; of the more numerous side, some that represent it.
ManifoldScores manifold_of(const FeatureSet& generated, const torch::Tensor& real, int64_t count) {
  std::vector<int64_t> some = generated.sampling.order();
  some.resize(count);
  return manifold_scores(rows(real, representative_indices(real.size(0), count)),
                         rows(generated.features, some), rows(generated.sampling.ids(), some),
                         generated.sampling.count);
}

void expect_same_network(const FeatureSet& generated, const Reference& reference) {
  const int64_t known = reference.gaussian.mean.size(0);
  const int64_t found = generated.groups.front().dimension();
  if (known == found) return;
  throw UsageError(fmt::format(
      "the reference has {} features per image, this network gives {}: statistics can only be "
      "compared by the network that made them",
      known, found));
}

}  // namespace

Metrics measure(const FeatureSet& generated, const Reference& reference,
                const MetricOptions& options) {
  expect_same_network(generated, reference);
  Metrics m;
  m.frechet = FrechetDistance(reference.gaussian).to(generated.groups);
  if (reference.spatial && !generated.spatial_groups.empty())
    m.spatial = FrechetDistance(*reference.spatial).to(generated.spatial_groups);
  warn_of_small_sets(m, generated.count, reference.gaussian.count, reference.gaussian.mean.size(0));
  warn_of_rough_errors(m, generated.sampling);
  if (!generated.features.defined()) return m;
  TORCH_CHECK(generated.stride == 1, "every generated vector is needed");
  if (generated.logits.defined()) m.score = score_of(generated, options);
  if (!reference.features.defined()) return m;

  const torch::Tensor& real = reference.features;
  m.kernel = kernel_distance(real, generated.features, generated.sampling,
                             {.subsets = options.kernel_subsets,
                              .subset_size = options.kernel_size,
                              .seed = options.seed});
  m.manifold_count = std::min(real.size(0), generated.count);
  if (m.manifold_count > ManifoldOptions().k_density)
    m.manifold = manifold_of(generated, real, m.manifold_count);
  m.authenticity =
      authenticity(real, generated.features, generated.sampling.ids(), generated.sampling.count);
  warn_of_small_manifolds(m, reference);
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
