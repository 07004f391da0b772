#include "ddpm/io/image.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/kernels/device.h"
#include "tests/cli/sample_fixture.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <nlohmann/json.hpp>
#include <signal.h>

namespace ddpm {
namespace {

TEST_F(Sample, TakesTheNewestRunAndWritesPicturesAGridAndASummary) {
  const ProgramResult result = run({"sample", "--steps", "5", "--ddim", "--num", "5", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("runs/tiny/checkpoints/step-000000012"), std::string::npos)
      << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("network_calls"), 5);
  EXPECT_EQ(json.at("files").size(), 5u);
  EXPECT_GT(json.at("images_per_s").get<double>(), 0.0);
  for (const std::string file : json.at("files"))
    EXPECT_TRUE(std::filesystem::exists(folder_ / file)) << file;
  EXPECT_TRUE(std::filesystem::exists(folder_ / json.at("grid").get<std::string>()));
}

TEST_F(Sample, AnImageDoesNotDependOnBatchOrCount) {
  const torch::Tensor all = draw({"--steps", "7", "--num", "7", "--batch", "7"});
  const torch::Tensor split = draw({"--steps", "7", "--num", "5", "--batch", "2"});
  EXPECT_LT((all.slice(0, 0, 5) - split).abs().max().item<double>(), kRounding);
  EXPECT_GT((all[0] - all[1]).abs().max().item<double>(), 0.1) << "images 0 and 1 should differ";
}

TEST_F(Sample, AnotherSeedGivesOtherImages) {
  EXPECT_GT((draw({"--ddim"}) - draw({"--ddim", "--seed", "1"})).abs().max().item<double>(), 0.1);
}

TEST_F(Sample, RawAndAveragedWeightsDiffer) {
  EXPECT_GT((draw({"--ddim"}) - draw({"--ddim", "--weights", "raw"})).abs().max().item<double>(),
            1e-6);
}

TEST_F(Sample, GivenNoiseIsUsedAndOfOneShape) {
  const torch::Tensor x_T = torch::linspace(-1, 1, 2 * 64).view({2, 1, 8, 8});
  const torch::Tensor z = torch::zeros({4, 2, 1, 8, 8});
  io::write_safetensors(folder_ / "noise.safetensors", {{"x_T", x_T}, {"z", z}});
  const torch::Tensor a =
      draw({"--steps", "4", "--init-noise", "noise.safetensors", "--seed", "1"});
  const torch::Tensor b =
      draw({"--steps", "4", "--init-noise", "noise.safetensors", "--seed", "2"});
  EXPECT_EQ(a.size(0), 2);
  EXPECT_TRUE(torch::equal(a, b)) << "the seed must not matter where all noise is given";
  const ProgramResult wrong = run({"sample", "--steps", "5", "--init-noise", "noise.safetensors"});
  EXPECT_EQ(wrong.status, 2) << wrong.err;
}

TEST_F(Sample, EtaOneOverAllStepsIsAlgorithm2) {
  const torch::Tensor ddpm = draw({"--ddpm", "--sigma", "small"});
  const torch::Tensor ddim = draw({"--ddim", "--eta", "1"});
  EXPECT_LT((ddpm - ddim).abs().max().item<double>(), kRounding);
}

TEST_F(Sample, EveryNumberOfStepsIsThatManyCalls) {
  for (const int steps : {1, 3, 19, 20}) {
    for (const char* spacing : {"leading", "trailing", "linspace", "quadratic"}) {
      const ProgramResult result =
          run({"sample", "--steps", std::to_string(steps), "--spacing", spacing, "--ddim", "--num",
               "1", "--json", "--out", "p", "--overwrite"});
      ASSERT_EQ(result.status, 0) << result.err;
      EXPECT_EQ(nlohmann::json::parse(result.out).at("network_calls"), steps) << spacing;
    }
  }
}

TEST_F(Sample, MoreStepsThanTheScheduleHasIsAUsageError) {
  const ProgramResult result = run({"sample", "--steps", "21"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("20"), std::string::npos) << result.err;
}

TEST_F(Sample, ContinueDrawsOnlyWhatIsMissingAndTheSamePictures) {
  const std::vector<std::string> flags{"sample", "--ddim", "--steps", "5",      "--num",
                                       "7",      "--out",  "p",       "--json", "--continue"};
  ASSERT_EQ(run({"sample", "--ddim", "--steps", "5", "--num", "5", "--out", "p"}).status, 0);
  // The pixels: a picture also says in which batch it was sampled.
  const auto pixels = [&](const char* name) {
    return io::decode_image(io::read_file(folder_ / name), name).pixels;
  };
  const auto first = pixels("p/000001.png"), last = pixels("p/000004.png");
  std::filesystem::remove(folder_ / "p/000001.png");
  std::filesystem::resize_file(folder_ / "p/000004.png", 20);
  const ProgramResult result = run(flags);
  ASSERT_EQ(result.status, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("images"), 4) << "1, 4, 5 and 6";
  EXPECT_EQ(json.at("kept"), 3);
  EXPECT_EQ(json.at("files").size(), 7u);
  EXPECT_EQ(pixels("p/000001.png"), first);
  EXPECT_EQ(pixels("p/000004.png"), last);
  const ProgramResult again = run(flags);
  EXPECT_EQ(nlohmann::json::parse(again.out).at("images"), 0) << again.err;
}

TEST_F(Sample, ContinueWithOtherSettingsIsRefused) {
  ASSERT_EQ(run({"sample", "--ddim", "--steps", "5", "--num", "2", "--out", "p"}).status, 0);
  const ProgramResult result =
      run({"sample", "--ddim", "--steps", "6", "--num", "2", "--out", "p", "--continue"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("steps 5, now 6"), std::string::npos) << result.err;
}

TEST_F(Sample, TrajectoryIsARowAnImageAndAColumnAStep) {
  const ProgramResult result =
      run({"sample", "--steps", "4", "--num", "5", "--out", "p", "--trajectory"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto picture = folder_ / "p-trajectory.png";
  const io::Image image = io::decode_image(io::read_file(picture), picture.string());
  EXPECT_EQ(image.width, 8 * (4 * 10 + 2));  // enlarged
  EXPECT_EQ(image.height, 8 * (5 * 10 + 2));
  EXPECT_NE(result.err.find("at t = 16, 11, 6, 1"), std::string::npos) << result.err;
}

// Other settings take the former animation away; no foreign file is replaced.
TEST_F(Sample, AnAnimationStandsBesideTheFolder) {
  const std::vector<std::string> flags{"sample", "--ddim", "--num", "3", "--out", "p"};
  const auto draw = [&](std::vector<std::string> more) {
    more.insert(more.begin(), flags.begin(), flags.end());
    return run(more);
  };
  const ProgramResult result = draw({"--steps", "4", "--animate", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out).at("animation"), "p-animation.png");
  const auto pixels = [&](const std::string& name) {
    return io::decode_image(io::read_file(folder_ / name), name).pixels;
  };
  EXPECT_EQ(pixels("p-animation.png"), pixels("p-grid.png")) << "without animation: the end";
  EXPECT_EQ(draw({"--steps", "4", "--animate"}).status, 0) << "ours, so it is replaced";
  EXPECT_EQ(draw({"--steps", "5", "--overwrite"}).status, 0);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "p-animation.png"));
  io::write_file_synced(folder_ / "p-animation.png", std::string_view("mine"));
  const ProgramResult refused = draw({"--steps", "5", "--animate"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("p-animation.png: already exists"), std::string::npos) << refused.err;
  const ProgramResult kept = draw({"--steps", "5", "--animate", "--continue"});
  EXPECT_EQ(kept.status, 2);
  EXPECT_NE(kept.err.find("--animate needs every image"), std::string::npos) << kept.err;
}

TEST_F(Sample, FoldersByDefaultDifferWithEverySetting) {
  train("runs/classes", {"--set", "model.class_conditional=true"});
  io::write_safetensors(folder_ / "noise.safetensors", {{"x_T", torch::zeros({1, 1, 8, 8})}});
  const std::vector<std::vector<std::string>> settings{
      {},
      {"--ddim"},
      {"--eta", "0.5"},
      {"--eta", "0.25"},
      {"--sigma", "large"},
      {"--sigma", "hat"},
      {"--steps", "4"},
      {"--spacing", "trailing"},
      {"--spacing", "linspace"},
      {"--clip", "none"},
      {"--class", "ring"},
      {"--class", "ring,disc"},
      {"--class", "disc,ring"},
      {"--class", "1"},
      {"--class", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"},
      {"--weights", "raw"},
      {"--weights", "ema-2"},
      {"--precision", "bf16"},
      {"--seed", "1"},
      {"--init-noise", "noise.safetensors"}};
  std::set<std::string> folders;
  for (std::vector<std::string> flags : settings) {
    flags.insert(flags.begin(),
                 {"sample", "--steps", "3", "--num", "1", "--ckpt", "runs/classes", "--json"});
    if (std::find(flags.begin() + 3, flags.end(), "--steps") != flags.end())
      flags.erase(flags.begin() + 1, flags.begin() + 3);
    const ProgramResult result = run(flags);
    ASSERT_EQ(result.status, 0) << result.err;
    const std::filesystem::path file =
        nlohmann::json::parse(result.out).at("files").at(0).get<std::string>();
    EXPECT_TRUE(folders.insert(file.parent_path()).second)
        << flags.back() << " has its images in " << file.parent_path();
  }
}

TEST_F(Sample, PrecisionAutoGivesThePicturesOfWhatItChooses) {
  const std::string chosen = kernels::multiplies_bf16(torch::kCPU) ? "bf16" : "fp32";
  for (const std::string& precision : {std::string("auto"), chosen}) {
    const ProgramResult result = run({"sample", "--ddim", "--steps", "3", "--num", "1", "--device",
                                      "cpu", "--precision", precision, "--out", precision});
    ASSERT_EQ(result.status, 0) << result.err;
  }
  EXPECT_EQ(io::read_file(folder_ / "auto/000000.png"),
            io::read_file(folder_ / chosen / "000000.png"));
  EXPECT_NE(io::read_text(folder_ / "auto/sampling.json").find("\"" + chosen + "\""),
            std::string::npos);
}

TEST_F(Sample, ImagesOfOtherSettingsStayUnlessOverwritingIsAskedFor) {
  const std::vector<std::string> first{"sample", "--ddim", "--steps", "5",
                                       "--num",  "4",      "--out",   "p"};
  ASSERT_EQ(run(first).status, 0);
  const auto image = io::read_file(folder_ / "p/000003.png");
  for (const std::vector<std::string>& change : {std::vector<std::string>{"--spacing", "trailing"},
                                                 {"--clip", "none"},
                                                 {"--weights", "raw"},
                                                 {"--precision", "bf16"},
                                                 {"--seed", "3"}}) {
    std::vector<std::string> flags = first;
    flags.insert(flags.end(), change.begin(), change.end());
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 1) << change[0];
    EXPECT_NE(result.err.find("p: holds 4 images of other settings"), std::string::npos)
        << result.err;
    EXPECT_EQ(io::read_file(folder_ / "p/000003.png"), image) << change[0];
  }
  const ProgramResult fewer = run({"sample", "--ddim", "--steps", "5", "--num", "2", "--out", "p"});
  EXPECT_EQ(fewer.status, 1);
  EXPECT_NE(fewer.err.find("more than the 2 asked for; use --num 4"), std::string::npos)
      << fewer.err;
  ASSERT_EQ(run({"sample", "--steps", "5", "--num", "2", "--out", "p", "--overwrite"}).status, 0);
  EXPECT_NE(io::read_file(folder_ / "p/000000.png"), image);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "p/000003.png"));
  EXPECT_EQ(run({"sample", "--out", "p", "--continue", "--overwrite"}).status, 2);
}

TEST_F(Sample, AUsersOwnImagesAreNotTouched) {
  std::filesystem::create_directories(folder_ / "mine");
  for (const char* name : {"mine/000000.png", "mine/000001.png", "mine/123456.png"})
    io::write_file_synced(folder_ / name, std::string_view("a photograph"));
  io::write_file_synced(folder_ / "p-grid.png", std::string_view("a photograph"));
  for (const std::vector<std::string>& flags : {std::vector<std::string>{"--out", "mine"},
                                                {"--out", "mine", "--overwrite"},
                                                {"--out", "mine", "--continue"},
                                                {"--out", "p"},
                                                {"--out", "p", "--overwrite"}}) {
    std::vector<std::string> command{"sample", "--num", "2", "--steps", "2"};
    command.insert(command.end(), flags.begin(), flags.end());
    const ProgramResult result = run(command);
    EXPECT_EQ(result.status, 1) << result.err;
  }
  for (const char* name : {"mine/000000.png", "mine/000001.png", "mine/123456.png", "p-grid.png"})
    EXPECT_EQ(io::read_text(folder_ / name), "a photograph") << name;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "p")) << "refused before anything is made";
  EXPECT_FALSE(std::filesystem::exists(folder_ / "mine/sampling.lock"));
}

TEST_F(Sample, OfTwoAtOnceInOneFolderTheSecondIsRefused) {
  const std::vector<std::string> flags{"sample", "--num", "20000", "--batch", "1", "--out", "p"};
  Program first(folder_.path(), flags);
  ASSERT_TRUE(first.wait_for_message("images by ddpm"));
  for (const char* way : {"--continue", "--overwrite"}) {
    std::vector<std::string> again = flags;
    again.push_back(way);
    const ProgramResult second = run(again);
    EXPECT_EQ(second.status, 1);
    EXPECT_NE(second.err.find("p: is in use by process"), std::string::npos) << second.err;
  }
  first.send(SIGINT);
  EXPECT_EQ(first.wait().status, 75);
}

TEST_F(Sample, AFolderHoldsNothingThatIsNoSample) {
  const ProgramResult result =
      run({"sample", "--steps", "3", "--num", "5", "--out", "p", "--trajectory"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "p-grid.png\n");
  std::set<std::string> images;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "p")) {
    if (entry.path().extension() == ".png") images.insert(entry.path().filename());
  }
  EXPECT_EQ(images, (std::set<std::string>{"000000.png", "000001.png", "000002.png", "000003.png",
                                           "000004.png"}));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "p-trajectory.png"));
  ASSERT_EQ(run({"sample", "--steps", "3", "--num", "5", "--out", "p", "--grid", "g.png"}).status,
            0);
  EXPECT_EQ(io::read_file(folder_ / "g.png"), io::read_file(folder_ / "p-grid.png"));
  EXPECT_EQ(run({"sample", "--steps", "3", "--num", "5", "--out", "p", "--grid", "p/g.png"}).status,
            2);
}

