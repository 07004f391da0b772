// Methods, step lists, variances and guidance of `ddpm sample`.

#include "tests/cli/sample_fixture.h"

#include <filesystem>

#include <nlohmann/json.hpp>
#include <torch/csrc/jit/api/module.h>

namespace ddpm {
namespace {

class SampleMethods : public Sample {};

TEST_F(SampleMethods, EveryMethodDrawsByItsName) {
  const torch::Tensor ddim = draw({"--method", "ddim", "--steps", "6"});
  EXPECT_TRUE(torch::equal(draw({"--method", "euler", "--steps", "6"}), ddim));
  for (const std::string method :
       {"heun", "dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde", "dpmpp_3m_sde", "unipc", "ipndm", "deis"}) {
    const torch::Tensor images = draw({"--method", method, "--steps", "6"});
    EXPECT_TRUE(images.isfinite().all().item<bool>()) << method;
    EXPECT_GT((images - ddim).abs().max().item<double>(), kRounding) << method;
  }
  const ProgramResult json =
      run({"sample", "--method", "heun", "--steps", "6", "--num", "2", "--json"});
  EXPECT_EQ(nlohmann::json::parse(json.out).at("network_calls"), 6) << json.err;
  EXPECT_TRUE(torch::equal(draw({"--method", "unipc", "--steps", "6", "--order", "3"}),
                           draw({"--method", "unipc", "--steps", "6"})));
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{"--method", "ddim", "--order", "2"},
                                             {"--method", "deis", "--order", "4"},
                                             {"--method", "unipc", "--eta", "0.5"},
                                             {"--method", "dpmpp_2m", "--sigma", "large"}}) {
    std::vector<std::string> flags{"sample"};
    flags.insert(flags.end(), wrong.begin(), wrong.end());
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 2) << wrong[1] << wrong[2] << result.err;
  }
}

TEST_F(SampleMethods, MethodAutoIsADocumentedChoice) {
  const auto same = [&](const std::string& steps, const std::string& method,
                        const std::string& spacing) {
    EXPECT_TRUE(torch::equal(draw({"--method", "auto", "--steps", steps}),
                             draw({"--method", method, "--spacing", spacing, "--steps", steps})));
  };
  same("14", "bespoke", "power");
  same("15", "dpmpp_2m_sde", "trailing");
}

TEST_F(SampleMethods, BespokeIsFittedOnceAndKept) {
  train("runs/fitted", {"--set", "model.class_conditional=true"});
  const auto fitted = [&](const std::string& out, std::vector<std::string> more = {}) {
    std::vector<std::string> words{
        "sample", "--ckpt", "runs/fitted",    "--method", "bespoke", "--steps",      "4",
        "--num",  "2",      "--save-tensors", out,        "--out",   out + "-folder"};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramResult result = run(words);
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  };
  const auto tensor = [&](const std::string& file) {
    return io::SafetensorsFile::open(folder_ / file).get("samples");
  };
  const auto begins = [](const ProgramResult& result) {
    return result.err.find("method bespoke: fitting 4 steps to this network, once: ") !=
           std::string::npos;
  };
  EXPECT_TRUE(begins(fitted("first.safetensors", {"--class", "1"})));
  const auto files = [&] {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "runs/fitted/estimates"))
      found.push_back(entry.path());
    return found;
  };
  ASSERT_EQ(files().size(), 1u);
  EXPECT_EQ(files()[0].filename().string().rfind("bespoke-4-", 0), 0u);
  const ProgramResult again = fitted("again.safetensors", {"--class", "1"});
  EXPECT_FALSE(begins(again)) << again.err;
  EXPECT_EQ(tensor("again.safetensors").sizes(), tensor("first.safetensors").sizes());
  EXPECT_TRUE(torch::equal(tensor("again.safetensors"), tensor("first.safetensors")));
  EXPECT_FALSE(begins(fitted("other.safetensors", {"--seed", "3"}))) << "another seed and class";
  // Other settings have a fit of their own; a damaged one is made again.
  EXPECT_TRUE(begins(fitted("clipped.safetensors", {"--clip", "none"})));
  EXPECT_EQ(files().size(), 2u);
  // With spacing power the fit chooses the timesteps, and says which.
  const ProgramResult powered = fitted("powered.safetensors", {"--spacing", "power"});
  EXPECT_NE(powered.err.find("method bespoke: spacing power takes t = "), std::string::npos)
      << powered.err;
  EXPECT_EQ(files().size(), 3u);
  const ProgramResult kept = fitted("kept.safetensors", {"--spacing", "power"});
  EXPECT_FALSE(begins(kept)) << kept.err;
  EXPECT_TRUE(torch::equal(tensor("kept.safetensors"), tensor("powered.safetensors")));
  for (const auto& file : files()) std::filesystem::resize_file(file, 60);
  const ProgramResult mended = fitted("mended.safetensors", {"--class", "1"});
  EXPECT_NE(mended.err.find("is damaged"), std::string::npos) << mended.err;
  EXPECT_NE(mended.err.find("method bespoke is fitted again"), std::string::npos) << mended.err;
  EXPECT_TRUE(torch::equal(tensor("mended.safetensors"), tensor("first.safetensors")));
}

