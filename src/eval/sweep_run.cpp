#include "ddpm/base/clock.h"
#include "ddpm/eval/sweep.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::eval {
namespace {

constexpr int64_t kStripImages = 8;

struct SamplingTime {
  double seconds = 0.0;
  int64_t images = 0;
  double per_image() const { return seconds / static_cast<double>(std::max<int64_t>(images, 1)); }
};

// A source of the same images that adds the time until each batch arrives. What the sink does with
// a batch does not count.
ImageSource timed(ImageSource source, SamplingTime& time) {
  return [source = std::move(source), &time](const std::vector<int64_t>& images,
                                             const ImageSink& sink) {
    auto mark = std::chrono::steady_clock::now();
    source(images, [&](int64_t first, const torch::Tensor& batch) {
      time.seconds += seconds_since(mark);
      time.images += batch.size(0);
      sink(first, batch);
      mark = std::chrono::steady_clock::now();
    });
  };
}

// Samples and measures one cell. Collective; the result is rank 0's.
SweepResult measure_cell(Samples samples, const Evaluator& evaluator, const std::string& title,
                         uint64_t seed, const dist::World& world,
                         std::vector<torch::Tensor>& strip) {
  SamplingTime time;  // of this rank
  samples.source = keep_first(timed(samples.source, time), kStripImages, strip);
  const FeatureSet set = evaluator.collect(samples, title);
  SweepResult result;
  if (!world.is_main()) return result;
  const Metrics metrics = evaluator.measure(set, {.seed = seed});
  result.frechet = metrics["frechet"]->value;
  result.frechet_error = metrics["frechet"]->error;
  for (size_t i = 0; i < kSweepMetrics.size(); ++i) {
    if (const auto& metric = metrics[kSweepMetrics[i]]) result.others[i] = metric->value;
  }
  result.seconds_per_image = time.per_image();
  return result;
}

}  // namespace

std::vector<int64_t> default_sweep_steps(int64_t timesteps) {
  std::vector<int64_t> steps;
  for (const int64_t s : {10, 20, 50, 100, 1000})
    if (s < timesteps) steps.push_back(s);
  if (timesteps <= 1000) steps.push_back(timesteps);
  return steps;
}

void run_sweep(SweepTable& table, const SweepFolder& folder, const Evaluator& evaluator,
               const std::function<Samples(const SweepCell&)>& samples_of, uint64_t seed,
               const dist::World& world) {
  const std::vector<SweepCell> cells = table.cells();
  for (size_t i = 0; i < cells.size(); ++i) {
    const SweepCell& cell = cells[i];
    const auto known = folder.find(cell);
    if (world.from_main({known ? 1 : 0}).front() == 1) {
      table.results.push_back(known.value_or(SweepResult{}));
      spdlog::info("{}: already exists", cell.name());
      continue;
    }
    std::vector<torch::Tensor> strip;
    const std::string title = fmt::format("{} of {}, {}", i + 1, cells.size(), cell.name());
    const SweepResult r = measure_cell(samples_of(cell), evaluator, title, seed, world, strip);
    table.results.push_back(r);
    if (!world.is_main()) continue;
    folder.write(cell, r, torch::stack(strip));
    spdlog::info("{}: {:.4g} +- {:.2g}, {:.3g} s per image", cell.name(), r.frechet,
                 r.frechet_error, r.seconds_per_image);
  }
}

void write_sweep(const SweepTable& table, const SweepFolder& folder, const Evaluator& evaluator,
                 int64_t images_per_cell) {
  const std::string title =
      fmt::format("{}, {} images a cell", evaluator.distance_title(), images_per_cell);
  io::write_file_atomic(folder.path() / "sweep.txt",
                        to_text(table, evaluator.network().distance_name));
  io::write_file_atomic(folder.path() / "sweep.csv", to_csv(table));
  io::write_png(folder.path() / "sweep.png", draw_sweep(table, folder, title));
  io::write_png(folder.path() / "curves.png", draw_sweep_curves(table, title));
}

}  // namespace ddpm::eval
