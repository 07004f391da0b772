#include "check_network.h"

#include "check_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

constexpr const char* kNetwork = "network";
constexpr const char* kGuidance = "guidance";
constexpr double kInfinity = std::numeric_limits<double>::infinity();

int64_t middle(const CheckContext& context) {
  return std::max<int64_t>(1, context.schedule().timesteps() / 2);
}

// The output for these images at one t, float64.
torch::Tensor output_at(const diffusion::Denoiser& network, const torch::Tensor& x, int64_t t) {
  const auto times = torch::full({x.size(0)}, t, torch::dtype(torch::kInt64).device(x.device()));
  return network(x, times).to(torch::kDouble);
}

double relative_rms(const torch::Tensor& a, const torch::Tensor& b) {
  return rms(a - b) / std::max(rms(b), 1e-30);
}

// The first image, and all but the last, alone and in the batch.
double batch_difference(const CheckContext& context, int64_t t) {
  const torch::Tensor& x = context.subject.x_T;
  const torch::Tensor all = output_at(context.subject.network, x, t);
  double most = 0;
  for (const int64_t count : {int64_t{1}, x.size(0) - 1}) {
    const torch::Tensor part = output_at(context.subject.network, x.narrow(0, 0, count), t);
    most = std::max(most, largest_difference(part, all.narrow(0, 0, count)));
  }
  return most;
}

// The smallest difference between the outputs at t = 1, T/2 and T, relative to the largest output.
CheckRow time_row(const CheckContext& context) {
  const char* name = "outputs at t = 1, T/2 and T differ by";
  const int64_t last = context.schedule().timesteps();
  if (last < 4) return left_out(kNetwork, name, fmt::format("T is {}", last));
  std::vector<torch::Tensor> outputs;
  double size = 1e-30;
  for (const int64_t t : {int64_t{1}, middle(context), last}) {
    outputs.push_back(output_at(context.subject.network, context.subject.x_T, t));
    size = std::max(size, rms(outputs.back()));
  }
  const double least = std::min(
      {rms(outputs[0] - outputs[1]), rms(outputs[1] - outputs[2]), rms(outputs[0] - outputs[2])});
  return judged(kNetwork, name, std::numeric_limits<double>::quiet_NaN(), context.rounding(),
                kInfinity, least / size,
                "the network does not read t: its time embedding is missing or was not imported");
}

CheckRow class_row(const CheckContext& context) {
  const char* name = "outputs of two classes differ by";
  if (!context.subject.other_class) return left_out(kNetwork, name, "the network has no classes");
  const torch::Tensor& x = context.subject.x_T;
  const torch::Tensor one = output_at(context.subject.network, x, middle(context));
  const torch::Tensor other = output_at(context.subject.other_class, x, middle(context));
  return judged(kNetwork, name, std::numeric_limits<double>::quiet_NaN(), context.rounding() / 10,
                kInfinity, relative_rms(other, one),
                "the network does not read the class: its class embedding was not trained or not "
                "imported");
}

// What the arithmetic of a precision changes, relative to the output (math.md, "Self-checks").
double precision_limit(nn::Precision precision) {
  switch (precision) {
    case nn::Precision::kFp64:
      return 1e-9;
    case nn::Precision::kFp32:
      return 1e-3;
    case nn::Precision::kTf32:
      return 2e-2;
    default:
      return 1e-1;
  }
}

std::vector<CheckRow> precision_rows(const CheckContext& context) {
  const CheckSubject& subject = context.subject;
  if (!subject.in_float64)
    return {left_out(kNetwork, "this precision against float64", "float64 is not at hand")};
  const torch::Tensor exact = output_at(subject.in_float64, subject.x_T, middle(context));
  const double found =
      relative_rms(output_at(subject.network, subject.x_T, middle(context)), exact);
  std::vector<CheckRow> rows{
      deviation(kNetwork, fmt::format("{} against float64", config::to_string(subject.precision)),
                precision_limit(subject.precision), found,
                "this device computes the network wrongly, or its numbers overflow: compare "
                "--device cpu, and --precision fp32")};
  if (subject.in_bfloat16)
    rows.push_back(
        noted(kNetwork, "bf16 against float64", 0,
              relative_rms(output_at(subject.in_bfloat16, subject.x_T, middle(context)), exact)));
  return rows;
}

