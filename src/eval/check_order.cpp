#include "check_order.h"

#include "check_chain.h"
#include "check_row.h"

#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

constexpr const char* kOrders = "orders";
constexpr double kLowest = 0.5;  // the error of order 1 halves: log2(2) = 1

// Every second timestep, with both ends. An odd number of timesteps.
std::vector<int64_t> every_second(const std::vector<int64_t>& times) {
  std::vector<int64_t> half;
  for (size_t i = 0; i < times.size(); i += 2) half.push_back(times[i]);
  return half;
}

}  // namespace

const std::vector<OrderedMethod>& ordered_methods() {
  // A first step of order p has an error h^(p+1), so that a chain has at most order p + 1: those
  // that begin as DDIM reach 2, UniPC, whose corrector makes the first step one of order 2, 3.
  static const std::vector<OrderedMethod> methods{{sample::kDdim, 1}, {"heun", 2},  {"dpmpp_2m", 2},
                                                  {"dpmpp_3m", 2},    {"unipc", 3}, {"ipndm", 2},
                                                  {"deis", 2},        {"pndm", 2}};
  return methods;
}

OrderCheck::OrderCheck(const CheckContext& context) : context_(context) {
  constexpr int64_t kFiner = 10;  // than 2 S
  const int64_t jumps = 2 * context.options.steps;
  fine_ = even_times(context.schedule(), jumps);
  const std::vector<int64_t> reference = even_times(context.schedule(), kFiner * jumps);
  if (std::ssize(fine_) != jumps + 1 || std::ssize(reference) < 3 * jumps) {
    too_few_ = fmt::format(
        "the schedule has too few timesteps for a solution finer than {} steps; "
        "lower --steps",
        jumps);
    return;
  }
  coarse_ = every_second(fine_);
  exact_ = state("unipc", reference);
  ddim_ = rms(state(sample::kDdim, fine_) - exact_);
}

torch::Tensor OrderCheck::state(const std::string& method,
                                const std::vector<int64_t>& times) const {
  sample::SampleConfig config = chain_config(context_, method, 0);
  config.steps = 0;
  config.steps_at = times;
  return chain(context_, context_.subject.network, context_.subject.diffusion, config,
               Result::kStateAtLast);
}

CheckRow OrderCheck::row(const OrderedMethod& method) const {
  const std::string name = fmt::format("order of {}", method.name);
  if (!too_few_.empty()) return left_out(kOrders, name, too_few_);
  const double coarse = rms(state(method.name, coarse_) - exact_);
  const double fine = rms(state(method.name, fine_) - exact_);
  const double order = std::log2(coarse / fine);
  const std::string errors = fmt::format("errors {:.2g} and {:.2g}", coarse, fine);
  if (fine < context_.rounding() / 10 * rms(exact_))
    return noted(kOrders, name, method.order, order, errors + ", near that of rounding");
  constexpr double kBelow = 0.25;  // a coarse error may be small by chance, and then rises
  if (order < kLowest && fine < kBelow * ddim_)
    return noted(kOrders, name, method.order, order, errors + ", far below ddim's: no order");
  CheckRow row = judged(
      kOrders, name, method.order, kLowest, std::numeric_limits<double>::infinity(), order,
      ": twice the steps must bring the chain nearer to the fine solution: take more --steps; if "
      "that does not help, the solver or the network is wrong");
  row.note = errors + row.note;
  return row;
}

}  // namespace ddpm::eval
