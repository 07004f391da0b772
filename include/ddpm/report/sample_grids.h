#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace ddpm::report {

/// A grid of samples that a training wrote.
struct SampleGrid {
  std::string weights;  ///< "raw", "ema", ...
  std::filesystem::path file;
};

/// The PNGs of RUN/samples by step and name of the weights; empty if there are none. Other files are left out.
std::map<int64_t, std::vector<SampleGrid>> sample_grid_files(const std::filesystem::path& run);

}  // namespace ddpm::report