TEST_F(SampleMethods, MethodAutoTakesTheBestOfTheRunsOwnSweep) {
  train("runs/swept", {});
  const ProgramResult sweep =
      run({"eval", "sweep", "--ckpt", "runs/swept", "--steps", "2,6", "--method", "ddim,heun",
           "--spacing", "linspace", "--num", "8", "--json"});
  ASSERT_EQ(sweep.status, 0) << sweep.err;
  const auto cells = nlohmann::json::parse(sweep.out).at("cells");
  const auto best = [&](int64_t steps) {
    double least = 1e300;
    std::string method;
    for (const auto& cell : cells) {
      if (cell.at("steps") != steps || cell.at("frechet") >= least) continue;
      least = cell.at("frechet");
      method = cell.at("sampler").get<std::string>().starts_with("eta") ? "ddim" : "heun";
    }
    return method;
  };
  const auto swept = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"--ckpt", "runs/swept"});
    return draw(flags);
  };
  for (const int64_t steps : {2, 6}) {
    EXPECT_TRUE(torch::equal(swept({"--method", "auto", "--steps", std::to_string(steps)}),
                             swept({"--method", best(steps), "--spacing", "linspace", "--steps",
                                    std::to_string(steps)})))
        << steps;
  }
  // No evidence for 12 calls, twice 6.
  EXPECT_TRUE(torch::equal(swept({"--method", "auto", "--steps", "12"}),
                           swept({"--method", "bespoke", "--spacing", "power", "--steps", "12"})));
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "runs/swept/generated"))
    if (entry.path().filename().string().starts_with("sweep-"))
      std::filesystem::resize_file(entry.path() / "sweep.json", 100);
  const ProgramResult damaged =
      run({"sample", "--ckpt", "runs/swept", "--method", "auto", "--steps", "6", "--num", "1"});
  EXPECT_EQ(damaged.status, 0) << damaged.err;
  EXPECT_NE(damaged.err.find("sweep.json: cannot be read for --method auto"), std::string::npos)
      << damaged.err;
}

TEST_F(SampleMethods, TimestepsMayBeListedOrTakenBySection) {
  // T = 20: 1 and 10 of the first ten; 11, 11 + 4.5 (rounded to even) and 20 of the others.
  const torch::Tensor listed = draw({"--ddim", "--steps-at", "20,15,11,10,1"});
  EXPECT_TRUE(torch::equal(listed, draw({"--ddim", "--sections", "2,3"})));
  const ProgramResult rising = run({"sample", "--steps-at", "1,5"});
  EXPECT_EQ(rising.status, 2);
  EXPECT_NE(rising.err.find("--steps-at must fall"), std::string::npos) << rising.err;
  const ProgramResult negative = run({"sample", "--steps-at", "5,-1"});
  EXPECT_EQ(negative.status, 2);
  EXPECT_NE(negative.err.find("--steps-at ends at -1"), std::string::npos) << negative.err;
}

TEST_F(SampleMethods, TheOptimalVarianceIsMeasuredOnceAndKept) {
  const std::vector<std::string> analytic{"--steps", "4", "--sigma", "analytic"};
  const torch::Tensor first = draw(analytic);
  const ProgramResult again = run({"sample", "--steps", "4", "--sigma", "analytic"});
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(again.err.find("measuring"), std::string::npos) << again.err;
  EXPECT_TRUE(torch::equal(draw(analytic), first));
  EXPECT_GT((draw({"--steps", "4"}) - first).abs().max().item<double>(), kRounding);
  EXPECT_GT(
      (draw({"--steps", "4", "--sigma", "analytic", "--ddim"}) - first).abs().max().item<double>(),
      kRounding);

  // The same measurement chooses timesteps.
  const torch::Tensor optimal = draw({"--ddim", "--steps", "4", "--spacing", "optimal"});
  EXPECT_GT((draw({"--ddim", "--steps", "4"}) - optimal).abs().max().item<double>(), kRounding);
  EXPECT_TRUE(torch::equal(draw({"--ddim", "--steps", "20", "--spacing", "optimal"}),
                           draw({"--ddim", "--steps", "20"})))
      << "all T steps";

  const ProgramResult estimate = run({"estimate", "--num", "8", "--times", "5", "--json"});
  ASSERT_EQ(estimate.status, 0) << estimate.err;
  const auto json = nlohmann::json::parse(estimate.out);
  EXPECT_EQ(json.at("t").size(), 5u);
  EXPECT_EQ(json.at("images"), 8);
  const std::filesystem::path file = folder_ / json.at("file").get<std::string>();
  EXPECT_GT((draw(analytic) - first).abs().max().item<double>(), 1e-7) << "another estimate";
  std::filesystem::resize_file(file, 50);
  const ProgramResult damaged = run({"sample", "--steps", "4", "--sigma", "analytic"});
  EXPECT_EQ(damaged.status, 1);
  EXPECT_NE(damaged.err.find("is damaged; delete it, or run ddpm estimate"), std::string::npos)
      << damaged.err;
}

