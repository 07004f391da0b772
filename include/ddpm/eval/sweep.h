#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// One way to draw of a table like the DDIM paper's (Song 2021, Table 1).
struct SweepCell {
  int64_t steps = 0;
  std::string eta;  ///< "0", "0.2", ..., or "hat" for sigma-hat

  std::string name() const;  ///< "steps-0050-eta-0.2"
};

struct SweepResult {
  double frechet = 0.0, frechet_error = 0.0;
  std::optional<double> kernel, precision, recall;
  double seconds_per_image = 0.0;  ///< of drawing, on this machine
};

/// The results of a sweep on disk, a JSON file and a strip of pictures a cell, each whole or not
/// there: a sweep that was cut short goes on with the first missing cell.
class SweepFolder {
 public:
  /// Makes the folder. `protocol`: all that decides a cell's numbers besides the cell. Throws
  /// IoError, also if the folder holds results of another (claim_result_folder).
  SweepFolder(std::filesystem::path folder, const std::string& protocol);

  const std::filesystem::path& path() const { return folder_; }
  /// Nothing if the cell is missing or damaged.
  std::optional<SweepResult> find(const SweepCell& cell) const;
  /// strip: uint8 [n,C,H,W], its first images.
  void write(const SweepCell& cell, const SweepResult& result, const torch::Tensor& strip) const;
  /// uint8 [C,H,W], the images of the strip in a row.
  torch::Tensor strip(const SweepCell& cell) const;

 private:
  std::filesystem::path folder_;
  std::string protocol_digest_;
};

/// Rows: eta; columns: steps. Results in the rows' order, eta by eta.
struct SweepTable {
  std::vector<int64_t> steps;
  std::vector<std::string> etas;
  std::vector<SweepResult> results;

  const SweepResult& at(size_t row, size_t column) const {
    return results.at(row * steps.size() + column);
  }
};

std::string to_text(const SweepTable& table, const std::string& distance_name);
std::string to_csv(const SweepTable& table);
/// The strips as a table, each with its number: uint8 [3,H,W].
torch::Tensor draw_sweep(const SweepTable& table, const SweepFolder& folder,
                         const std::string& title);
/// The distance against the number of steps, a line an eta: uint8 [3,H,W].
torch::Tensor draw_sweep_curves(const SweepTable& table, const std::string& title);

}  // namespace ddpm::eval
