#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
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

/// A grid of samples that a training wrote.
struct SampleGrid {
  std::string weights;  ///< "raw", "ema", ...
  std::filesystem::path file;
};

/// The PNGs of RUN/samples by step and name of the weights; empty if there are none. Other files are left out.
std::map<int64_t, std::vector<SampleGrid>> sample_grid_files(const std::filesystem::path& run);

}  // namespace ddpm::report

// Files that the build puts into the program (cmake/Report.cmake).

namespace ddpm::report::assets {

extern const std::string_view kPage;    ///< src/report/page.html
extern const std::string_view kStyle;   ///< src/report/page.css
extern const std::string_view kCharts;  ///< src/report/charts.js
extern const std::string_view kScript;  ///< src/report/page.js
extern const std::string_view kChart;   ///< Chart.js, minified; "" if it was not found

}  // namespace ddpm::report::assets
