// The self-check on networks that could not be better, where closed forms give its numbers; and on
// networks, schedules and samplers that are wrong in one way, where the row of that way fails.

#include "ddpm/eval/self_check.h"

#include "ddpm/kernels/random.h"
#include "ddpm/sample/methods.h"
#include "src/eval/check_chain.h"
#include "src/eval/check_order.h"
#include "src/eval/checked_parts.h"
#include "tests/base/test_purpose.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

using diffusion::Denoiser;
using diffusion::Diffusion;
using diffusion::Prediction;
using diffusion::Schedule;
using diffusion::ScheduleConfig;
using diffusion::ScheduleKind;
using diffusion::Table;
using sample::SampleConfig;
using torch::Tensor;

constexpr double kData = 0.25;  // the variance of every pixel; the mean is 0

Tensor normal(torch::IntArrayRef sizes) {
  Tensor x = torch::empty(sizes, torch::kDouble);
  kernels::fill_normal_(x, rng_key(3, kTestPurpose), torch::arange(sizes[0]));
  return x;
}

// E[x_0 | x_t] of N(mean, kData), as an output of the diffusion's prediction.
Denoiser best(const Diffusion& diffusion, double mean = 0.0) {
  return [=](const Tensor& x_t, const Tensor& t) {
    const Schedule& s = diffusion.schedule();
    const Tensor a = s.gather(Table::kSqrtAlphaBar, t, x_t);
    const Tensor n = s.gather(Table::kSqrtOneMinusAlphaBar, t, x_t);
    const Tensor total = a.square() * kData + n.square();
    const Tensor rest = x_t - a * mean;
    return diffusion.target(mean + a * kData / total * rest, n / total * rest, x_t, t);
  };
}

CheckSubject subject_of(const Diffusion& diffusion) {
  return {.diffusion = diffusion,
          .network = best(diffusion),
          .precision = nn::Precision::kFp64,
          .x_T = normal({4, 1, 8, 8}),
          .no_variance = "not measured"};
}

const Diffusion& linear() {
  static const Diffusion diffusion(Schedule(ScheduleConfig{}), Prediction::kEpsilon);
  return diffusion;
}

// All that a network can have.
CheckSubject full_subject() {
  CheckSubject subject = subject_of(linear());
  subject.other_class = best(linear(), 0.5);
  subject.null_class = best(linear(), 0.2);
  subject.guided = [main = subject.network,
                    null = subject.null_class](const diffusion::Guidance& guidance) -> Denoiser {
    return diffusion::GuidedDenoiser(guidance, linear(), diffusion::sources_of(main, null));
  };
  subject.in_float64 = subject.network;
  subject.in_bfloat16 = subject.network;
  PosteriorVariance variance;
  for (int64_t t = 1; t <= 1000; t += 27) {
    const double noise = linear().schedule().one_minus_alpha_bar(t);
    variance.t.push_back(t);
    variance.variance.push_back(kData * noise / ((1 - noise) * kData + noise));
  }
  subject.variance = variance;
  return subject;
}

std::vector<CheckRow> rows_of(const CheckSubject& subject, const CheckedParts& parts = {},
                              int64_t steps = 10) {
  return run_self_check(subject, {.steps = steps}, parts);
}

const CheckRow& row_named(const std::vector<CheckRow>& rows, const std::string& name) {
  for (const CheckRow& row : rows)
    if (row.name == name) return row;
  throw std::out_of_range(name + " is missing in\n" + to_text(rows));
}

std::set<std::string> failed_names(const CheckSubject& subject, const CheckedParts& parts = {}) {
  std::set<std::string> names;
  for (const CheckRow& row : failures(rows_of(subject, parts))) names.insert(row.name);
  return names;
}

using Names = std::set<std::string>;

// 1. Nothing is wrong.

TEST(SelfCheck, EveryRowOfABestNetworkIsOk) {
  const std::vector<CheckRow> rows = rows_of(full_subject());
  for (const CheckRow& row : rows)
    EXPECT_TRUE(row.verdict == Verdict::kOk || row.verdict == Verdict::kNoted ||
                row.name.starts_with("learned variance"))
        << row.name << " " << row.found << " " << row.note;
  EXPECT_EQ(std::count_if(rows.begin(), rows.end(),
                          [](const CheckRow& row) { return row.verdict == Verdict::kOk; }),
            std::ssize(sample::methods()) - 1 + 4 + 3 + 1 + 1 + 8 + 3 + 3 + 5 + 7 + 2)
      << to_text(rows);
  RecordProperty("table", to_text(rows));
}