CheckRow learned_variance_row(const CheckContext& context) {
  const char* name = "learned variance outside beta_tilde .. beta";
  const torch::Tensor output =
      output_at(context.subject.network, context.subject.x_T, middle(context));
  const torch::Tensor v =
      context.subject.diffusion.estimate(output, context.subject.x_T, middle(context))
          .variance_weight;
  if (!v.defined()) return left_out(kNetwork, name, "the network has no learned variance");
  const double share = torch::logical_or(v<0, v> 1).to(torch::kDouble).mean().item<double>();
  return noted(kNetwork, name, 0, share);
}

}  // namespace

double CheckContext::rounding() const { return rounding_of(subject.precision); }

std::vector<CheckRow> finite_rows(const CheckContext& context) {
  std::vector<CheckRow> rows;
  const int64_t last = context.schedule().timesteps();
  for (const int64_t t : {int64_t{1}, middle(context), last}) {
    const torch::Tensor output = output_at(context.subject.network, context.subject.x_T, t);
    const auto bad = static_cast<double>(output.numel() - output.isfinite().sum().item<int64_t>());
    rows.push_back(deviation(kNetwork, fmt::format("numbers that are not finite at t = {}", t), 0,
                             bad,
                             "the weights hold NaN or infinity, or the numbers overflow: use "
                             "--precision fp32, or an earlier checkpoint"));
    if (t == last) break;  // T = 1, 2: each t once
  }
  return rows;
}

std::vector<CheckRow> network_rows(const CheckContext& context) {
  const CheckSubject& subject = context.subject;
  const torch::Tensor first = output_at(subject.network, subject.x_T, middle(context));
  const torch::Tensor second = output_at(subject.network, subject.x_T, middle(context));
  std::vector<CheckRow> rows{
      deviation(kNetwork, "numbers that differ between two equal calls", 0,
                static_cast<double>(first.ne(second).sum().item<int64_t>()),
                "the network is not deterministic: dropout is active, or the device needs "
                "--deterministic"),
      deviation(kNetwork, "an image alone against the same in a batch", context.rounding(),
                batch_difference(context, middle(context)),
                "the output of one image depends on the others: a batch statistic, or rows are "
                "mixed up"),
      time_row(context), class_row(context)};
  for (const CheckRow& row : precision_rows(context)) rows.push_back(row);
  rows.push_back(learned_variance_row(context));
  return rows;
}

std::vector<CheckRow> guidance_rows(const CheckContext& context) {
  const CheckSubject& subject = context.subject;
  const char *one = "W = 1 against the network with classes",
             *zero = "W = 0 against the network without classes",
             *two = "W = 2 against 2 (with classes) - (without)";
  if (!subject.guided || !subject.null_class)
    return {left_out(kGuidance, "W = 0, 1 and 2",
                     "the network has no null class (train.label_dropout)")};
  const torch::Tensor& x = subject.x_T;
  const int64_t t = middle(context), channels = x.size(1);
  // A learned variance is not guided.
  const auto mean = [&](const diffusion::Denoiser& network) {
    return output_at(network, x, t).narrow(1, 0, channels);
  };
  const torch::Tensor main = mean(subject.network), null = mean(subject.null_class);
  const char* advice = "guidance combines the wrong outputs";
  // The interval makes W = 0 take the way of any other W.
  const diffusion::Guidance nothing{.weight = 0.0, .interval = {0.0, 1e300}};
  return {deviation(kGuidance, one, context.rounding(),
                    largest_difference(mean(subject.guided({.weight = 1.0})), main), advice),
          deviation(kGuidance, zero, context.rounding(),
                    largest_difference(mean(subject.guided(nothing)), null), advice),
          deviation(kGuidance, two, context.rounding(),
                    largest_difference(mean(subject.guided({.weight = 2.0})), 2 * main - null),
                    advice)};
}

}  // namespace ddpm::eval
