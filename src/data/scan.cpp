#include "ddpm/data/scan.h"

#include "ddpm/base/error.h"
#include "ddpm/data/transform.h"
#include "ddpm/io/image.h"

namespace ddpm::data {

DataScan scan(const DataConfig& asked, uint64_t seed, int64_t max) {
  DataConfig config = asked;
  config.on_bad_image = BadImages::kSkipByHeader;  // continues after the first bad file
  DataScan f;
  f.kind = config.kind == "auto" && !config.path.empty() ? kind_of_path(config.path) : config.kind;
  f.dataset = open_dataset(config, seed);
  const int64_t count = max > 0 ? max : f.dataset->size();
  f.statistics = measure(*f.dataset, spread_indices(f.dataset->size(), count), config.workers);
  f.bad = f.dataset->skipped();
  f.bad.insert(f.bad.end(), f.statistics.bad.begin(), f.statistics.bad.end());
  return f;
}

torch::Tensor picture_of(const Dataset& dataset, int64_t num) {
  std::vector<torch::Tensor> images;
  for (const int64_t index : spread_indices(dataset.size(), num)) {
    try {
      images.push_back(rounded_levels(dataset.get(index).image));
    } catch (const IoError&) {  // listed by scan(), or not among the images that it read
    }
  }
  return images.empty() ? torch::Tensor() : io::enlarged(io::make_grid(torch::stack(images)));
}

}  // namespace ddpm::data
