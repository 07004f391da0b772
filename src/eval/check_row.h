#pragma once

#include "ddpm/eval/self_check.h"

#include <string>

namespace ddpm::eval {

/// A number that is allowed in low..high; `advice`: what it means if it is not.
CheckRow judged(const std::string& group, const std::string& name, double expected, double low,
                double high, double found, const std::string& advice);
/// A deviation from 0 of at most `tolerance`.
CheckRow deviation(const std::string& group, const std::string& name, double tolerance,
                   double found, const std::string& advice);
/// A number without a limit.
CheckRow noted(const std::string& group, const std::string& name, double expected, double found,
               const std::string& note = "");
CheckRow left_out(const std::string& group, const std::string& name, const std::string& reason);

/// How far two calls of a network may differ that sum in another order, relative to its output.
double rounding_of(nn::Precision precision);

/// The largest |a - b| over the largest |b|, or over 1 if that is less.
double largest_difference(const torch::Tensor& a, const torch::Tensor& b);
/// The root of the mean square, over all elements.
double rms(const torch::Tensor& x);

}  // namespace ddpm::eval
