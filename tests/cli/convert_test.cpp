#include "ddpm/io/safetensors.h"
#include "tests/cli/fixture.h"

#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

class Convert : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    train("runs/tiny");
  }
  void expect_success(const std::vector<std::string>& arguments) {
    const ProgramResult result = run(arguments);
    ASSERT_EQ(result.status, 0) << result.err;
  }
  torch::Tensor draw(const std::string& source, std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(),
                 {"sample", "--ckpt", source, "--steps", "5", "--num", "3", "--out", "pictures",
                  "--overwrite", "--save-tensors", "samples.safetensors"});
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 0) << result.err;
    return io::SafetensorsFile::open(folder_ / "samples.safetensors").get("samples");
  }
};

TEST_F(Convert, EveryCopyDrawsTheSameImages) {
  const torch::Tensor original = draw("runs/tiny", {"--ddim", "--clip", "none"});
  expect_success({"convert", "runs/tiny", "folder", "--to", "diffusers"});
  expect_success({"convert", "folder", "copy.safetensors", "--to", "safetensors"});
  expect_success({"convert", "copy.safetensors", "back", "--to", "ddpm"});
  for (const char* source : {"folder", "copy.safetensors", "back"}) {
    EXPECT_TRUE(torch::equal(draw(source, {"--ddim", "--clip", "none"}), original)) << source;
    const ProgramResult info = run({"info", source});
    EXPECT_EQ(info.status, 0) << info.err;
    EXPECT_NE(info.out.find("8x8, 1 channel,"), std::string::npos) << info.out;
  }
  // The averaged weights, bit for bit, at the end of the way.
  const auto ema = io::SafetensorsFile::open(checkpoint("runs/tiny", 12) / "ema.safetensors");
  const auto back = io::SafetensorsFile::open(folder_ / "back/model.safetensors");
  ASSERT_EQ(back.names(), ema.names());
  for (const std::string& name : ema.names())
    EXPECT_TRUE(torch::equal(back.get(name), ema.get(name))) << name;
}

TEST_F(Convert, RawWeightsAndTorchFiles) {
  expect_success({"convert", "runs/tiny", "raw.pt", "--to", "torch", "--weights", "raw"});
  std::filesystem::copy_file(checkpoint("runs/tiny", 12) / "model.toml", folder_ / "raw.toml");
  const torch::Tensor original = draw("runs/tiny", {"--weights", "raw"});
  EXPECT_TRUE(torch::equal(draw("raw.pt"), original));
}