TEST_F(Sample, WeightsThatAreNotFiniteMakeNoImages) {
  std::vector<io::NamedTensor> weights =
      io::read_safetensors(checkpoint("runs/tiny", 12) / "ema.safetensors");
  weights[3].tensor = weights[3].tensor.clone();
  weights[3].tensor.view(-1)[0] = std::nan("");
  io::write_safetensors(folder_ / "bad.safetensors", weights);
  std::filesystem::copy_file(checkpoint("runs/tiny", 12) / "model.toml", folder_ / "bad.toml");
  const ProgramResult result = run({"sample", "--ckpt", "bad.safetensors", "--steps", "4", "--num",
                                    "2", "--out", "p", "--ddim"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("image 0 is not finite after step 1 of 4 (t = 16): tensor " +
                            weights[3].name + " of bad.safetensors holds NaN"),
            std::string::npos)
      << result.err;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "p/000000.png"));
  const ProgramResult eval = run({"eval", "--ckpt", "bad.safetensors", "--steps", "4", "--num", "4",
                                  "--ddim", "--reference", "tiny.toml", "--cache", "cache"});
  EXPECT_EQ(eval.status, 1);
  EXPECT_NE(eval.err.find("is not finite after step 1 of 4"), std::string::npos) << eval.err;

  io::write_safetensors(folder_ / "noise.safetensors",
                        {{"x_T", torch::full({2, 1, 8, 8}, std::nan(""))}});
  const ProgramResult noise = run({"sample", "--init-noise", "noise.safetensors", "--out", "q"});
  EXPECT_EQ(noise.status, 1);
  EXPECT_NE(noise.err.find("noise.safetensors: holds NaN or infinity in x_T of image 0"),
            std::string::npos)
      << noise.err;
}

