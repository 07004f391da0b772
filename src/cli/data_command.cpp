#include "data_report.h"
#include "ddpm/cli/app.h"
#include "ddpm/io/image.h"
#include "ddpm/io/image_grid.h"
#include "ddpm/train/experiment.h"
#include "flags.h"
#include "output_path.h"
#include "shared_flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace ddpm::cli {
namespace {

struct DataOptions : ConfigFlags {
  std::string out = "data.png";
  int64_t num = 64;
  int64_t max = 0;
  bool json = false;
};

void draw(DataScan& f, const DataOptions& options) {
  std::vector<torch::Tensor> images;
  for (const int64_t index : data::spread_indices(f.dataset->size(), options.num)) {
    try {
      images.push_back(f.dataset->get(index).image);
    } catch (const IoError&) {  // among f.bad, or beyond --max
    }
  }
  if (images.empty()) return;
  io::write_png(options.out, io::enlarged(io::make_grid(torch::stack(images))));
  f.picture = options.out;
}

DataScan scan(const DataOptions& options, const train::Experiment& experiment) {
  data::DataConfig config = experiment.data;
  // Looks on behind the first bad file.
  config.on_bad_image = data::BadImages::kSkipByHeader;
  DataScan f;
  f.kind =
      config.kind == "auto" && !config.path.empty() ? data::kind_of_path(config.path) : config.kind;
  f.dataset = data::open_dataset(config, experiment.run.seed);
  const int64_t count = options.max > 0 ? options.max : f.dataset->size();
  f.statistics =
      data::measure(*f.dataset, data::spread_indices(f.dataset->size(), count), config.workers);
  f.bad = f.dataset->skipped();
  f.bad.insert(f.bad.end(), f.statistics.bad.begin(), f.statistics.bad.end());
  draw(f, options);
  return f;
}

int run_data(const DataOptions& options) {
  config::Document document = load_config(options);
  const train::Experiment experiment = train::read_experiment(document);
  if (options.num > 0)
    expect_beside_input("--out", options.out, "the images", experiment.data.path);
  const DataScan found = scan(options, experiment);
  options.json ? print_json(found) : print_report(found);
  const bool allowed = experiment.data.on_bad_image == data::BadImages::kSkip;
  if (found.bad.empty() || allowed) return kOk;
  const bool one = found.bad.size() == 1;
  throw Error(fmt::format(
      "{} cannot be read (listed above); mend or remove {}, or set "
      "data.on_bad_image = \"skip\"",
      one ? "1 image" : fmt::format("{} images", found.bad.size()), one ? "it" : "them"));
}

}  // namespace

void add_data(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<DataOptions>();
  CLI::App* command = app.add_subcommand(
      "data", "Show what a data set holds: counts, classes, statistics, bad files, a picture");
  add_config_flags(*command, *o);
  add_picture_flag(*command, o->out);
  command->add_option("--num", o->num, "images in the picture, spread evenly; 0: no picture")
      ->check(whole(0, int64_t{1} << 16))
      ->capture_default_str();
  command->add_option("--max", o->max, "read at most this many images, spread evenly; 0: all")
      ->check(whole(0, int64_t{1} << 53))
      ->capture_default_str();
  add_json_flag(*command, o->json);
  command->footer(
      "Example:\n"
      "  ddpm data --config configs/folder.toml --set data.path=PICTURES");
  command->callback([o, &chosen] { chosen = [o] { return run_data(*o); }; });
}

}  // namespace ddpm::cli
