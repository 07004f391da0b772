#pragma once

#include "ddpm/train/dry_run.h"
#include "ddpm/train/suggest.h"

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

// Settings for a user's pictures, without a config: ddpm init, and ddpm train PICTURES.

namespace ddpm::cli {

/// What the settings are chosen for.
struct ChoiceFlags {
  std::string pictures;
  std::optional<double> minutes;  ///< none: 60
  std::optional<int64_t> size;
  std::string device;  ///< "": auto
};
/// --minutes and --size.
void add_choice_flags(CLI::App& command, ChoiceFlags& flags);

/// The chosen settings and what they were chosen from.
struct Choice {
  train::Facts facts;
  int64_t classes = 0;
  std::string device;  ///< "bf16 on the CPU, 2 threads"
  train::Suggestion suggestion;
  train::DryRunReport measured;
  std::string text;  ///< the config, with comments
};

/// Looks at the files' headers and at a few pictures, measures training steps, and chooses.
/// `command` is the comment's first line. `overrides` (--set) hold while measuring. Takes less than
/// about 20 s beside reading the headers. Writes nothing. Throws what training would throw.
Choice choose_settings(const ChoiceFlags& flags, const std::string& command,
                       const std::vector<std::string>& overrides = {});

/// The choice in rows of a name and a text. Warnings have the name "warning".
std::vector<std::pair<std::string, std::string>> rows_of(const Choice& choice);
nlohmann::ordered_json to_json(const Choice& choice);

/// A name for files from the pictures' path: "my pics.zip" is "my-pics".
std::string name_of_pictures(const std::filesystem::path& pictures);

}  // namespace ddpm::cli
