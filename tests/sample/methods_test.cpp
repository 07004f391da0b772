// What holds for every method of the table.

#include "ddpm/sample/methods.h"

#include "ddpm/sample/reverse_process.h"
#include "src/sample/dpm_solver.h"
#include "src/sample/noise_multistep.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

using diffusion::Prediction;
using diffusion::Schedule;

class EveryMethod : public testing::TestWithParam<std::string> {
 protected:
  SampleConfig config(int64_t steps) const {
    SampleConfig c;
    c.method = GetParam();
    c.steps = steps;
    return c;
  }
};

std::string name_of(const testing::TestParamInfo<std::string>& info) { return info.param; }

int64_t calls_of(const Schedule& schedule, const SampleConfig& config) {
  const torch::Tensor x_T = torch::linspace(-1, 1, 16, torch::kDouble).view({1, 1, 4, 4});
  int64_t calls = 0;
  const auto network = [&](const torch::Tensor& x, const torch::Tensor&) {
    ++calls;
    return 0.5 * x;
  };
  ReverseProcess(diffusion::Diffusion(schedule, Prediction::kV), config)
      .run(network, x_T, [&](int64_t k, int64_t) { return x_T.roll(k, 3); });
  return calls;
}

TEST_P(EveryMethod, CallsTheNetworkOncePerStepAskedFor) {
  std::vector<double> betas(50, 0.05);
  const Schedule table({.kind = diffusion::ScheduleKind::kTable, .timesteps = 50, .betas = betas});
  betas.back() = 1;
  const Schedule no_signal(
      {.kind = diffusion::ScheduleKind::kTable, .timesteps = 50, .betas = betas});
  for (const Schedule& schedule : {table, no_signal}) {
    for (const Spacing spacing : {Spacing::kLeading, Spacing::kTrailing}) {
      for (int64_t steps = 0; steps <= 50; ++steps) {
        SampleConfig c = config(steps);
        c.spacing = spacing;
        EXPECT_EQ(calls_of(schedule, c), steps == 0 ? 50 : steps) << config::to_string(spacing);
      }
    }
  }
}

// A learned variance too, which only Algorithm 2 reads.
TEST_P(EveryMethod, StaysFiniteWithoutSignalAtT) {
  std::vector<double> betas(30);
  for (size_t i = 0; i < betas.size(); ++i) betas[i] = 0.01 * static_cast<double>(i + 1);
  betas.back() = 1.0;  // alpha_bar_T = 0
  const Schedule schedule(
      {.kind = diffusion::ScheduleKind::kTable, .timesteps = 30, .betas = betas});
  const torch::Tensor x_T = torch::linspace(-2, 2, 64).view({1, 1, 8, 8});
  const auto exact = gaussian_denoiser(schedule, 0.3, 0.04, Prediction::kV);
  const auto network = [&](const torch::Tensor& x, const torch::Tensor& t) {
    const torch::Tensor v = exact(x, t);
    return torch::cat({v, torch::zeros_like(v)}, 1);
  };
  for (const Spacing spacing : {Spacing::kTrailing, Spacing::kLinspace, Spacing::kQuadratic,
                                Spacing::kLogSnr, Spacing::kKarras, Spacing::kPower}) {
    for (int64_t steps = 1; steps <= 30; ++steps) {
      SampleConfig c = config(steps);
      c.spacing = spacing;
      const auto image =
          *ReverseProcess(diffusion::Diffusion(schedule, Prediction::kV), c)
               .run(network, x_T, [&](int64_t k, int64_t) { return x_T.roll(k + 1, 3); });
      // The data's mean is 0.3, its deviation 0.2. Adams' weights are for equal steps in sigma, from
      // which those after t = T are far.
      ASSERT_LT((image - 0.3).abs().max().item<double>(), 4)
          << config::to_string(spacing) << ", S = " << steps;
    }
  }
}

