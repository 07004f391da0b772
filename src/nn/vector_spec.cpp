#include "ddpm/nn/unet.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

namespace ddpm::nn {
namespace {

// The double with the float's shortest digits: 0.1f is written as 0.1, and read as the same float.
double as_written(float value) {
  const std::string text = fmt::format("{}", value);
  double result = 0.0;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

// Mean and deviation (divided by N) of a column, summed in order: the same bits everywhere.
std::pair<double, double> moments(const torch::Tensor& vectors, int64_t column) {
  const auto rows = vectors.accessor<float, 2>();
  const int64_t count = vectors.size(0);
  double sum = 0.0, squares = 0.0;
  bool constant = true;
  for (int64_t i = 0; i < count; ++i) {
    sum += rows[i][column];
    constant = constant && rows[i][column] == rows[0][column];
  }
  if (constant) return {rows[0][column], 1.0};
  const double mean = sum / static_cast<double>(count);
  for (int64_t i = 0; i < count; ++i) squares += std::pow(rows[i][column] - mean, 2);
  return {mean, std::sqrt(squares / static_cast<double>(count))};
}

}  // namespace

void fields(config::Fields& f, VectorSpec& s) {
  constexpr double kMost = std::numeric_limits<double>::max();
  f("names", s.names);
  f("mean", s.mean, {-kMost, kMost});
  f("deviation", s.deviation, config::positive());
  f("rows", s.rows, {-kMost, kMost});
  const size_t width = s.names.size();
  if (s.mean.size() != width || s.deviation.size() != width)
    f.reject("mean", fmt::format("and deviation have {} and {} numbers for {} names", s.mean.size(),
                                 s.deviation.size(), width));
  if (width == 0 ? !s.rows.empty() : s.rows.empty() || s.rows.size() % width != 0)
    f.reject("rows", fmt::format("has {} numbers, which are no rows of {}", s.rows.size(), width));
}

VectorSpec vector_spec(std::vector<std::string> names, const torch::Tensor& vectors) {
  const int64_t count = vectors.size(0), width = vectors.size(1);
  TORCH_CHECK(width == std::ssize(names) && count > 0, "vectors ", vectors.sizes(), " with ",
              names.size(), " names");
  VectorSpec spec{std::move(names), {}, {}, {}};
  for (int64_t d = 0; d < width; ++d) {
    const auto [mean, deviation] = moments(vectors, d);
    spec.mean.push_back(mean);
    spec.deviation.push_back(deviation);
  }
  const int64_t kept = std::min({count, kKeptVectors, std::max<int64_t>(1, kKeptNumbers / width)});
  const auto rows = vectors.accessor<float, 2>();
  for (int64_t i = 0; i < kept; ++i)
    for (int64_t d = 0; d < width; ++d) spec.rows.push_back(as_written(rows[i * count / kept][d]));
  return spec;
}

torch::Tensor kept_vectors(const VectorSpec& spec) {
  return torch::tensor(spec.rows, torch::kDouble).view({-1, spec.width()}).to(torch::kFloat);
}

torch::Tensor vectors_in_turn(const std::vector<int64_t>& images, const torch::Tensor& table) {
  if (!table.defined()) return {};
  const torch::Tensor rows = torch::tensor(images, torch::kLong).remainder(table.size(0));
  return table.index_select(0, rows.to(table.device()));
}

nlohmann::ordered_json to_json(const VectorSpec& spec) {
  return {{"names", spec.names},
          {"mean", spec.mean},
          {"deviation", spec.deviation},
          {"rows", std::ssize(spec.rows) / std::max<int64_t>(1, spec.width())}};
}

}  // namespace ddpm::nn
