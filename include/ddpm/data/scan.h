#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/factory.h"
#include "ddpm/data/statistics.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

namespace ddpm::data {

/// The result of reading a data set.
struct DataScan {
  std::string kind;
  std::unique_ptr<Dataset> dataset;
  Statistics statistics;
  std::vector<std::string> bad;  ///< images that cannot be read, "file: reason"
};

/// Opens the data set of a config and reads `max` of its images, spread evenly; 0: all. Images that
/// cannot be read are listed instead of ending the scan. `seed`: of procedural images.
DataScan scan(const DataConfig& config, uint64_t seed, int64_t max);

/// `num` of the readable images, spread evenly, in one picture: uint8 [C,H,W]; undefined if there
/// are none.
torch::Tensor picture_of(const Dataset& dataset, int64_t num);

/// A report for people. `picture`: the path of a picture of the data, or "".
std::string to_text(const DataScan& scan, const std::string& picture);
nlohmann::ordered_json to_json(const DataScan& scan, const std::string& picture);

}  // namespace ddpm::data