TEST_F(Sample, TheLogNamesTheWeightsThatWereTaken) {
  const auto used = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(),
                 {"sample", "--steps", "2", "--num", "1", "--out", "p", "--overwrite", "--json"});
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 0) << result.err;
    const std::string name = nlohmann::json::parse(result.out).at("weights");
    EXPECT_NE(result.err.find("(" + name + " weights)"), std::string::npos) << result.err;
    return name;
  };
  const std::string step = checkpoint("runs/tiny", 12);
  EXPECT_EQ(used({}), "ema");
  EXPECT_EQ(used({"--weights", "raw"}), "raw");
  EXPECT_EQ(used({"--ckpt", step + "/model.safetensors"}), "raw");
  EXPECT_EQ(used({"--ckpt", step + "/ema.safetensors"}), "ema");
  EXPECT_EQ(used({"--ckpt", step + "/ema-2.safetensors", "--weights", "ema-2"}), "ema-2");
  ASSERT_EQ(run({"convert", "runs/tiny", "copy", "--to", "diffusers"}).status, 0);
  EXPECT_EQ(used({"--ckpt", "copy"}), "only");
  ASSERT_EQ(run({"convert", "runs/tiny", "imported", "--to", "ddpm", "--weights", "raw"}).status,
            0);
  EXPECT_EQ(used({"--ckpt", "imported"}), "only");
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{"--ckpt", step + "/model.safetensors", "--weights", "ema"},
        {"--ckpt", step + "/ema.safetensors", "--weights", "raw"},
        {"--ckpt", "copy", "--weights", "ema"},
        {"--ckpt", "copy", "--weights", "raw"},
        {"--ckpt", "imported", "--weights", "ema"}}) {
    std::vector<std::string> flags{"sample", "--steps", "2", "--num", "1", "--out", "q"};
    flags.insert(flags.end(), wrong.begin(), wrong.end());
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_NE(result.err.find("--weights " + wrong.back()), std::string::npos) << result.err;
  }
}