// The factor by which DDIM from t to s multiplies a pixel (docs/math.md, Section 12).
double ddim_factor(const Schedule& schedule, int64_t t, int64_t s) {
  const double a = std::sqrt(schedule.alpha_bar(t)), n = std::sqrt(schedule.one_minus_alpha_bar(t));
  const double total = a * a * kData + n * n;
  return (std::sqrt(schedule.alpha_bar(s)) * a * kData +
          std::sqrt(schedule.one_minus_alpha_bar(s)) * n) /
         total;
}

TEST(SelfCheck, NumbersAreThoseOfClosedForms) {
  const std::vector<CheckRow> rows = rows_of(full_subject());
  const Schedule& schedule = linear().schedule();
  EXPECT_NEAR(row_named(rows, "SNR at t = 1").found, 9999.0, 1e-6);  // (1 - 1e-4) / 1e-4
  EXPECT_NEAR(row_named(rows, "alpha_bar_T").found, schedule.alpha_bar(1000), 1e-15);
  // The round trip: the product of the factors of each direction.
  const auto decoded = [&](int64_t steps) {
    double product = 1;
    for (const auto& jump : sample::timestep_plan(1000, steps, sample::Spacing::kTrailing))
      product *= ddim_factor(schedule, jump.t, jump.s);
    return product;
  };
  const auto encoded = [&](int64_t steps) {
    double product = 1;
    for (const auto& jump : sample::timestep_plan(1000, steps, sample::Spacing::kTrailing))
      product *= ddim_factor(schedule, std::max<int64_t>(jump.s, 1), jump.t);
    return product;
  };
  const double size = decoded(40) * normal({4, 1, 8, 8}).square().mean().sqrt().item<double>();
  std::vector<double> errors;
  for (const int64_t steps : {20, 40}) {
    errors.push_back(std::abs(encoded(steps) * decoded(steps) - 1) * size);
    EXPECT_NEAR(row_named(rows, "PSNR in dB, " + std::to_string(steps) + " steps").found,
                20 * std::log10(2 / errors.back()), 1e-6);
  }
  EXPECT_NEAR(row_named(rows, "order of the error").found, std::log2(errors[0] / errors[1]), 1e-9);
  EXPECT_NEAR(std::log2(errors[0] / errors[1]), 1.0, 0.2);
}

// The flow multiplies a pixel by sqrt(V(s) / V(t)), V = alpha_bar c + 1 - alpha_bar.
TEST(SelfCheck, OrdersAreThoseOfTheExactFlow) {
  const std::vector<CheckRow> rows = rows_of(full_subject());
  const Schedule& schedule = linear().schedule();
  const std::vector<int64_t> fine = even_times(schedule, 20);
  ASSERT_EQ(fine.size(), 21u);
  const auto deviation = [&](int64_t t) {
    return std::sqrt(schedule.alpha_bar(t) * kData + schedule.one_minus_alpha_bar(t));
  };
  const auto error = [&](size_t stride) {
    double product = 1;
    for (size_t i = 0; i + stride < fine.size(); i += stride)
      product *= ddim_factor(schedule, fine[i], fine[i + stride]);
    return std::abs(product - deviation(fine.back()) / deviation(fine.front()));
  };
  const CheckRow& ddim = row_named(rows, "order of ddim");
  EXPECT_NEAR(ddim.found, std::log2(error(2) / error(1)), 1e-3);
  EXPECT_NEAR(ddim.found, 1.0, 0.2);
  for (const OrderedMethod& method : ordered_methods()) {
    const CheckRow& row = row_named(rows, std::string("order of ") + method.name);
    EXPECT_EQ(row.expected, method.order);
    EXPECT_GT(row.found, method.order - 0.5) << method.name << " " << row.note;
  }
}

// A new method has to be in the list, or to have noise.
TEST(SelfCheck, EveryMethodWithoutNoiseHasAnOrder) {
  Names known{"ddpm", "dpmpp_2m_sde", "dpmpp_3m_sde", "euler"};  // euler is ddim
  for (const OrderedMethod& method : ordered_methods()) known.insert(method.name);
  for (const sample::MethodEntry& method : sample::methods())
    EXPECT_TRUE(known.contains(method.name)) << method.name;
}

