#pragma once

#include "ddpm/config/document.h"
#include "ddpm/train/dry_run.h"
#include "ddpm/train/suggest.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

// Settings for a user's pictures, without a config: ddpm init, and ddpm train PICTURES.

namespace ddpm::train {

/// What the settings are chosen for.
struct ChoiceRequest {
  std::string pictures;           ///< a data set's path
  std::optional<double> minutes;  ///< none: 60
  std::optional<int64_t> size;    ///< side of the images in pixels; none: chosen
  std::string device;             ///< "": auto
};

/// The chosen settings and what they were chosen from.
struct Choice {
  Facts facts;
  int64_t classes = 0;
  std::string device;  ///< "bf16 on the CPU, 2 threads"
  Suggestion suggestion;
  DryRunReport measured;
  std::string text;  ///< the config, with comments
};

/// Looks at the files' headers and at a few pictures, measures training steps, and chooses.
/// `command` is the comment's first line. `overrides` (--set) hold while measuring. Takes less than
/// about 20 s beside reading the headers. Writes nothing. Throws what training would throw.
Choice choose_settings(const ChoiceRequest& request, const std::string& command,
                       const std::vector<std::string>& overrides = {});

/// The choice in rows of a name and a text. Warnings have the name "warning".
std::vector<std::pair<std::string, std::string>> rows_of(const Choice& choice);
nlohmann::ordered_json to_json(const Choice& choice);

/// The config of a training on pictures in `run`. An existing run's own config, if it was trained on
/// these pictures; else chosen settings, which are written to init.toml in the run's folder if
/// `writes`. --set is not applied, but holds while measuring. Throws UsageError if the run has other
/// pictures, or if a new run is started as several processes (`single` is false).
config::Document config_for_pictures(const ChoiceRequest& request, const std::filesystem::path& run,
                                     const std::vector<std::string>& overrides, bool single,
                                     bool writes);

/// A name for files from the pictures' path: "my pics.zip" is "my-pics".
std::string name_of_pictures(const std::filesystem::path& pictures);

}  // namespace ddpm::train
