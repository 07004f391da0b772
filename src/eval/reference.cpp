#include "ddpm/eval/reference.h"

#include "cache_file.h"
#include "ddpm/base/error.h"
#include "ddpm/eval/features.h"
#include "ddpm/io/archive.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/npy.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include <fmt/format.h>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kCached{"count", "stride", "mean", "covariance", "features"};

std::optional<Reference> load(const fs::path& path) {
  auto tensors = read_cached(path, kCached);
  if (!tensors) return std::nullopt;
  Reference r;
  r.count = tensors->at("count").item<int64_t>();
  r.gaussian = {r.count, tensors->at("mean"), tensors->at("covariance")};
  if (tensors->contains("spatial_mean"))
    r.spatial = Gaussian{r.count, tensors->at("spatial_mean"), tensors->at("spatial_covariance")};
  r.features = tensors->at("features");
  r.stride = tensors->at("stride").item<int64_t>();
  r.cached = true;
  return r;
}

void save(const Reference& r, const fs::path& path) {
  std::vector<io::NamedTensor> tensors{{"count", torch::full({1}, r.count, torch::kLong)},
                                       {"stride", torch::full({1}, r.stride, torch::kLong)},
                                       {"mean", r.gaussian.mean},
                                       {"covariance", r.gaussian.covariance},
                                       {"features", r.features}};
  if (r.spatial) {
    tensors.push_back({"spatial_mean", r.spatial->mean});
    tensors.push_back({"spatial_covariance", r.spatial->covariance});
  }
  write_cached(path, tensors, {{"description", r.description}});
}

torch::Tensor array(const io::ZipReader& zip, const std::string& name) {
  return io::parse_npy(zip.read(name + ".npy"), zip.path() / (name + ".npy"))
      .to(torch::kDouble)
      .contiguous();
}

bool has(const io::ZipReader& zip, const std::string& name) {
  const auto& names = zip.names();
  return std::find(names.begin(), names.end(), name + ".npy") != names.end();
}

Gaussian read_gaussian(const io::ZipReader& zip, const std::string& mean,
                       const std::string& covariance) {
  const Gaussian g{0, array(zip, mean), array(zip, covariance)};
  const int64_t d = g.mean.numel();
  if (g.mean.dim() != 1 || g.covariance.dim() != 2 || g.covariance.size(0) != d ||
      g.covariance.size(1) != d) {
    throw IoError(
        zip.path(),
        fmt::format("is not a file of statistics: {} must be [D] and {} [D,D]", mean, covariance));
  }
  return g;
}

}  // namespace

fs::path default_cache() {
  const auto variable = [](const char* name) -> fs::path {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const fs::path own = variable("DDPM_EVAL_CACHE"); !own.empty()) return own;
  if (const fs::path xdg = variable("XDG_CACHE_HOME"); !xdg.empty()) return xdg / "ddpm/eval";
  if (const fs::path home = variable("HOME"); !home.empty()) return home / ".cache/ddpm/eval";
  return fs::temp_directory_path() / "ddpm-eval";
}

Reference measure_reference(const data::Dataset& dataset, const std::string& digest,
                            const FeatureExtractor& extractor, const fs::path& cache,
                            const torch::Device& device, const dist::World& world) {
  const ExtractorDescription& network = extractor.description();
  const std::string key =
      io::sha256(fmt::format("reference 2\n{}\n{}\n{}", digest, network.hash, network.resize));
  const fs::path file = cache / ("reference-" + key.substr(0, 32) + ".safetensors");

  Reference r;
  if (world.is_main()) r = load(file).value_or(Reference());
  if (world.from_main({r.cached ? 1 : 0}).front() == 0) {
    std::vector<int64_t> all(dataset.size());
    std::iota(all.begin(), all.end(), int64_t{0});
    const FeatureSet set = collect(images_of(dataset), all, extractor,
                                   {.title = "features of the reference",
                                    .groups = 1,
                                    .keep_bytes = kMaxFeatureBytes,
                                    .keep_logits = false,
                                    .device = device},
                                   world);
    r.count = set.count;
    r.gaussian = merged(set.groups).gaussian();
    if (!set.spatial_groups.empty()) r.spatial = merged(set.spatial_groups).gaussian();
    r.features = set.features;
    r.stride = set.stride;
  }
  r.description = fmt::format("{} (sha256 {})", dataset.description(), digest.substr(0, 12));
  if (!r.cached && world.is_main()) save(r, file);
  return r;
}

NpzContent npz_content(const fs::path& path) {
  if (path.extension() != ".npz" || !fs::is_regular_file(path)) return NpzContent::kNoStatistics;
  const io::ZipReader zip(path);
  if (!has(zip, "mu") || !has(zip, "sigma")) return NpzContent::kNoStatistics;
  const bool images = has(zip, "images") || has(zip, "data") || has(zip, "arr_0");
  return images ? NpzContent::kStatisticsAndImages : NpzContent::kStatistics;
}

Reference read_statistics(const fs::path& path) {
  const io::ZipReader zip(path);
  Reference r;
  r.gaussian = read_gaussian(zip, "mu", "sigma");
  if (has(zip, "mu_s") && has(zip, "sigma_s")) r.spatial = read_gaussian(zip, "mu_s", "sigma_s");
  r.description = fmt::format("statistics {} (sha256 {})", path.filename().string(),
                              io::sha256_of_file(path).substr(0, 12));
  return r;
}

Reference with_statistics(Reference images, const Reference& statistics) {
  images.gaussian = statistics.gaussian;
  images.spatial = statistics.spatial;
  images.description = fmt::format("{} for Frechet distances, {} for all else",
                                   statistics.description, images.description);
  return images;
}

}  // namespace ddpm::eval
