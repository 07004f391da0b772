#pragma once

#include "ddpm/eval/evaluator.h"
#include "ddpm/eval/images.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

namespace ddpm::eval {

/// A row of a sweep's table: a way to sample, except for the number of steps.
struct SweepRow {
  std::string key;    ///< of file names: "eta-0.2", "dpmpp_2m-guidance-2"
  std::string label;  ///< for people: "eta 0.2", "dpmpp_2m, guidance 2"
};

/// One cell of a table like the DDIM paper's (Song 2021, Table 1).
struct SweepCell {
  int64_t steps = 0;
  SweepRow row;

  std::string name() const;  ///< "steps-0050-eta-0.2"
};

/// Keys of the metrics that a sweep records besides the Frechet distance.
inline constexpr std::array kSweepMetrics{"kernel", "precision", "recall"};

struct SweepResult {
  double frechet = 0.0, frechet_error = 0.0;
  std::array<std::optional<double>, kSweepMetrics.size()> others;  ///< of kSweepMetrics, in order
  double seconds_per_image = 0.0;                                  ///< of sampling, on this machine
};

/// The results of a sweep on disk: per cell a JSON file and a strip of images. Files are written
/// atomically, so a sweep that was stopped resumes with the first missing cell.
class SweepFolder {
 public:
  /// Makes the folder. `protocol`: all that decides a cell's numbers besides the cell. Throws
  /// IoError, also if the folder holds results of another protocol (claim_result_folder).
  SweepFolder(std::filesystem::path folder, const std::string& protocol);

  const std::filesystem::path& path() const { return folder_; }
  /// Empty if the cell is missing or damaged.
  std::optional<SweepResult> find(const SweepCell& cell) const;
  /// strip: uint8 [n,C,H,W], the cell's first images.
  void write(const SweepCell& cell, const SweepResult& result, const torch::Tensor& strip) const;
  /// uint8 [C,H,W], the images of the strip in a row.
  torch::Tensor strip(const SweepCell& cell) const;

 private:
  std::filesystem::path folder_;
  std::string protocol_digest_;
};

/// Rows: samplers; columns: steps. The results are in row-major order.
struct SweepTable {
  std::vector<int64_t> steps;
  std::vector<SweepRow> rows;
  std::vector<SweepResult> results;

  /// The cells in the order of the results.
  std::vector<SweepCell> cells() const;
  const SweepResult& at(size_t row, size_t column) const {
    return results.at(row * steps.size() + column);
  }
};

/// The columns of Song 2021, Table 1, up to T; T itself if it is below the last.
std::vector<int64_t> default_sweep_steps(int64_t timesteps);

/// Samples and measures every cell that the folder lacks, and adds the results to the table, which
/// has none yet. `samples_of` opens a cell's samples. Collective; the results are rank 0's.
void run_sweep(SweepTable& table, const SweepFolder& folder, const Evaluator& evaluator,
               const std::function<Samples(const SweepCell&)>& samples_of, uint64_t seed,
               const dist::World& world = dist::single_process());

/// Writes the table and its pictures into the folder: sweep.txt, sweep.csv, sweep.png, curves.png.
void write_sweep(const SweepTable& table, const SweepFolder& folder, const Evaluator& evaluator,
                 int64_t images_per_cell);

std::string to_text(const SweepTable& table, const std::string& distance_name);
std::string to_csv(const SweepTable& table);
/// An array with one object per cell.
nlohmann::ordered_json to_json(const SweepTable& table);
/// The strips as a table, each with its distance: uint8 [3,H,W].
torch::Tensor draw_sweep(const SweepTable& table, const SweepFolder& folder,
                         const std::string& title);
/// The distance against the number of steps, one line per row: uint8 [3,H,W].
torch::Tensor draw_sweep_curves(const SweepTable& table, const std::string& title);

}  // namespace ddpm::eval
