// The solvers against diffusers' schedulers (scripts/make_solver_golden.py), and against the exact
// solution for Gaussian data.

#include "ddpm/io/safetensors.h"
#include "ddpm/sample/methods.h"
#include "ddpm/sample/reverse_process.h"
#include "src/sample/dpm_solver.h"
#include "src/sample/heun.h"
#include "src/sample/noise_multistep.h"
#include "src/sample/unipc.h"
#include "tests/sample/exact_denoiser.h"

#include <cmath>
#include <functional>
#include <map>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample::solver_test {
namespace {

using diffusion::Prediction;
using diffusion::Schedule;

/// The network of the script.
torch::Tensor golden_network(const torch::Tensor& x, const torch::Tensor& t) {
  const torch::Tensor time = (t - 1).to(torch::kDouble).view({-1, 1, 1, 1});  // counted from 0
  return torch::cos(x + 0.01 * time) * (0.5 + 0.0005 * time) + 0.3 * x;
}

/// "METHOD.PREDICTION.S" of the golden file.
struct GoldenCase {
  std::string method;
  Prediction prediction;
  std::vector<int64_t> t;  // descending, 1..T
  torch::Tensor states;    // [S, ...]: x after each step
};

std::unique_ptr<Sampler> golden_sampler(const std::string& method, const Schedule& schedule,
                                        int64_t steps) {
  const size_t digit = method.find_first_of("1234");
  const int64_t order = digit == std::string::npos ? 0 : method[digit] - '0';
  if (method.starts_with("dpmpp"))
    return std::make_unique<DpmSolver>(
        schedule, order, method.ends_with("_sde"), steps,
        method == "dpmpp_3m" ? QuadraticTerm::kHalved : QuadraticTerm::kExact);
  if (method.starts_with("unipc")) return std::make_unique<UniPc>(schedule, order, steps);
  if (method.starts_with("deis")) return std::make_unique<Deis>(schedule, order, steps);
  if (method.starts_with("ipndm")) return std::make_unique<Ipndm>(schedule, order, steps);
  if (method == "pndm") return std::make_unique<Ipndm>(schedule, 4, steps, true);
  if (method == "heun") return std::make_unique<Heun>(schedule, 0);
  return make_euler({}, schedule);
}

class SolverGolden : public testing::Test {
 protected:
  static GoldenCase parsed(const io::SafetensorsFile& file, const std::string& key) {
    const size_t first = key.find('.');
    const size_t second = key.find('.', first + 1);
    const torch::Tensor t = file.get(key + ".t") + 1;
    return {key.substr(0, first),
            config::value_named<Prediction>(key.substr(first + 1, second - first - 1)).value(),
            {t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel()},
            file.get(key + ".x")};
  }
  /// The states after each step.
  torch::Tensor chain(const GoldenCase& c) const {
    SampleConfig config;
    config.clip = Clip::kNone;
    config.steps_at = c.t;
    std::vector<torch::Tensor> states;
    const auto hook = [&](const TrajectoryPoint& point) {
      if (point.position > 0) states.push_back(point.x_t);
      return true;
    };
    const auto make = [&] { return golden_sampler(c.method, schedule_, std::ssize(c.t)); };
    const ReverseProcess process(diffusion::Diffusion(schedule_, c.prediction), config, make);
    states.push_back(*process.run(
        golden_network, file_.get("x_T"), [&](int64_t k, int64_t) { return file_.get("z")[k]; },
        hook));
    return torch::stack(states);
  }

