#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/statistics.h"

#include <memory>
#include <string>
#include <vector>

namespace ddpm::cli {

/// What a look at a data set has found.
struct DataScan {
  std::string kind;
  std::unique_ptr<data::Dataset> dataset;
  data::Statistics statistics;
  std::vector<std::string> bad;  ///< "file: reason"
  std::string picture;           ///< its path, or "" where none was drawn
};

/// Prints them to stdout, for people.
void print_report(const DataScan& scan);

/// Prints them to stdout as one line of JSON.
void print_json(const DataScan& scan);

}  // namespace ddpm::cli
