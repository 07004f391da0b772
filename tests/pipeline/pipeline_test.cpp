#include "ddpm/pipeline/pipeline.h"

#include "ddpm/base/error.h"
#include "ddpm/nn/model_file.h"
#include "tests/exchange/fixture.h"

#include <gtest/gtest.h>

namespace ddpm::pipeline {
namespace {

using exchange::kGolden;
using exchange::message_of;

const Pipeline& plain() {
  static const Pipeline pipeline(kGolden / "library");
  return pipeline;
}

const Pipeline& with_classes() {
  static const Pipeline pipeline(kGolden / "classes");
  return pipeline;
}

std::string error_of(const std::vector<std::string>& assignments) {
  return message_of([&] { plain().settings(assignments); });
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(PipelineSettings, AreTheNetworksOwnWhereNothingIsAssigned) {
  const sample::SampleConfig own = plain().model().sample;
  sample::SampleConfig settings = plain().settings({});
  EXPECT_EQ(settings.steps,
            own.steps == 0 ? plain().model().description.diffusion.schedule.timesteps : own.steps);
  settings.steps = own.steps;
  EXPECT_EQ(settings, own);
}

TEST(PipelineSettings, AreAssignedAsTomlOrAsABareWord) {
  EXPECT_EQ(plain().settings({"method=ddim", "steps=7"}).method, "ddim");
  EXPECT_EQ(plain().settings({"method = \"heun\"", " steps = 7 "}).steps, 7);
  const auto at = plain().settings({"method=ddim", "steps_at=[900, 500, 3]"});
  EXPECT_EQ(at.steps_at, (std::vector<int64_t>{900, 500, 3}));
  EXPECT_EQ(at.steps, 3);
}

// As the flags of `ddpm sample`: what belongs to the former method goes with it.
TEST(PipelineSettings, AnotherMethodBeginsWithItsDefaults) {
  const auto ddim = plain().settings({"method=ddim", "eta=0.5", "steps=10"});
  EXPECT_EQ(ddim.eta, 0.5);
  const auto unipc = plain().settings({"method=unipc", "steps=10"});
  EXPECT_EQ(unipc.eta, 0.0);
  EXPECT_EQ(unipc.sigma, sample::Sigma::kSmall);
  EXPECT_EQ(unipc.last_alpha, sample::LastAlpha::kOne);
}

TEST(PipelineSettings, AutoIsTheDocumentedChoice) {
  const auto few = plain().settings({"method=auto", "steps=14"});
  EXPECT_EQ(few.method, "bespoke");
  EXPECT_EQ(few.steps, 14);
  EXPECT_EQ(few.spacing, sample::Spacing::kPower);
  EXPECT_EQ(plain().settings({"method=auto", "steps=15"}).method, "dpmpp_2m_sde");
}

TEST(PipelineSettings, ErrorsNameTheKey) {
  expect_contains(error_of({"stepz=7"}), "sample.stepz: unknown key; did you mean sample.steps?");
  expect_contains(error_of({"steps"}), "\"steps\" must have the form key=value");
  expect_contains(error_of({"steps=0.5"}), "sample.steps");
  expect_contains(error_of({"steps=100000"}), "steps");
  expect_contains(error_of({"method=dpm"}), "sample.method");
  expect_contains(error_of({"method=ddpm", "eta=0.5"}), "eta");
  expect_contains(error_of({"guidance=2.0"}), "train.label_dropout");
  expect_contains(error_of({"method=ddpm", "sigma=learned"}), "learned_variance");
  expect_contains(error_of({"method=ddpm", "sigma=analytic"}), "estimate");
}

TEST(Pipeline, AnImageDependsOnlyOnItsSeedAndNumber) {
  const auto settings = plain().settings({"method=ddpm", "steps=3"});
  const torch::Tensor whole = plain().sample({.num = 5, .seed = 4, .batch = 5}, settings);
  EXPECT_EQ(whole.scalar_type(), torch::kFloat);
  EXPECT_EQ(whole.size(0), 5);
  const torch::Tensor parts = plain().sample({.num = 5, .seed = 4, .batch = 2}, settings);
  EXPECT_LT((whole - parts).abs().max().item<double>(), 1e-4);
  const torch::Tensor last = plain().sample({.num = 2, .first = 3, .seed = 4}, settings);
  EXPECT_LT((whole.narrow(0, 3, 2) - last).abs().max().item<double>(), 1e-4);
  const torch::Tensor other = plain().sample({.num = 5, .seed = 5}, settings);
  EXPECT_GT((whole - other).abs().max().item<double>(), 0.1);
}

TEST(Pipeline, TakesClassesInTurnByNumber) {
  const auto settings = with_classes().settings({"method=ddim", "steps=2"});
  const torch::Tensor both = with_classes().sample({.num = 2, .classes = {"1", "0"}}, settings);
  const torch::Tensor first = with_classes().sample({.num = 1, .classes = {"1"}}, settings);
  const torch::Tensor wrong = with_classes().sample({.num = 1, .classes = {"0"}}, settings);
  EXPECT_LT((both[0] - first[0]).abs().max().item<double>(), 1e-5);
  EXPECT_GT((both[0] - wrong[0]).abs().max().item<double>(), 1e-4);
}

TEST(Pipeline, RefusesWhatDoesNotFitTheNetwork) {
  const auto settings = plain().settings({"method=ddim", "steps=2"});
  const auto error = [&](const SampleRequest& request) {
    return message_of([&] { plain().sample(request, settings); });
  };
  expect_contains(error({.num = 0}), "num = 0");
  expect_contains(error({.batch = 0}), "batch = 0");
  expect_contains(error({.first = -1}), "first = -1");
  expect_contains(error({.classes = {"0"}}), "class-conditional");
  expect_contains(error({.conditions = torch::zeros({1, 1, 4, 4}, torch::kByte)}),
                  "model.condition");
  expect_contains(error({.vectors = torch::zeros({1, 2})}), "model.vector_conditional");
  expect_contains(message_of([&] {
                    with_classes().sample({.classes = {"x"}}, with_classes().settings({"steps=2"}));
                  }),
                  "classes x: the network knows 0 to");
  expect_contains(message_of([] { Pipeline("/nowhere/at/all"); }), "/nowhere/at/all");
}

TEST(Pipeline, StopsIfProgressSaysSo) {
  int64_t calls = 0;
  const SampleRequest request{.num = 2, .progress = [&](const sample::Progress& p) {
                                ++calls;
                                return p.step < 2;
                              }};
  const torch::Tensor none = plain().sample(request, plain().settings({"method=ddim", "steps=5"}));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(none.size(0), 0);
  EXPECT_EQ(none.dim(), 4);
}

}  // namespace
}  // namespace ddpm::pipeline
