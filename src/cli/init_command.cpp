#include "choice_flags.h"
#include "ddpm/base/signals.h"
#include "ddpm/cli/app.h"
#include "ddpm/dist/launch.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "output_path.h"
#include "print_row.h"
#include "processes.h"
#include "shared_flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

struct InitOptions : train::ChoiceRequest {
  std::string out;
  bool json = false;
};

// Another config is never replaced.
void write_config(const fs::path& file, const std::string& text) {
  if (fs::is_directory(file)) throw IoError(file, "is a folder; give a file with --out");
  if (fs::is_regular_file(file)) {
    if (io::read_text(file) == text) return;
    throw IoError(file,
                  "already exists with other content; choose another file with --out, or "
                  "remove it");
  }
  io::write_file_atomic(file, text);
}

int run_init(const InitOptions& o) {
  const EndOnSignal ending("nothing was written");
  const std::string file = o.out.empty() ? train::name_of_pictures(o.pictures) + ".toml" : o.out;
  expect_beside_input("--out", file, "the pictures", o.pictures);
  dist::set_threads(dist::threads_of_rank(0, detected_launch()));
  const std::string next = fmt::format("ddpm train --config {}", file);
  const train::Choice choice = train::choose_settings(o, next);
  write_config(file, choice.text);
  if (o.json) {
    nlohmann::ordered_json json = train::to_json(choice);
    json["config"] = file;
    json["next"] = next;
    fmt::print("{}\n", io::json_text(json));
    return kOk;
  }
  for (const auto& [name, text] : train::rows_of(choice)) print_row(name, text);
  print_row("written", file);
  print_row("next", next);
  return kOk;
}

}  // namespace

void add_init(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<InitOptions>();
  CLI::App* command = app.add_subcommand(
      "init", "Choose the settings for your pictures, and write them as a config with comments");
  command
      ->add_option("pictures", o->pictures,
                   "a folder, zip or tar of images, or another data set of docs/data.md")
      ->required();
  add_choice_flags(*command, *o);
  command
      ->add_option("--out", o->out,
                   "the config to write (default: NAME.toml, from the pictures' name)")
      ->type_name("FILE");
  command->add_option("--device", o->device, "where to train (default: auto)")
      ->type_name("auto|cpu|cuda|cuda:N");
  add_json_flag(*command, o->json);
  command->footer(
      "Example: settings for an hour, then the training\n"
      "  ddpm init PICTURES\n"
      "  ddpm train --config PICTURES.toml");
  command->callback([o, &chosen] { chosen = [o] { return run_init(*o); }; });
}

}  // namespace ddpm::cli
