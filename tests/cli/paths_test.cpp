// Flow matching and EDM, from training to other programs' files.

#include "tests/cli/sample_fixture.h"

#include <filesystem>
#include <sstream>

#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

struct Path {
  const char* name;  // of schedule and prediction
  const char* scheduler;
};

// Of a failure's text.
void PrintTo(const Path& path, std::ostream* out) { *out << path.name; }

class Paths : public CliTest, public testing::WithParamInterface<Path> {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    const std::string name = GetParam().name;
    train("runs/path",
          {"--set", "diffusion.schedule=" + name, "--set", "diffusion.prediction=" + name, "--set",
           "diffusion.timesteps=100", "--set", "train.t_sampling=log_normal"});
  }
  torch::Tensor draw(const std::string& source, std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"sample", "--ckpt", source, "--out", "pictures", "--overwrite",
                                 "--num", "4", "--save-tensors", "samples.safetensors"});
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 0) << result.err;
    return io::SafetensorsFile::open(folder_ / "samples.safetensors").get("samples");
  }
};

TEST_P(Paths, SampleWithEveryMethod) {
  const torch::Tensor ddim = draw("runs/path", {"--ddim", "--steps", "12"});
  EXPECT_TRUE(ddim.isfinite().all().item<bool>());
  EXPECT_LT(
      (draw("runs/path", {"--method", "euler", "--steps", "12"}) - ddim).abs().max().item<double>(),
      kRounding);
  for (const std::string method :
       {"ddpm", "heun", "dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde", "dpmpp_3m_sde", "unipc", "ipndm",
        "deis", "pndm", "bespoke", "auto"})
    EXPECT_TRUE(
        draw("runs/path", {"--method", method, "--steps", "12"}).isfinite().all().item<bool>())
        << method;
}

TEST_P(Paths, ChecksMeasuresAndDescribesItself) {
  // What does not depend on how well the network is trained.
  const ProgramResult check = run({"check", "--ckpt", "runs/path", "--steps", "20"});
  std::istringstream lines(check.out);
  int compared = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("restated as") == std::string::npos && line.find(" ddim ") == std::string::npos)
      continue;
    EXPECT_EQ(line.find("FAILED"), std::string::npos) << line;
    ++compared;
  }
  EXPECT_GT(compared, 15) << check.out << check.err;
  const ProgramResult info = run({"info", "--json", "runs/path"});
  ASSERT_EQ(info.status, 0) << info.err;
  EXPECT_NE(info.out.find(std::string("\"prediction\":\"") + GetParam().name), std::string::npos)
      << info.out;
  const ProgramResult bound =
      run({"eval", "likelihood", "--ckpt", "runs/path", "--num", "4", "--json"});
  EXPECT_EQ(bound.status, 0) << bound.err;
  const ProgramResult flow =
      run({"eval", "likelihood", "--ckpt", "runs/path", "--num", "2", "--ode", "--json"});
  EXPECT_EQ(flow.status, 0) << flow.err;
}

TEST_P(Paths, ComeBackFromDiffusers) {
  const ProgramResult convert = run({"convert", "runs/path", "diffusers", "--to", "diffusers"});
  ASSERT_EQ(convert.status, 0) << convert.err;
  const std::string text =
      io::read_text(folder_ / "diffusers" / "scheduler" / "scheduler_config.json");
  EXPECT_EQ(nlohmann::json::parse(text).at("_class_name"), GetParam().scheduler);
  EXPECT_LT((draw("diffusers", {"--steps", "12"}) -
             draw("runs/path", {"--method", "euler", "--steps", "12", "--spacing", "linspace",
                                "--clip", "none"}))
                .abs()
                .max()
                .item<double>(),
            kRounding);
}

TEST_P(Paths, ResumeToTheSameBits) {
  const std::string name = GetParam().name;
  const std::vector<std::string> settings{
      "--set", "diffusion.schedule=" + name, "--set", "diffusion.prediction=" + name,
      "--set", "diffusion.timesteps=100",    "--set", "train.t_sampling=log_normal"};
  auto whole = settings, part = settings, rest = settings;
  whole.insert(whole.end(), {"--set", "train.steps=6"});
  part.insert(part.end(), {"--set", "train.steps=3"});
  rest.insert(rest.end(), {"--set", "train.steps=6", "--resume", "auto"});
  train("runs/whole", whole);
  train("runs/parts", part);
  train("runs/parts", rest);
  EXPECT_EQ(io::read_file(checkpoint("runs/whole", 6) / "model.safetensors"),
            io::read_file(checkpoint("runs/parts", 6) / "model.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(All, Paths,
                         testing::Values(Path{"flow", "FlowMatchEulerDiscreteScheduler"},
                                         Path{"edm", "EDMEulerScheduler"}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace ddpm
