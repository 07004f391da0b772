#include "ddpm/eval/posterior_variance.h"

#include "ddpm/base/error.h"
#include "ddpm/kernels/elementwise.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::eval::posterior_variance_test {
namespace {

constexpr double kMean = 0.1, kVariance = 0.04;

/// Images whose pixels are N(0.1, 0.04), rounded to levels (their step, 2/255, adds 5e-6).
class GaussianPixels : public data::Dataset {
 public:
  int64_t size() const override { return 200; }
  data::ImageShape shape() const override { return {1, 16, 16}; }
  int64_t class_count() const override { return 0; }
  std::vector<std::string> class_names() const override { return {}; }
  data::Example get(int64_t index) const override {
    torch::Tensor z = torch::empty({1, 1, 16, 16}, torch::kDouble);
    kernels::fill_normal_(z, rng_key(99, Purpose::kProcedural), torch::full({1}, index));
    const torch::Tensor x = kMean + std::sqrt(kVariance) * z[0];
    return {((x + 1) * 127.5).round().clamp(0, 255).to(torch::kByte), -1};
  }
  std::string description() const override { return "Gaussian pixels"; }
};

diffusion::Denoiser exact(const diffusion::Diffusion& diffusion) {
  return [&](const torch::Tensor& x_t, const torch::Tensor& t) {
    const auto& s = diffusion.schedule();
    const torch::Tensor a = s.gather(diffusion::Table::kSqrtAlphaBar, t, x_t);
    const torch::Tensor n = s.gather(diffusion::Table::kSqrtOneMinusAlphaBar, t, x_t);
    const torch::Tensor spread = a.square() * kVariance + n.square();
    const torch::Tensor x0 = kMean + a * kVariance / spread * (x_t - a * kMean);
    const torch::Tensor eps = n / spread * (x_t - a * kMean);
    return diffusion.target(x0, eps, x_t, t);
  };
}

double truth(const diffusion::Schedule& schedule, int64_t t) {
  const double noise = schedule.one_minus_alpha_bar(t);
  return kVariance * noise / (schedule.alpha_bar(t) * kVariance + noise);
}

PosteriorVariance measured(const diffusion::Diffusion& diffusion, int64_t times) {
  const GaussianPixels data;
  std::vector<int64_t> images(200);
  for (size_t i = 0; i < images.size(); ++i) images[i] = static_cast<int64_t>(i);
  return measure_posterior_variance([&](const torch::Tensor&, const torch::Tensor&,
                                        const torch::Tensor&) { return exact(diffusion); },
                                    diffusion, data, images,
                                    {.times = times, .precision = nn::Precision::kFp64});
}

TEST(PosteriorVariance, IsThatOfGaussianDataForEveryPrediction) {
  for (const auto prediction :
       {diffusion::Prediction::kEpsilon, diffusion::Prediction::kX0, diffusion::Prediction::kV}) {
    const diffusion::Diffusion diffusion(diffusion::Schedule(diffusion::ScheduleConfig{}),
                                         prediction);
    const PosteriorVariance found = measured(diffusion, 12);
    ASSERT_EQ(found.t.size(), 12u);
    EXPECT_EQ(found.t.front(), 1);
    EXPECT_EQ(found.t.back(), 1000);
    for (size_t i = 0; i < found.t.size(); ++i) {
      // 51,200 pixels. Squares of each have a relative deviation of at most 2 sqrt(2 / 51200).
      const double want = truth(diffusion.schedule(), found.t[i]);
      EXPECT_NEAR(found.variance[i], want, 0.05 * want + 1e-5) << found.t[i];
    }
  }
}

TEST(PosteriorVariance, OtherTimestepsAreInterpolated) {
  const diffusion::Diffusion diffusion(diffusion::Schedule(diffusion::ScheduleConfig{}),
                                       diffusion::Prediction::kEpsilon);
  PosteriorVariance exact_values = measured(diffusion, 50);
  for (size_t i = 0; i < exact_values.t.size(); ++i)
    exact_values.variance[i] = truth(diffusion.schedule(), exact_values.t[i]);
  const std::vector<double> all = exact_values.at_every_t(diffusion.schedule());
  ASSERT_EQ(all.size(), 1001u);
  EXPECT_EQ(all[0], 0.0);
  for (int64_t t = 1; t <= 1000; ++t) {
    const double want = truth(diffusion.schedule(), t);
    EXPECT_NEAR(all[static_cast<size_t>(t)], want, 0.01 * want) << t;
  }
}

TEST(PosteriorVariance, TextIsReadBackAndChecked) {
  const PosteriorVariance written{{1, 500, 1000}, {1e-5, 0.02, 0.25}, 64};
  const std::string text = to_json_text(written, 77);
  const PosteriorVariance read = parse_posterior_variance(text, 77, "file");
  EXPECT_EQ(read.t, written.t);
  EXPECT_EQ(read.variance, written.variance);
  EXPECT_EQ(read.images, 64);
  EXPECT_THROW(parse_posterior_variance(text, 78, "file"), IoError) << "other weights";
  std::string damaged = text;
  damaged.replace(damaged.find("0.02"), 4, "0.03");
  EXPECT_THROW(parse_posterior_variance(damaged, 77, "file"), IoError);
  EXPECT_THROW(parse_posterior_variance(text.substr(0, 40), 77, "file"), IoError);
  EXPECT_THROW(parse_posterior_variance("{}", 77, "file"), IoError);
}

}  // namespace
}  // namespace ddpm::eval::posterior_variance_test