TEST_F(Convert, AFoldersSchedulerIsTheDefaultOfDrawingFromIt) {
  expect_success({"convert", "runs/tiny", "folder", "--to", "diffusers"});
  const auto path = folder_ / "folder/scheduler/scheduler_config.json";
  auto json = nlohmann::json::parse(io::read_text(path));
  json["_class_name"] = "DDIMScheduler";
  json.erase("variance_type");
  json["clip_sample"] = false;
  json["timestep_spacing"] = "trailing";
  json["steps_offset"] = 1;
  json["set_alpha_to_one"] = false;
  io::write_file_synced(path, json.dump());
  const ProgramResult result =
      run({"sample", "--ckpt", "folder", "--num", "1", "--out", "p", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto said = nlohmann::json::parse(result.out);
  EXPECT_EQ(said.at("method"), "ddim");
  EXPECT_EQ(said.at("steps"), 20) << "the pipeline's 50, but there are 20";
  EXPECT_EQ(said.at("clip"), "none");
  EXPECT_EQ(said.at("spacing"), "trailing");
  EXPECT_EQ(said.at("stepping"), "diffusers");
  EXPECT_EQ(said.at("steps_offset"), 1);
  EXPECT_EQ(said.at("last_alpha"), "first");
  EXPECT_EQ(run({"sample", "--ckpt", "folder", "--num", "1", "--out", "q", "--ddpm"}).status, 0)
      << "flags go over it";
}

TEST_F(Convert, TorchFilesSampleAsTheyAre) {
  expect_success({"convert", "runs/tiny", "copy.pt", "--to", "torch"});
  EXPECT_TRUE(torch::equal(draw("copy.pt"), draw("runs/tiny")));
  const ProgramResult wrong = run({"convert", "runs/tiny", "copy.safetensors", "--to", "torch"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_NE(wrong.err.find(".pt"), std::string::npos) << wrong.err;
}

TEST_F(Convert, PointersInThePlaceOfWeightsAreCalledSo) {
  for (const char* name : {"weights.safetensors", "weights.pt", "weights"}) {
    io::write_file_synced(folder_ / name,
                          std::string_view("version https://git-lfs.github.com/spec/v1\n"
                                           "oid sha256:4d7a2146\nsize 12345\n"));
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{"info", name},
                                                      {"sample", "--ckpt", name, "--num", "1"},
                                                      {"convert", name, "x", "--to", "ddpm"}}) {
      const ProgramResult result = run(arguments);
      EXPECT_EQ(result.status, 1) << arguments[0];
      EXPECT_NE(result.err.find("git lfs pull"), std::string::npos) << result.err;
    }
  }
}

TEST_F(Convert, AClassConditionalFolderComesWithTheLinesThatSampleIt) {
  train("runs/classes", {"--set", "model.class_conditional=true"});
  const ProgramResult result = run({"convert", "runs/classes", "folder", "--to", "diffusers"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("pass no classes"), std::string::npos) << result.err;
  EXPECT_NE(io::read_text(folder_ / "folder/sample.py").find("class_labels"), std::string::npos);
  const ProgramResult plain = run({"convert", "runs/tiny", "plain", "--to", "diffusers"});
  EXPECT_EQ(plain.err.find("sample.py"), std::string::npos) << plain.err;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "plain/sample.py"));
}

TEST_F(Convert, WhatIsThereIsNotOverwrittenAndWrongWishesAreUsageErrors) {
  expect_success({"convert", "runs/tiny", "copy.safetensors", "--to", "safetensors"});
  const ProgramResult again =
      run({"convert", "runs/tiny", "copy.safetensors", "--to", "safetensors"});
  EXPECT_EQ(again.status, 1);
  EXPECT_NE(again.err.find("already exists"), std::string::npos) << again.err;
  EXPECT_EQ(run({"convert", "runs/tiny", "x", "--to", "pickle"}).status, 2);
  EXPECT_EQ(run({"convert", "runs/tiny", "x", "--to", "diffusers", "--heads", "4"}).status, 2);
  EXPECT_EQ(run({"convert", "runs/tiny", "x", "--to", "diffusers", "--weights", "ema-9"}).status,
            2);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x"));
}

// Python's YAML reader, if it is installed, on the card of a run that knows all that a card can say.
TEST_F(Convert, TheModelCardHasWhatTheRunKnows) {
  train("runs/known", {"--set", "train.sample_every=4", "--set", "train.sample_steps=2"});
  ASSERT_EQ(run({"eval", "sweep", "--ckpt", "runs/known", "--num", "4", "--steps", "2", "--eta",
                 "0", "--cache", "cache"})
                .status,
            0);
  expect_success({"convert", "runs/known", "folder", "--to", "diffusers"});
  const std::string card = io::read_text(folder_ / "folder/README.md");
  for (const char* text : {"library_name: diffusers\n", "model_name: \"known\"",
                           "| steps | 12 of 8 images, 96 in all |", "![samples](samples.png)",
                           "## Evaluation", "    protocol: num 4; "})
    EXPECT_NE(card.find(text), std::string::npos) << text << " in\n" << card;
  EXPECT_EQ(card.find(folder_.path().string()), std::string::npos) << "no path of this machine";
  EXPECT_EQ(io::read_file(folder_ / "folder/samples.png"),
            io::read_file(folder_ / "runs/known/samples/step-000000012-ema.png"));
  const std::string reads =
      "import yaml; t = open('folder/README.md').read().split('---\\n')[1]; "
      "d = yaml.safe_load(t); assert d['library_name'] == 'diffusers' and 'license' not in d, d";
  const ProgramResult yaml =
      Program(folder_.path(),
              {"-c", "python3 -c 'import yaml' || exit 77; python3 -c \"" + reads + "\""}, {},
              "/bin/sh")
          .wait();
  EXPECT_TRUE(yaml.status == 0 || yaml.status == 77) << yaml.err;
  // Other weights were not measured, and have their own grid.
  expect_success({"convert", "runs/known", "raw", "--to", "diffusers", "--weights", "raw"});
  EXPECT_EQ(io::read_text(folder_ / "raw/README.md").find("## Evaluation"), std::string::npos);
  EXPECT_EQ(io::read_file(folder_ / "raw/samples.png"),
            io::read_file(folder_ / "runs/known/samples/step-000000012-raw.png"));
}

}  // namespace
}  // namespace ddpm