TEST(SelfCheck, EverySchedulePassesWithEveryPrediction) {
  for (const ScheduleKind kind : {ScheduleKind::kLinear, ScheduleKind::kCosine,
                                  ScheduleKind::kQuadratic, ScheduleKind::kSigmoid}) {
    for (const Prediction prediction :
         {Prediction::kEpsilon, Prediction::kX0, Prediction::kMu, Prediction::kV}) {
      const Diffusion diffusion(Schedule({.kind = kind}), prediction);
      const auto rows = rows_of(subject_of(diffusion));
      EXPECT_TRUE(failures(rows).empty())
          << config::to_string(kind) << " " << config::to_string(prediction) << "\n"
          << to_text(rows);
    }
  }
}

// 2. What a network or schedule does not have is left out, with the reason.

TEST(SelfCheck, ZeroTerminalSnrLeavesOutWhatDividesBySignal) {
  std::vector<double> betas;
  for (int64_t t = 0; t < 100; ++t) betas.push_back(t == 99 ? 1.0 : 0.001 + 0.0008 * t);
  const Diffusion diffusion(
      Schedule({.kind = ScheduleKind::kTable, .timesteps = 100, .betas = betas}), Prediction::kV);
  const auto rows = rows_of(subject_of(diffusion), {}, 4);
  EXPECT_TRUE(failures(rows).empty()) << to_text(rows);
  for (const char* name : {"4 steps of DDIM, restated as eps", "4 steps of DDIM, restated as mu"})
    EXPECT_EQ(row_named(rows, name).verdict, Verdict::kLeftOut) << name;
  EXPECT_EQ(row_named(rows, "4 steps of DDIM, restated as x0").verdict, Verdict::kOk);
}

TEST(SelfCheck, ReasonsAreGiven) {
  const Diffusion short_one(Schedule({.timesteps = 20, .beta_end = 0.4}), Prediction::kV);
  const auto rows = rows_of(subject_of(short_one));
  EXPECT_TRUE(failures(rows).empty()) << to_text(rows);
  const auto reason = [&](const char* name, const char* words) {
    const CheckRow& row = row_named(rows, name);
    EXPECT_EQ(row.verdict, Verdict::kLeftOut) << name;
    EXPECT_NE(row.note.find(words), std::string::npos) << row.note;
    EXPECT_NE(to_text(rows).find(row.note), std::string::npos);
  };
  reason("order of heun", "too few timesteps");
  reason("outputs of two classes differ by", "no classes");
  reason("W = 0, 1 and 2", "no null class");
  reason("sigma*^2 within its bounds", "not measured");
  reason("learned variance outside beta_tilde .. beta", "no learned variance");
}

TEST(SelfCheck, ALearnedVarianceIsNoted) {
  CheckSubject subject = subject_of(linear());
  subject.network = [inner = subject.network](const Tensor& x_t, const Tensor& t) {
    Tensor v = torch::zeros_like(x_t);  // v = 1/2
    v.narrow(2, 0, 2).fill_(1.5);       // v = 1.25, a quarter of the rows
    return torch::cat({inner(x_t, t), v}, 1);
  };
  const auto rows = rows_of(subject);
  EXPECT_TRUE(failures(rows).empty()) << to_text(rows);
  EXPECT_EQ(row_named(rows, "learned variance outside beta_tilde .. beta").found, 0.25);
}

TEST(SelfCheck, ShortAndOddSchedulesHaveNoFailure) {
  for (const int64_t timesteps : {1, 2, 3, 7, 50}) {
    const Diffusion diffusion(Schedule({.timesteps = timesteps, .beta_end = 0.3}), Prediction::kV);
    const auto rows = rows_of(subject_of(diffusion));
    EXPECT_TRUE(failures(rows).empty()) << timesteps << "\n" << to_text(rows);
  }
}

// 3. Networks that are wrong in one way.

TEST(SelfCheckFails, IfAnImageDependsOnItsBatch) {
  CheckSubject subject = full_subject();
  subject.network = [inner = subject.network](const Tensor& x, const Tensor& t) {
    return inner(x, t) + 1e-6 * x.mean(0, /*keepdim=*/true);
  };
  subject.in_float64 = subject.network;
  subject.guided = {};
  EXPECT_EQ(failed_names(subject), Names{"an image alone against the same in a batch"});
}

