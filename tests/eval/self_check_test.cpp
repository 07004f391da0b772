// The self-check on networks that could not be better, where closed forms give its numbers.

#include "ddpm/sample/methods.h"
#include "src/eval/check_chain.h"
#include "src/eval/check_order.h"
#include "tests/eval/self_check_subject.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::eval::self_check_test {
namespace {

TEST(SelfCheck, EveryRowOfABestNetworkIsOk) {
  const std::vector<CheckRow> rows = rows_of(full_subject());
  for (const CheckRow& row : rows)
    EXPECT_TRUE(row.verdict == Verdict::kOk || row.verdict == Verdict::kNoted ||
                row.name.starts_with("learned variance"))
        << row.name << " " << row.found << " " << row.note;
  const int64_t single_steps = std::ssize(sample::methods()) - 1;
  // Schedule, variance, network, guidance, restatements, methods, round trip, orders. White noise
  // says nothing of the prediction: SelfCheckFails.IfThePredictionIsAnother has other images.
  const int64_t ok = 7 + 2 + 8 + 3 + 5 + (4 + single_steps) + 1 + 8;
  EXPECT_EQ(std::count_if(rows.begin(), rows.end(),
                          [](const CheckRow& row) { return row.verdict == Verdict::kOk; }),
            ok)
      << to_text(rows);
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
  Names known{"ddpm", "dpmpp_2m_sde", "dpmpp_3m_sde", "euler", "bespoke"};  // the last two are ddim
  for (const OrderedMethod& method : ordered_methods()) known.insert(method.name);
  for (const sample::MethodEntry& method : sample::methods())
    EXPECT_TRUE(known.contains(method.name)) << method.name;
}

TEST(SelfCheck, EverySchedulePassesWithEveryPrediction) {
  for (const ScheduleKind kind : {ScheduleKind::kLinear, ScheduleKind::kCosine,
                                  ScheduleKind::kQuadratic, ScheduleKind::kSigmoid}) {
    for (const Prediction prediction : {Prediction::kEpsilon, Prediction::kX0, Prediction::kMu,
                                        Prediction::kV, Prediction::kFlow, Prediction::kEdm}) {
      const Diffusion diffusion(Schedule({.kind = kind}), prediction);
      const auto rows = rows_of(subject_of(diffusion));
      EXPECT_TRUE(failures(rows).empty())
          << config::to_string(kind) << " " << config::to_string(prediction) << "\n"
          << to_text(rows);
    }
  }
}

// What a network or schedule does not have is left out, with the reason.

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

TEST(SelfCheck, AnUntrainedNetworkIsSaidToPredictNothing) {
  CheckSubject subject = subject_of(Diffusion(linear().schedule(), Prediction::kV));
  subject.network = [](const Tensor& x_t, const Tensor&) { return torch::zeros_like(x_t); };
  const CheckRow row = row_named(rows_of(subject), "error if read as v, over the best reading");
  EXPECT_EQ(row.verdict, Verdict::kNoted);
  EXPECT_NE(row.note.find("hardly trained"), std::string::npos);
}

TEST(SelfCheck, ShortAndOddSchedulesHaveNoFailure) {
  for (const int64_t timesteps : {1, 2, 3, 7, 50}) {
    const Diffusion diffusion(Schedule({.timesteps = timesteps, .beta_end = 0.3}), Prediction::kV);
    const auto rows = rows_of(subject_of(diffusion));
    EXPECT_TRUE(failures(rows).empty()) << timesteps << "\n" << to_text(rows);
  }
}

}  // namespace
}  // namespace ddpm::eval::self_check_test
