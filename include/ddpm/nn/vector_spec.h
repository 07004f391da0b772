#pragma once

#include "ddpm/config/fields.h"

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

namespace ddpm::nn {

/// The numbers that a network reads of each image (model.vector_conditional): [vectors] of a
/// model.toml.
struct VectorSpec {
  std::vector<std::string> names;  ///< of the D columns
  /// Of each column over the training images; the network reads (v - mean) / deviation. The
  /// deviation of a constant column is 1.
  std::vector<double> mean, deviation;
  /// The vectors of some training images, row after row: what samples have unless others are given.
  std::vector<double> rows;

  int64_t width() const { return static_cast<int64_t>(names.size()); }
  bool operator==(const VectorSpec&) const = default;
};

/// The keys of [vectors]. Rejects counts that do not fit each other.
void fields(config::Fields& f, VectorSpec& s);

/// At most so many rows, and so many numbers in them, are kept.
inline constexpr int64_t kKeptVectors = 1000, kKeptNumbers = 65536;

/// The spec of these training images' vectors, float32 [N,D]. Rows are kept of images spread evenly.
VectorSpec vector_spec(std::vector<std::string> names, const torch::Tensor& vectors);

/// The kept rows, float32 [M,D] on the CPU.
torch::Tensor kept_vectors(const VectorSpec& spec);

/// The vector of each image, if the rows of `table` [M,D] are used in turn: image i has row i mod M.
/// float32 [images,D] on the table's device; undefined if the table is.
torch::Tensor vectors_in_turn(const std::vector<int64_t>& images, const torch::Tensor& table);

/// Without the rows, of which only the number is given.
nlohmann::ordered_json to_json(const VectorSpec& spec);

}  // namespace ddpm::nn