TEST(SelfCheckFails, IfTwoCallsDiffer) {
  CheckSubject subject = full_subject();
  const auto calls = std::make_shared<int>(0);  // the last bits change from call to call
  subject.network = [=, inner = subject.network](const Tensor& x, const Tensor& t) {
    return inner(x, t) * (1 + 1e-15 * static_cast<double>(++*calls % 7));
  };
  EXPECT_EQ(failed_names(subject), Names{"numbers that differ between two equal calls"});
}

TEST(SelfCheckFails, IfTheTimeIsIgnored) {
  CheckSubject subject = subject_of(linear());
  subject.network = [inner = subject.network](const Tensor& x, const Tensor& t) {
    return inner(x, torch::full_like(t, 400));
  };
  EXPECT_TRUE(failed_names(subject).contains("outputs at t = 1, T/2 and T differ by"));
}

TEST(SelfCheckFails, IfTheOutputIsNotFiniteAtOneTime) {
  for (const int64_t bad : {1, 500, 1000}) {
    CheckSubject subject = full_subject();
    subject.network = [=, inner = subject.network](const Tensor& x, const Tensor& t) {
      Tensor output = inner(x, t);
      if (t[0].item<int64_t>() == bad)
        output[1][0][3][4] = std::numeric_limits<double>::quiet_NaN();
      return output;
    };
    EXPECT_EQ(failed_names(subject),
              Names{"numbers that are not finite at t = " + std::to_string(bad)});
  }
}

// Where the network is asked only by a chain.
TEST(SelfCheckFails, IfAChainIsNotFinite) {
  CheckSubject subject = full_subject();
  subject.network = [inner = subject.network](const Tensor& x, const Tensor& t) {
    const Tensor output = inner(x, t);
    return t[0].item<int64_t>() == 900 ? output / 0.0 : output;
  };
  const auto rows = rows_of(subject);
  EXPECT_EQ(row_named(rows, "equal methods").verdict, Verdict::kFailed);
  EXPECT_NE(row_named(rows, "equal methods").note.find("t = 900"), std::string::npos);
}

TEST(SelfCheckFails, IfTheClassIsIgnored) {
  CheckSubject subject = full_subject();
  subject.other_class = subject.network;
  EXPECT_EQ(failed_names(subject), Names{"outputs of two classes differ by"});
}

TEST(SelfCheckFails, IfThePrecisionChangesTheOutput) {
  CheckSubject subject = full_subject();
  subject.in_float64 = [inner = subject.network](const Tensor& x, const Tensor& t) {
    return 1.0001 * inner(x, t);
  };
  EXPECT_EQ(failed_names(subject), Names{"fp64 against float64"});
}

TEST(SelfCheckFails, IfGuidanceCombinesOtherOutputs) {
  const std::vector<std::pair<double, std::string>> cases{
      {1.0, "W = 1 against the network with classes"},
      {0.0, "W = 0 against the network without classes"},
      {2.0, "W = 2 against 2 (with classes) - (without)"}};
  for (const auto& [weight, name] : cases) {
    CheckSubject subject = full_subject();
    subject.guided = [=, right = subject.guided](diffusion::Guidance guidance) {
      if (guidance.weight == weight) guidance.weight += 1e-3;
      return right(guidance);
    };
    EXPECT_EQ(failed_names(subject), Names{name});
  }
}

// The network predicts one thing, the diffusion says another.
TEST(SelfCheckFails, IfThePredictionIsAnother) {
  for (const Prediction real :
       {Prediction::kEpsilon, Prediction::kX0, Prediction::kMu, Prediction::kV}) {
    for (const Prediction stated :
         {Prediction::kEpsilon, Prediction::kX0, Prediction::kMu, Prediction::kV}) {
      const Schedule& schedule = linear().schedule();
      CheckSubject subject = subject_of(Diffusion(schedule, stated));
      subject.network = best(Diffusion(schedule, real));
      const std::string name =
          std::string("error if read as ") + config::to_string(stated) + ", over the best reading";
      const auto rows = rows_of(subject);
      const CheckRow& row = row_named(rows, name);
      EXPECT_EQ(row.verdict, stated == real ? Verdict::kOk : Verdict::kFailed)
          << config::to_string(real) << " " << name << " " << row.found << " " << row.note;
      if (stated != real) {
        EXPECT_NE(row.note.find(std::string("predict ") + config::to_string(real)),
                  std::string::npos)
            << row.note;
      }
    }
  }
}

