#pragma once

#include <filesystem>
#include <string>
#include <vector>

// A run as one HTML page, which needs no network and no server (docs/training.md, "The report").

namespace ddpm::report {

/// Whether the program was built with Chart.js, which draws the page's charts.
bool has_charts();

struct Page {
  std::string html;
  std::vector<std::string> warnings;  ///< what could not be read and is left out, for people
};

/// The page of these runs. Reads config.toml, metrics.jsonl, quality.jsonl, log.txt, samples/,
/// generated/sweep-*/ and the newest checkpoint's description, as far as they exist. Every text of a
/// user is data in it, never HTML or script. Throws IoError if a folder does not exist or is no run,
/// Error if has_charts() is false.
Page page_of(const std::vector<std::filesystem::path>& runs);

/// Writes that page to `file`, atomically. Returns the warnings. Throws also if it cannot be written,
/// or if the file exists and is no report.
std::vector<std::string> write_report(const std::vector<std::filesystem::path>& runs,
                                      const std::filesystem::path& file);

}  // namespace ddpm::report
