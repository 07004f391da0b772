#include "check_row.h"

#include <algorithm>
#include <limits>

#include <torch/types.h>

namespace ddpm::eval {

CheckRow judged(const std::string& group, const std::string& name, double expected, double low,
                double high, double found, const std::string& advice) {
  const bool ok = low <= found && found <= high;  // NaN is not
  return {group,
          name,
          expected,
          low,
          high,
          found,
          ok ? Verdict::kOk : Verdict::kFailed,
          ok ? std::string() : advice};
}

CheckRow deviation(const std::string& group, const std::string& name, double tolerance,
                   double found, const std::string& advice) {
  return judged(group, name, 0.0, 0.0, tolerance, found, advice);
}

CheckRow noted(const std::string& group, const std::string& name, double expected, double found,
               const std::string& note) {
  CheckRow row;
  row.group = group;
  row.name = name;
  row.expected = expected;
  row.found = found;
  row.note = note;
  return row;
}

CheckRow left_out(const std::string& group, const std::string& name, const std::string& reason) {
  CheckRow row = noted(group, name, std::numeric_limits<double>::quiet_NaN(),
                       std::numeric_limits<double>::quiet_NaN(), reason);
  row.verdict = Verdict::kLeftOut;
  return row;
}

double rounding_of(nn::Precision precision) {
  switch (precision) {
    case nn::Precision::kFp64:
      return 1e-9;
    case nn::Precision::kFp32:
      return 1e-4;
    default:
      return 5e-2;  // bfloat16 has 8 bits, TF32 10 or 11
  }
}

double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor x = a.to(torch::kDouble), y = b.to(torch::kDouble);
  return (x - y).abs().max().item<double>() / std::max(1.0, y.abs().max().item<double>());
}

double rms(const torch::Tensor& x) {
  return x.to(torch::kDouble).square().mean().sqrt().item<double>();
}

}  // namespace ddpm::eval