// 4. Parts of the program that are wrong.

TEST(SelfCheckFails, IfARestatementIsAnother) {
  for (const Prediction wrong : {Prediction::kX0, Prediction::kMu, Prediction::kV}) {
    CheckedParts parts;
    parts.restate = [=](const Denoiser& network, const Diffusion& diffusion,
                        Prediction prediction) -> Denoiser {
      const Denoiser right = restated(network, diffusion, prediction);
      if (prediction != wrong) return right;
      return [=](const Tensor& x, const Tensor& t) { return 1.0001 * right(x, t); };
    };
    EXPECT_EQ(failed_names(full_subject(), parts),
              Names{std::string("10 steps of DDIM, restated as ") + config::to_string(wrong)});
  }
}

/// Adds `bias` to every image of a step.
class Biased : public sample::Sampler {
 public:
  Biased(std::unique_ptr<Sampler> inner, double bias) : inner_(std::move(inner)), bias_(bias) {}
  Tensor step(const sample::PlanStep& step, const Tensor& x, const sample::Estimator& estimate,
              const sample::StepNoise& noise) override {
    return inner_->step(step, x, estimate, noise) + bias_;
  }

 private:
  std::unique_ptr<Sampler> inner_;
  double bias_;
};

// Parts whose samplers of the configs that `wrong` accepts are biased.
CheckedParts biased(const std::function<bool(const SampleConfig&)>& wrong, double bias) {
  CheckedParts parts;
  parts.make_sampler = [=](const SampleConfig& config,
                           const Schedule& schedule) -> std::unique_ptr<sample::Sampler> {
    auto right = sample::make_sampler(config, schedule);
    if (!wrong(config)) return right;
    return std::make_unique<Biased>(std::move(right), bias);
  };
  return parts;
}

TEST(SelfCheckFails, IfAMethodIsNotTheOneItShouldBe) {
  const auto fails = [](const std::string& name,
                        const std::function<bool(const SampleConfig&)>& wrong) {
    EXPECT_EQ(failed_names(full_subject(), biased(wrong, 1e-6)), Names{name});
  };
  fails("ddim with eta 1 against ddpm (sigma small)",
        [](const SampleConfig& c) { return c.eta == 1.0; });
  fails("euler against ddim",
        [](const SampleConfig& c) { return c.method == "euler" && c.steps > 1; });
  for (const std::string method : {"deis", "ipndm"})
    fails(method + " of order 1 against ddim",
          [=](const SampleConfig& c) { return c.method == method && c.order == 1; });
  for (const sample::MethodEntry& method : sample::methods()) {
    if (method.name == std::string("ddim")) continue;
    fails(std::string("one step of ") + method.name + " against ddim",
          [&](const SampleConfig& c) { return c.method == method.name && c.steps == 1; });
  }
}

// Real mistakes: another variance, another order.
TEST(SelfCheckFails, IfAVarianceOrAnOrderIsAnother) {
  CheckedParts parts;
  parts.make_sampler = [](SampleConfig config, const Schedule& schedule) {
    if (config.method == "ddpm" && config.steps > 1) config.sigma = sample::Sigma::kLarge;
    if (config.method == "deis" && config.order == 1) config.order = 2;
    return sample::make_sampler(config, schedule);
  };
  EXPECT_EQ(failed_names(full_subject(), parts),
            (Names{"ddim with eta 1 against ddpm (sigma small)", "deis of order 1 against ddim"}));
}

TEST(SelfCheckFails, IfASolverDoesNotConverge) {
  for (const OrderedMethod& method : ordered_methods()) {
    if (method.name == std::string("unipc")) continue;  // the fine solution's too
    const auto wrong = [&](const SampleConfig& c) {
      return c.method == method.name && !c.steps_at.empty() && c.clip == sample::Clip::kNone;
    };
    EXPECT_EQ(failed_names(full_subject(), biased(wrong, 0.05)),
              Names{std::string("order of ") + method.name});
  }
  const auto coarse = [](const SampleConfig& c) {
    return c.method == "unipc" && !c.steps_at.empty() && c.steps_at.size() < 30;
  };
  EXPECT_EQ(failed_names(full_subject(), biased(coarse, 0.05)), Names{"order of unipc"});
}

