#include "ddpm/data/loader.h"
#include "ddpm/io/npy.h"
#include "ddpm/nn/drawing_network.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/sample/generate.h"
#include "ddpm/train/learner.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"
#include "tests/train/small_experiment.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/utils.h>

// A trained network against data in closed form: image i is flat, of level 127.5 + 64 v_i. In
// [-1,1] it is x0 = c v_i, so p(x0 | v) is one point, and every sampler must find it.

namespace ddpm::train::vector_data_test {
namespace {

constexpr int64_t kCount = 65;
constexpr double kSlope = 64.0 / 127.5;

class BrightnessByVector : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const torch::Tensor v = torch::linspace(-1, 1, kCount, torch::kFloat);
    const torch::Tensor levels = (127.5 + 64.0 * v).round().to(torch::kByte);
    const TemporaryFolder folder;
    fixtures::write(folder / "x.npy",
                    io::encode_npy(levels.view({-1, 1, 1, 1}).expand({kCount, 8, 8, 1})));
    // The second number says nothing: a constant.
    fixtures::write(folder / "v.npy",
                    io::encode_npy(torch::stack({10 + 3 * v, torch::full_like(v, 7)}, 1)));
    const Experiment experiment = small_experiment(
        {"data.kind=npy", "data.path=\"" + (folder / "x.npy").string() + "\"",
         "data.vectors=\"" + (folder / "v.npy").string() + "\"", "model.vector_conditional=true",
         "model.dropout=0", "model.attention_resolutions=[]", "model.mid_attention=false",
         "train.label_dropout=0.2", "train.batch_size=16", "train.steps=400",
         "diffusion.timesteps=100", "diffusion.prediction=x0", "diffusion.beta_end=0.1",
         "optimizer.lr=3e-3", "optimizer.decay=cosine", "optimizer.warmup_steps=20", "run.seed=3"});
    const auto dataset = data::open_dataset(experiment.data, 0);
    data::Loader loader(*dataset, loader_options(experiment));
    learner_ = std::make_unique<Learner>(experiment, torch::kCPU);
    for (int64_t step = 1; step <= experiment.train.steps; ++step)
      learner_->step_(loader.next(), step);
    learner_->unet()->eval();
  }
  static void TearDownTestSuite() { learner_.reset(); }

  // The mean level of samples with v, one per image, in [-1,1].
  static torch::Tensor brightness(const std::vector<double>& v, double weight = 1.0) {
    std::vector<torch::Tensor> rows;
    for (const double value : v)
      rows.push_back(torch::tensor({10 + 3 * value, 7.0}, torch::kDouble));
    sample::GenerateOptions options;
    options.images = sample::image_range(0, std::ssize(v));
    options.channels = 1, options.height = options.width = 8;
    options.batch = std::ssize(v);
    options.seed = 1;
    nn::DrawingNetwork network(learner_->unet(), learner_->settings().diffusion,
                               {.vectors = torch::stack(rows).to(torch::kFloat),
                                .batch = options.batch,
                                .guidance = {.weight = weight}});
    options.before_batch = [&](const std::vector<int64_t>& images) { network.set_batch_(images); };
    torch::Tensor images;
    sample::generate(network.denoiser(), learner_->settings().diffusion, sample::with_ddim({}, 20),
                     options, [&](int64_t, const torch::Tensor& batch) { images = batch; });
    return images.to(torch::kDouble).flatten(1).mean(1);
  }

  static inline std::unique_ptr<Learner> learner_;
};

// The tolerance is that of a network of a few thousand steps' images, a tenth of the range of v.
TEST_F(BrightnessByVector, SamplesHaveTheBrightnessOfTheirVector) {
  const std::vector<double> v{-1.0, -0.5, 0.0, 0.5, 1.0, -1.0, 1.0, 0.25};
  const torch::Tensor found = brightness(v);
  for (size_t i = 0; i < v.size(); ++i)
    EXPECT_NEAR(found[i].item<double>(), kSlope * v[i], 0.1) << "v = " << v[i];
}

// Without its vector the network draws any of the images: the same images whatever v is.
TEST_F(BrightnessByVector, WithoutTheVectorItMakesNoDifference) {
  const std::vector<double> low(16, -1.0), high(16, 1.0);
  const torch::Tensor a = brightness(low, 0.0), b = brightness(high, 0.0);
  EXPECT_TRUE(a.equal(b));
  EXPECT_GT(a.std().item<double>(), 0.1) << "of all brightnesses";
  EXPECT_LT(brightness(low).std().item<double>(), 0.05) << "of one";
}

}  // namespace
}  // namespace ddpm::train::vector_data_test
