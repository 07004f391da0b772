#include "ddpm/cli/app.h"
#include "ddpm/data/scan.h"
#include "ddpm/io/json_text.h"
#include "ddpm/io/png.h"
#include "ddpm/train/experiment.h"
#include "flags.h"
#include "output_path.h"
#include "shared_flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::cli {
namespace {

struct DataOptions : ConfigFlags {
  std::string out = "data.png";
  int64_t num = 64;
  int64_t max = 0;
  bool json = false;
};

int run_data(const DataOptions& options) {
  config::Document document = load_config(options);
  const train::Experiment experiment = train::read_experiment(document);
  if (options.num > 0) {
    expect_beside_input("--out", options.out, "the images", experiment.data.path);
    expect_own_picture("--out", options.out);
  }
  const data::DataScan found = data::scan(experiment.data, experiment.run.seed, options.max);
  const torch::Tensor picture = data::picture_of(*found.dataset, options.num);
  if (picture.defined()) io::write_marked_png(options.out, picture, "ddpm data");
  const std::string file = picture.defined() ? options.out : "";
  fmt::print("{}", options.json ? io::json_text(data::to_json(found, file)) + "\n"
                                : data::to_text(found, file));
  if (found.bad.empty() || experiment.data.on_bad_image == data::BadImages::kSkip) return kOk;
  const bool one = found.bad.size() == 1;
  throw Error(fmt::format(
      "{} cannot be read (listed above); repair or remove {}, or set "
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
  command->add_option("--num", o->num, "images in that file, spread evenly; 0: no file")
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