TEST(SelfCheckFails, IfEncodingDoesNotConverge) {
  CheckedParts parts;
  parts.encode = [](const Denoiser& network, const Diffusion& diffusion, const SampleConfig& config,
                    const Tensor& x0) {
    return sample::encode(network, diffusion, config, x0) * 1.5;
  };
  EXPECT_EQ(failed_names(full_subject(), parts), Names{"order of the error"});
}

TEST(SelfCheckFails, IfTheScheduleContradictsItself) {
  const auto failed = [](const std::function<void(ScheduleNumbers&)>& change) {
    CheckedParts parts;
    parts.numbers = [=](const Schedule& schedule) {
      ScheduleNumbers n = numbers_of(schedule);
      change(n);
      return n;
    };
    return failed_names(full_subject(), parts);
  };
  const std::string falls = "timesteps at which alpha_bar does not fall",
                    product = "alpha_bar, 1 - alpha_bar and SNR from the betas",
                    outside = "timesteps with beta_tilde outside 0 .. beta",
                    bayes = "1/beta_tilde = alpha/beta + 1/n_{t-1}^2", mean = "c + d a_t = a_{t-1}",
                    sum = "d^2 n_t^2 + beta_tilde = n_{t-1}^2";
  // One number, at one t, by 1e-9.
  EXPECT_EQ(failed([](ScheduleNumbers& n) { n.snr[300] *= 1 + 1e-9; }), Names{product});
  EXPECT_EQ(failed([](ScheduleNumbers& n) { n.weight_x0[300] *= 1 + 1e-9; }), Names{mean});
  EXPECT_EQ(failed([](ScheduleNumbers& n) { n.weight_x_t[300] *= 1 + 1e-9; }), (Names{mean, sum}));
  EXPECT_EQ(failed([](ScheduleNumbers& n) { n.beta_tilde[300] *= 1 + 1e-9; }), (Names{bayes, sum}));
  EXPECT_EQ(failed([](ScheduleNumbers& n) { n.beta_tilde[300] = 1.01 * n.beta[300]; }),
            (Names{outside, bayes, sum}));
  EXPECT_TRUE(failed([](ScheduleNumbers& n) {
                std::swap(n.alpha_bar[300], n.alpha_bar[301]);
              }).contains(falls));
  EXPECT_TRUE(failed([](ScheduleNumbers& n) { n.beta[300] = std::nan(""); }).contains(product));
}

TEST(SelfCheckFails, IfAJumpHasOtherWeights) {
  for (const int which : {0, 1, 2}) {
    CheckedParts parts;
    parts.jump = [=](const Schedule& schedule, int64_t t, int64_t s) {
      diffusion::JumpPosterior q = diffusion::jump_posterior(schedule, t, s);
      double& number = which == 0 ? q.x0 : which == 1 ? q.x_t : q.small;
      number *= 1 + 1e-9;
      return q;
    };
    EXPECT_EQ(failed_names(full_subject(), parts), Names{"the last two for the jumps of 10 steps"});
  }
}

TEST(SelfCheckFails, IfTheMeasuredVarianceIsOutsideItsBounds) {
  CheckSubject large = full_subject();
  large.variance->variance[3] = 2 * linear().schedule().one_minus_alpha_bar(82) /
                                linear().schedule().alpha_bar(82);  // twice n^2 / a^2 at its t
  ASSERT_EQ(large.variance->t[3], 82);
  EXPECT_EQ(failed_names(large), Names{"largest sigma*^2 over its upper bound"});
  CheckSubject wide = full_subject();
  wide.variance->variance.back() = 1.1;  // more than that of [-1,1]
  EXPECT_EQ(failed_names(wide), Names{"largest sigma*^2 over its upper bound"});
  CheckSubject negative = full_subject();
  negative.variance->variance[10] = -0.1;
  EXPECT_EQ(failed_names(negative), Names{"smallest sigma*^2 over its lower bound"});
}

}  // namespace
}  // namespace ddpm::eval