  io::SafetensorsFile file_ = io::SafetensorsFile::open(
      std::string(DDPM_SOURCE_DIR) + "/tests/golden/diffusion_solvers.safetensors");
  Schedule schedule_{diffusion::ScheduleConfig{}};
};

TEST_F(SolverGolden, EveryStateIsThatOfTheReference) {
  std::map<std::string, int> compared;
  for (const std::string& name : file_.names()) {
    if (!name.ends_with(".x")) continue;
    const GoldenCase c = parsed(file_, name.substr(0, name.size() - 2));
    torch::Tensor got = chain(c), want = c.states;
    // diffusers' DEIS ends at t = 1 and not at the finished image.
    const int64_t count = c.method.starts_with("deis") ? want.size(0) - 1 : want.size(0);
    got = got.narrow(0, 0, count), want = want.narrow(0, 0, count);
    const double scale = std::max(1.0, want.abs().max().item<double>());
    EXPECT_LT((got - want).abs().max().item<double>() / scale, 1e-9) << name;
    ++compared[c.method];
  }
  EXPECT_EQ(compared.size(), 16u);
}

constexpr double kMean = 0.3, kVariance = 0.25;

constexpr int64_t kStart = 8001;

/// Largest error at t = kEnd on Gaussian data after n equal steps from T = kStart. The first steps
/// begin at the exact solution, so that a multistep method's beginning does not count.
double error_after(int64_t n, const Schedule& schedule,
                   const std::function<std::unique_ptr<Sampler>()>& make) {
  constexpr int64_t kEnd = 1601, kExactStarts = 4;
  const auto network = gaussian_denoiser(schedule, kMean, kVariance, Prediction::kV);
  const diffusion::Diffusion diffusion(schedule, Prediction::kV);
  const torch::Tensor x_T = torch::linspace(-2, 2, 16, torch::kDouble).view({1, 1, 4, 4});
  // The ODE moves every quantile of the marginal N(a m, a^2 c + n^2) along with it.
  const auto solution = [&](int64_t t) {
    const auto deviation = [&](int64_t u) {
      return std::sqrt(schedule.alpha_bar(u) * kVariance + schedule.one_minus_alpha_bar(u));
    };
    return std::sqrt(schedule.alpha_bar(t)) * kMean +
           (x_T - std::sqrt(schedule.alpha_bar(kStart)) * kMean) / deviation(kStart) * deviation(t);
  };
  const Estimator estimate = [&](const torch::Tensor& x, int64_t t) {
    return diffusion.estimate(network(x, torch::full({1}, t, torch::kLong)), x, t);
  };
  const auto none = [](int64_t) -> torch::Tensor { throw std::logic_error("no noise"); };
  const std::unique_ptr<Sampler> sampler = make();
  torch::Tensor x;
  const int64_t stride = (kStart - kEnd) / n;
  for (int64_t t = kStart; t > kEnd; t -= stride) {
    if ((kStart - t) / stride < kExactStarts) x = solution(t);
    x = sampler->step({t, t - stride}, x, estimate, none);
  }
  return (x - solution(kEnd)).abs().max().item<double>();
}

double measured_order(const std::function<std::unique_ptr<Sampler>()>& make) {
  static const Schedule schedule({.timesteps = kStart, .beta_start = 1.25e-5, .beta_end = 2.5e-3});
  return std::log2(error_after(160, schedule, make) / error_after(320, schedule, make));
}

// The order of a method is the exponent p of its error h^p.
TEST(SolverOrder, IsThatOfTheMethod) {
  constexpr int64_t kMany = 1000;  // steps: no lower order at the end
  static const Schedule schedule({.timesteps = kStart, .beta_start = 1.25e-5, .beta_end = 2.5e-3});
  const auto dpm = [&](int64_t order) {
    return [=] { return std::make_unique<DpmSolver>(schedule, order, false, kMany); };
  };
  const auto unipc = [&](int64_t order) {
    return [=] { return std::make_unique<UniPc>(schedule, order, kMany); };
  };
  const auto deis = [&](int64_t order) {
    return [=] { return std::make_unique<Deis>(schedule, order, kMany); };
  };
  const auto ipndm = [&](int64_t order) {
    return [=] { return std::make_unique<Ipndm>(schedule, order, kMany); };
  };
  EXPECT_NEAR(measured_order(dpm(1)), 1.0, 0.15);
  EXPECT_NEAR(measured_order(dpm(2)), 2.0, 0.15);
  EXPECT_NEAR(measured_order(dpm(3)), 3.0, 0.2);
  EXPECT_NEAR(measured_order([kMany] {
                return std::make_unique<DpmSolver>(schedule, 3, false, kMany,
                                                   QuadraticTerm::kHalved);
              }),
              2.0, 0.2)
      << "diffusers' third order";
  EXPECT_NEAR(measured_order([kMany] { return make_euler({}, schedule); }), 1.0, 0.15);
  EXPECT_NEAR(measured_order([kMany] { return std::make_unique<Heun>(schedule, 0); }), 2.0, 0.15);
  for (int64_t p = 1; p <= 3; ++p) {
    EXPECT_NEAR(measured_order(deis(p)), static_cast<double>(p), 0.2);
    EXPECT_NEAR(measured_order(unipc(p)), static_cast<double>(p) + 1, 0.25) << "the corrector's";
  }
  // Its weights are those of equal steps in sigma; these steps are not.
  EXPECT_NEAR(measured_order(ipndm(1)), 1.0, 0.15);
  EXPECT_NEAR(measured_order(ipndm(2)), 2.0, 0.2);
  EXPECT_NEAR(measured_order(ipndm(4)), 2.0, 0.2);
}

/// sigma = sqrt((1 - alpha_bar) / alpha_bar) = 4 t / T.
Schedule even_in_sigma() {
  const auto alpha_bar = [](int64_t t) {
    const double sigma = 4.0 * static_cast<double>(t) / static_cast<double>(kStart);
    return 1 / (1 + sigma * sigma);
  };
  std::vector<double> betas;
  for (int64_t t = 1; t <= kStart; ++t) betas.push_back(1 - alpha_bar(t) / alpha_bar(t - 1));
  return Schedule(
      {.kind = diffusion::ScheduleKind::kTable, .timesteps = kStart, .betas = std::move(betas)});
}

TEST(SolverOrder, OfIpndmAndPndmIsFullForEvenStepsInSigma) {
  const Schedule schedule = even_in_sigma();
  for (const bool heun_start : {false, true}) {
    for (int64_t p = 1; p <= 4; ++p) {
      const auto make = [&] { return std::make_unique<Ipndm>(schedule, p, kStart, heun_start); };
      const double measured =
          std::log2(error_after(80, schedule, make) / error_after(160, schedule, make));
      EXPECT_NEAR(measured, static_cast<double>(p), 0.25);
    }
  }
}

}  // namespace
}  // namespace ddpm::sample::solver_test
