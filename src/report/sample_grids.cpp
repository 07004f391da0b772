#include "sample_grids.h"

#include "base64.h"
#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/png.h"
#include "ddpm/report/report.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

namespace ddpm::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

using GridsByStep = std::map<int64_t, std::vector<SampleGrid>>;

// "step-000000800-ema" of a PNG; none if it is another name.
void add_(GridsByStep& grids, const fs::path& file) {
  const std::string stem = file.stem().string();
  constexpr size_t kNumber = 5, kDigits = 9;
  const size_t dash = stem.find('-', kNumber);
  if (file.extension() != ".png" || !stem.starts_with("step-") || dash == std::string::npos ||
      dash < kNumber + kDigits || dash > kNumber + 18 ||
      stem.find_first_not_of("0123456789", kNumber) != dash || !io::begins_like_png(file))
    return;
  grids[std::stoll(stem.substr(kNumber, dash - kNumber))].push_back({stem.substr(dash + 1), file});
}

// Every so-and-so-manieth step, counted from the last.
GridsByStep thinned(const GridsByStep& grids, size_t most) {
  const size_t every = (grids.size() + most - 1) / std::max<size_t>(most, 1);
  GridsByStep kept;
  size_t from_last = grids.size();
  for (const auto& item : grids)
    if (--from_last % std::max<size_t>(every, 1) == 0) kept.insert(item);
  return kept;
}

uint64_t bytes_of_grids(const GridsByStep& grids) {
  uint64_t sum = 0;
  std::error_code ignored;
  for (const auto& [step, pictures] : grids)
    for (const SampleGrid& grid : pictures) sum += fs::file_size(grid.file, ignored);
  return sum;
}

// "raw" first, then "ema", "ema-2", ...
bool comes_first(const SampleGrid& a, const SampleGrid& b) {
  const bool a_raw = a.weights == "raw", b_raw = b.weights == "raw";
  return a_raw != b_raw ? a_raw : a.weights < b.weights;
}

}  // namespace

GridsByStep sample_grid_files(const fs::path& run) {
  GridsByStep grids;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run / "samples", none)) add_(grids, entry.path());
  for (auto& [step, list] : grids)  // a folder's own order changes
    std::sort(list.begin(), list.end(),
              [](const SampleGrid& a, const SampleGrid& b) { return a.weights < b.weights; });
  return grids;
}

Json sample_grids(const fs::path& run, size_t max_steps, uint64_t max_bytes,
                  std::vector<std::string>& warnings) {
  const GridsByStep all = sample_grid_files(run);
  GridsByStep kept = thinned(all, max_steps);
  while (kept.size() > 1 && bytes_of_grids(kept) > max_bytes) kept = thinned(all, kept.size() / 2);
  if (kept.size() < all.size())
    warnings.push_back(fmt::format("{}: {} of {} steps with sample grids are shown",
                                   (run / "samples").string(), kept.size(), all.size()));
  Json result = Json::array();
  for (auto& [step, grids] : kept) {
    std::sort(grids.begin(), grids.end(), comes_first);
    Json pictures = Json::array();
    for (const SampleGrid& grid : grids) {
      try {
        pictures.push_back({{"weights", grid.weights},
                            {"src", "data:image/png;base64," + base64(io::read_file(grid.file))}});
      } catch (const IoError& error) {
        warnings.emplace_back(error.what());
      }
    }
    result.push_back({{"step", step}, {"pictures", std::move(pictures)}});
  }
  return result;
}

}  // namespace ddpm::report
