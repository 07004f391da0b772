#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/statistics.h"

#include <memory>
#include <string>
#include <vector>

namespace ddpm::cli {

/// What a look at a data set has found.
struct DataFindings {
  std::string kind;
  std::unique_ptr<data::Dataset> dataset;
  data::Statistics statistics;
  std::vector<std::string> bad;  ///< "file: reason"
  std::string picture;           ///< its path, or "" where none was drawn
};

/// Prints them to stdout, for people.
void print_report(const DataFindings& findings);

/// Prints them to stdout as one line of JSON.
void print_json(const DataFindings& findings);

}  // namespace ddpm::cli