TEST_F(Sample, APathAloneIsTheCheckpoint) {
  EXPECT_EQ(run({"sample", "runs/tiny", "--steps", "2", "--num", "1"}).status, 0);
}

TEST_F(Sample, OneStepAtTheSmallEndIsWarnedOf) {
  const ProgramResult result = run({"sample", "--steps", "1", "--num", "1"});
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.err.find("--spacing trailing"), std::string::npos) << result.err;
  EXPECT_EQ(run({"sample", "--steps", "1", "--num", "1", "--spacing", "trailing"}).err.find("warn"),
            std::string::npos);
}

TEST_F(Sample, WeightsOfEveryDecayCanBeDrawnFrom) {
  train("runs/averages", {"--set", "ema.warmup=false"});  // warm-up would make both alike at first
  const torch::Tensor first = draw({"--ckpt", "runs/averages", "--ddim"});
  const torch::Tensor second = draw({"--ckpt", "runs/averages", "--ddim", "--weights", "ema-2"});
  EXPECT_GT((first - second).abs().max().item<double>(), 1e-6);
  const ProgramResult result = run({"sample", "--weights", "ema-3"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("raw, ema, ema-2"), std::string::npos) << result.err;
}

TEST_F(Sample, ClassesAreDrawnInTurnByNumberOrName) {
  train("runs/classes", {"--set", "model.class_conditional=true"});
  const std::vector<std::string> steps{"--ckpt", "runs/classes", "--ddim", "--steps", "3"};
  const auto with = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), steps.begin(), steps.end());
    return draw(flags);
  };
  const torch::Tensor all = with({"--num", "10"});
  const torch::Tensor pair = with({"--num", "4", "--class", "ring,1"});
  const torch::Tensor third = with({"--num", "4", "--class", "3"});
  // Ring is class 3: image 0 of the pair has class 3, image 1 class 1, image 2 class 3.
  EXPECT_LT((pair[0] - third[0]).abs().max().item<double>(), kRounding);
  EXPECT_LT((pair[2] - third[2]).abs().max().item<double>(), kRounding);
  EXPECT_LT((all[3] - third[3]).abs().max().item<double>(), kRounding);
  EXPECT_LT((all[1] - pair[1]).abs().max().item<double>(), kRounding);
  EXPECT_GT((pair[1] - third[1]).abs().max().item<double>(), kRounding);
  const ProgramResult result = run({"sample", "--ckpt", "runs/classes", "--class", "8"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("0 to 7 (disc, square"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace ddpm