TEST_F(SampleMethods, ATorchScriptNetworkGuides) {
  const auto save = [&](const std::string& name, const std::string& body) {
    torch::jit::Module module("Guide");
    module.define("def forward(self, x, t):\n  " + body + "\n");
    module.save((folder_ / name).string());
  };
  save("bright.pt", "s = x.flatten(1).mean(1)\n  return torch.stack([-9 * s, 9 * s], 1)");
  const std::vector<std::string> flags{"--ddim", "--steps", "4", "--guide", "bright.pt"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), flags.begin(), flags.end());
    return draw(more);
  };
  const torch::Tensor plain = draw({"--ddim", "--steps", "4"});
  const torch::Tensor dark = with({"--class", "0"}), bright = with({"--class", "1"});
  EXPECT_TRUE(torch::equal(with({"--class", "1", "--guide-scale", "0"}), plain));
  EXPECT_LT(dark.mean().item<double>(), plain.mean().item<double>());
  EXPECT_GT(bright.mean().item<double>(), plain.mean().item<double>());
  EXPECT_GT(with({"--class", "1", "--guide-scale", "3"}).mean().item<double>(),
            bright.mean().item<double>());
  // All classes in turn, an image each.
  const torch::Tensor both = with({});
  EXPECT_TRUE(torch::allclose(both[0], dark[0], 1e-5, 1e-5));
  EXPECT_TRUE(torch::allclose(both[1], bright[1], 1e-5, 1e-5));

  const auto refused = [&](std::vector<std::string> more, int status, const std::string& why) {
    more.insert(more.begin(), "sample");
    const ProgramResult result = run(more);
    EXPECT_EQ(result.status, status) << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << result.err;
  };
  refused({"--guide", "bright.pt", "--class", "2"}, 2, "the network knows 0 to 1");
  refused({"--guide-scale", "2"}, 2, "--guide-scale is for --guide");
  refused({"--guide", "none.pt"}, 1, "none.pt");
  save("wide.pt", "return x.sum()");
  refused({"--guide", "wide.pt"}, 1, "can guide");
}

TEST_F(SampleMethods, GuidanceNeedsANullClassAndChangesTheImages) {
  train("runs/guided",
        {"--set", "model.class_conditional=true", "--set", "train.label_dropout=0.2"});
  const auto with = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"--ckpt", "runs/guided", "--ddim", "--steps", "3"});
    return draw(flags);
  };
  const auto distance = [](const torch::Tensor& a, const torch::Tensor& b) {
    return (a - b).abs().max().item<double>();
  };
  const torch::Tensor plain = with({});
  EXPECT_TRUE(torch::equal(with({"--guidance", "1"}), plain));
  EXPECT_GT(distance(with({"--guidance", "3"}), plain), kRounding);
  EXPECT_GT(distance(with({"--class", "0"}), with({"--class", "1"})), kRounding);
  EXPECT_TRUE(torch::equal(with({"--class", "0", "--guidance", "0"}),
                           with({"--class", "1", "--guidance", "0"})))
      << "without guidance towards it the class has no effect";
  // A network that guides itself does nothing, up to rounding.
  EXPECT_LT(distance(with({"--guidance", "3", "--guide-ckpt", "runs/guided"}), plain), kRounding);
  EXPECT_GT(
      distance(with({"--guidance", "3", "--guide-ckpt", "runs/guided", "--guide-weights", "raw"}),
               plain),
      1e-6);

  const auto refused = [&](std::vector<std::string> flags, const std::string& why) {
    flags.insert(flags.begin(), "sample");
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << result.err;
  };
  refused({"--ckpt", "runs/tiny", "--guidance", "2"}, "train.label_dropout");
  refused({"--ckpt", "runs/guided", "--guidance-rescale", "0.5"}, "must not be 1");
  refused({"--ckpt", "runs/guided", "--guidance", "2", "--guidance-interval", "5,2"},
          "the lower one first");
  train("runs/other", {"--set", "diffusion.timesteps=30"});
  refused({"--ckpt", "runs/guided", "--guidance", "2", "--guide-ckpt", "runs/other"},
          "another schedule or prediction");
}

}  // namespace
}  // namespace ddpm
