#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/data/vectors.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/checksum.h"
#include "ddpm/pipeline/inputs.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

namespace ddpm::pipeline {
namespace {

using Names = std::vector<std::string>;

Names parts_of(const std::string& text) {
  Names parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

float finite_number(const std::string& text, const std::string& part) {
  const auto value = static_cast<float>(parsed_number(text).value_or(NAN));
  if (std::isfinite(value)) return value;
  throw UsageError(
      fmt::format("--vector: \"{}\" holds no finite number; write 0.3, or age=0.3", part));
}

int64_t column_named(const std::string& name, const Names& names) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return found - names.begin();
  const std::string meant = nearest(name, names);
  throw UsageError(fmt::format("--vector: this network reads no \"{}\"; {}", name,
                               meant.empty() ? fmt::format("it reads {}", name_list(names))
                                             : fmt::format("did you mean {}?", meant)));
}

// Columns that are not named have their mean.
std::vector<float> named_numbers(const Names& parts, const nn::VectorSpec& spec) {
  std::vector<float> row(spec.mean.begin(), spec.mean.end());
  std::vector<bool> set(row.size());
  for (const std::string& part : parts) {
    const size_t equals = part.rfind('=');
    if (equals == std::string::npos)
      throw UsageError(
          fmt::format("--vector: \"{}\" has no name; name each number, as in {}=1, or "
                      "none of them",
                      part, spec.names.front()));
    const auto column = static_cast<size_t>(column_named(part.substr(0, equals), spec.names));
    if (set[column])
      throw UsageError(fmt::format("--vector: {} is given twice", spec.names[column]));
    set[column] = true;
    row[column] = finite_number(part.substr(equals + 1), part);
  }
  return row;
}

torch::Tensor vector_in(const std::string& text, const nn::VectorSpec& spec) {
  const Names parts = parts_of(text);
  std::vector<float> row;
  if (text.find('=') != std::string::npos) {
    row = named_numbers(parts, spec);
  } else {
    for (const std::string& part : parts) row.push_back(finite_number(part, part));
    if (std::ssize(row) != spec.width())
      throw UsageError(fmt::format("--vector: has {}, this network reads {}: {}",
                                   counted(std::ssize(row), "number"), spec.width(),
                                   name_list(spec.names)));
  }
  return torch::tensor(row, torch::kFloat).unsqueeze(0);
}

torch::Tensor vectors_in(const std::string& file, const nn::VectorSpec& spec) {
  const data::VectorTable table = data::read_vector_table(file);
  if (table.lines.empty()) {  // an array has no names
    if (table.rows.size(1) == spec.width()) return table.rows;
    throw IoError(file, fmt::format("holds {} per row, this network reads {}: {}",
                                    counted(table.rows.size(1), "number"), spec.width(),
                                    name_list(spec.names)));
  }
  std::vector<int64_t> order;
  for (const std::string& name : spec.names) {
    const auto found = std::find(table.columns.begin(), table.columns.end(), name);
    if (found == table.columns.end())
      throw IoError(file, fmt::format("has no column {}, which this network reads; it has {}", name,
                                      name_list(table.columns)));
    order.push_back(found - table.columns.begin());
  }
  return table.rows.index_select(1, torch::tensor(order, torch::kLong)).contiguous();
}

SampleVectors described(torch::Tensor rows, std::string source, bool chosen) {
  const auto* bytes = static_cast<const uint8_t*>(rows.const_data_ptr());
  const uint32_t sum = io::crc32c({bytes, rows.nbytes()});
  return {std::move(rows), std::move(source), chosen, sum};
}

}  // namespace

nlohmann::ordered_json SampleVectors::of(int64_t image, const nn::VectorSpec& spec) const {
  nlohmann::ordered_json json;
  const torch::Tensor row = rows[image % rows.size(0)];
  for (int64_t d = 0; d < spec.width(); ++d)
    json[spec.names[static_cast<size_t>(d)]] = row[d].item<float>();
  return json;
}

SampleVectors sample_vectors(const std::string& text, const std::string& file,
                             const nn::UNetConfig& network) {
  const nn::VectorSpec& spec = network.vectors;
  if (!network.vector_conditional) {
    if (text.empty() && file.empty()) return {};
    throw UsageError(fmt::format(
        "--{} is for a network that was trained with model.vector_conditional; this one was not",
        text.empty() ? "vectors" : "vector"));
  }
  if (!text.empty()) return described(vector_in(text, spec), text, true);
  if (!file.empty()) return described(vectors_in(file, spec), file, true);
  torch::Tensor kept = nn::kept_vectors(spec);
  std::string source = fmt::format("the {} training vectors that the network keeps", kept.size(0));
  return described(std::move(kept), std::move(source), false);
}

}  // namespace ddpm::pipeline
