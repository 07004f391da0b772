#include "ddpm/eval/metrics.h"

#include "ddpm/base/error.h"
#include "ddpm/data/transform.h"
#include "ddpm/io/image.h"
#include "inception_score.h"
#include "kernel_distance.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

// Below this number of vectors of either side, a warning says that precision and recall mean
// little.
constexpr int64_t kMinVectors = 500;
// An error from fewer groups is itself uncertain by a third or more.
constexpr int64_t kMinGroups = 8;

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
  if (sampling.count >= kMinGroups) return;
  m.warnings.push_back(fmt::format("the errors come from only {} groups{} and are rough",
                                   sampling.count,
                                   sampling.by_class ? ", each with every class," : ""));
}

void warn_of_small_manifolds(Metrics& m, const MetricInputs& in) {
  const Reference& reference = in.reference;
  if (in.manifold && m.manifold_count < kMinVectors) {
    m.warnings.push_back(
        fmt::format("precision, recall, density and coverage of {} images mean little: their balls "
                    "are large; use {} or more",
                    m.manifold_count, kMinVectors));
  }
  if (reference.stride > 1) {
    m.warnings.push_back(
        fmt::format("the {} reference images do not fit into memory: authenticity and neighbours "
                    "are searched among every {}th, {} in all",
                    reference.count, reference.stride, reference.features.size(0)));
  }
}

std::optional<Measured> frechet_of(const MetricInputs& in) {
  return FrechetDistance(in.reference.gaussian).to(in.generated.groups);
}

std::optional<Measured> spatial_frechet_of(const MetricInputs& in) {
  if (!in.reference.spatial || in.generated.spatial_groups.empty()) return std::nullopt;
  return FrechetDistance(*in.reference.spatial).to(in.generated.spatial_groups);
}

std::optional<Measured> kernel_of(const MetricInputs& in) {
  if (!in.has_vectors()) return std::nullopt;
  return kernel_distance(in.reference.features, in.generated.features, in.generated.sampling,
                         {.subsets = in.options.kernel_subsets,
                          .subset_size = in.options.kernel_size,
                          .seed = in.options.seed});
}

std::optional<Measured> inception_score_of(const MetricInputs& in) {
  const FeatureSet& set = in.generated;
  if (!set.features.defined() || !set.logits.defined()) return std::nullopt;
  const std::vector<int64_t> order = set.sampling.order();
  return inception_score(rows(set.logits, order), rows(set.sampling.ids(), order),
                         set.sampling.count, std::min(in.options.score_splits, set.count));
}

template <Measured ManifoldScores::*kPart>
std::optional<Measured> of_manifold(const MetricInputs& in) {
  return in.manifold ? std::optional((*in.manifold).*kPart) : std::nullopt;
}

std::optional<Measured> authenticity_of(const MetricInputs& in) {
  if (!in.has_vectors()) return std::nullopt;
  return authenticity(in.reference.features, in.generated.features, in.generated.sampling.ids(),
                      in.generated.sampling.count);
}

constexpr std::array kMetrics{
    MetricEntry{"frechet", nullptr, &frechet_of},
    MetricEntry{"spatial_frechet", "spatial", &spatial_frechet_of},
    MetricEntry{"kernel", "kernel (MMD^2)", &kernel_of},
    MetricEntry{"score", "class score", &inception_score_of},
    MetricEntry{"precision", "precision", &of_manifold<&ManifoldScores::precision>},
    MetricEntry{"recall", "recall", &of_manifold<&ManifoldScores::recall>},
    MetricEntry{"density", "density", &of_manifold<&ManifoldScores::density>},
    MetricEntry{"coverage", "coverage", &of_manifold<&ManifoldScores::coverage>},
    MetricEntry{"authenticity", "authenticity", &authenticity_of},
};

// `count` real and as many generated vectors; of the larger side, some that represent it.
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

std::string with_error(const Measured& number, int width) {
  if (std::isnan(number.error)) return fmt::format("{:>{}.4g} +- unknown", number.value, width);
  return fmt::format("{:>{}.4g} +- {:.2g}", number.value, width, number.error);
}

}  // namespace

std::span<const MetricEntry> metric_entries() { return kMetrics; }

const std::optional<Measured>& Metrics::operator[](std::string_view key) const {
  const auto found =
      std::find_if(list.begin(), list.end(), [&](const Metric& m) { return m.key == key; });
  TORCH_CHECK(found != list.end(), "there is no metric ", key);
  return found->value;
}

Metrics measure(const FeatureSet& generated, const Reference& reference,
                const MetricOptions& options, std::span<const MetricEntry> entries) {
  expect_same_network(generated, reference);
  TORCH_CHECK(!generated.features.defined() || generated.stride == 1,
              "every generated vector is needed");
  MetricInputs in{generated, reference, options};
  Metrics m;
  if (in.has_vectors()) {
    m.manifold_count = std::min(reference.features.size(0), generated.count);
    if (m.manifold_count > ManifoldOptions().k_density)
      in.manifold = manifold_of(generated, reference.features, m.manifold_count);
  }
  for (const MetricEntry& entry : entries)
    m.list.push_back({entry.key, entry.title == nullptr ? "" : entry.title, entry.measure(in)});
  warn_of_small_sets(m, generated.count, reference.gaussian.count, reference.gaussian.mean.size(0));
  warn_of_rough_errors(m, generated.sampling);
  if (in.has_vectors()) warn_of_small_manifolds(m, in);
  return m;
}

nlohmann::ordered_json to_json(const Metrics& metrics) {
  nlohmann::ordered_json json;
  for (const Metric& metric : metrics.list) {
    json[metric.key] = nullptr;
    if (!metric.value) continue;
    json[metric.key] = metric.value->value;
    json[metric.key + "_error"] = metric.value->error;
  }
  json["manifold_num"] = metrics.manifold_count;
  json["warnings"] = metrics.warnings;
  return json;
}

std::string to_text(const Metrics& metrics, const ExtractorDescription& network) {
  std::string text;
  for (const std::string& warning : network.warnings)
    text += fmt::format("NOT RELIABLE: {}\n", warning);
  for (const Metric& metric : metrics.list) {
    if (!metric.value) continue;
    text += metric.title.empty()
                ? fmt::format("{}: {}\n", network.distance_name, with_error(*metric.value, 0))
                : fmt::format("{:<14} {}\n", metric.title, with_error(*metric.value, 10));
  }
  return text;
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
      cells.push_back(
          data::rounded_levels(dataset.get(found[i][j].item<int64_t>() * reference.stride).image));
  }
  return io::make_grid(torch::stack(cells), k + 1);
}

}  // namespace ddpm::eval
