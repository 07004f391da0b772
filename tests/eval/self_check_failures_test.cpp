// Networks, schedules and samplers that are wrong in one way: the self-check's row of that way fails.

#include "ddpm/sample/methods.h"
#include "src/eval/check_order.h"
#include "tests/eval/self_check_subject.h"

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

// Networks.

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
  EXPECT_EQ(failed_names(subject), Names{"outputs at t = 1, T/2 and T differ by"});
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
      subject.network = best_of_shades(Diffusion(schedule, real));
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

// Parts of the program.

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