// On the schedules and with the predictions of DDPM, flow matching and EDM.
TEST_P(EveryMethod, ManyStepsGiveTheDatasMeanAndVariance) {
  for (const auto& [kind, prediction] :
       {std::pair(diffusion::ScheduleKind::kLinear, Prediction::kEpsilon),
        {diffusion::ScheduleKind::kFlow, Prediction::kFlow},
        {diffusion::ScheduleKind::kEdm, Prediction::kEdm}}) {
    SCOPED_TRACE(config::to_string(kind));
    const Schedule schedule({.kind = kind});
    const auto network = gaussian_denoiser(schedule, 0.3, 0.25, prediction);
    torch::manual_seed(3);
    const torch::Tensor x_T = torch::randn({1, 1, 200, 200}, torch::kDouble);
    SampleConfig c = config(100);
    c.spacing = Spacing::kTrailing;
    c.clip = Clip::kNone;
    const torch::Tensor image =
        *ReverseProcess(diffusion::Diffusion(schedule, prediction), c)
             .run(network, x_T, [&](int64_t, int64_t) { return torch::randn_like(x_T); });
    // 40,000 values: the mean within 0.0025, the variance within 0.0018, each one deviation. DDIM and
    // Algorithm 2 are some hundredths off after 100 steps.
    EXPECT_NEAR(image.mean().item<double>(), 0.3, 0.0125);
    EXPECT_NEAR(image.var().item<double>(), 0.25, 0.035);
  }
}

// At t = 1 every method returns x0_hat, within the image range.
TEST_P(EveryMethod, OneStepIsTheClippedEstimate) {
  const Schedule schedule({.timesteps = 50});
  const torch::Tensor x_T = torch::linspace(-3, 3, 16, torch::kDouble).view({1, 1, 4, 4});
  const auto network = [](const torch::Tensor& x, const torch::Tensor&) { return x; };  // x0_hat
  SampleConfig c = config(1);
  c.steps_at = {50};
  const torch::Tensor image =
      *ReverseProcess(diffusion::Diffusion(schedule, Prediction::kX0), c)
           .run(network, x_T, [&](int64_t, int64_t) { return torch::zeros_like(x_T); });
  EXPECT_TRUE(torch::allclose(image, x_T.clamp(-1, 1), 1e-12, 1e-12));
}

INSTANTIATE_TEST_SUITE_P(All, EveryMethod, testing::ValuesIn(method_names()), name_of);

// The first-order member of each family is DDIM: eta 0, or eta 1 for the SDE.
TEST(FirstOrder, IsDdimBitForBit) {
  const Schedule schedule(diffusion::ScheduleConfig{});
  const auto network = gaussian_denoiser(schedule, 0.3, 0.25, Prediction::kEpsilon);
  const torch::Tensor x_T = torch::linspace(-2, 2, 64).view({1, 1, 8, 8});
  const auto chain = [&](const ReverseProcess::MakeSampler& make) {
    SampleConfig c;
    c.steps = 10;
    return *ReverseProcess(diffusion::Diffusion(schedule, Prediction::kEpsilon), c, make)
                .run(network, x_T, [&](int64_t k, int64_t) { return x_T.roll(k + 1, 3); });
  };
  const auto ddim = [&](double eta) {
    return chain([&, eta] { return std::make_unique<DdimSampler>(schedule, DdimNoise{eta}); });
  };
  EXPECT_TRUE(torch::equal(
      chain([&] { return std::make_unique<DpmSolver>(schedule, 1, false, 10); }), ddim(0)));
  EXPECT_TRUE(torch::equal(
      chain([&] { return std::make_unique<DpmSolver>(schedule, 1, true, 10); }), ddim(1)));
  EXPECT_TRUE(
      torch::equal(chain([&] { return std::make_unique<Deis>(schedule, 1, 10); }), ddim(0)));
  EXPECT_TRUE(
      torch::equal(chain([&] { return std::make_unique<Ipndm>(schedule, 1, 10); }), ddim(0)));
  SampleConfig euler;
  euler.method = "euler";
  EXPECT_TRUE(torch::equal(chain([&] { return make_sampler(euler, schedule); }), ddim(0)));
}

}  // namespace
}  // namespace ddpm::sample
