#include "ddpm/nn/drawing_network.h"

#include "ddpm/nn/model_file.h"
#include "golden.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::nn {
namespace {

TEST(DrawingNetwork, OneDenoiserGivesEveryBatchItsClasses) {
  Golden golden = load_golden("classes");
  const torch::Tensor x = golden.get("x"), t = golden.get("t") + 1;  // two images
  const std::vector<int64_t> classes{3, 0, 4};
  DrawingNetwork network(golden.net, Precision::kFp64, classes, 2, torch::kCPU);
  const diffusion::Denoiser denoiser = network.denoiser();
  for (const std::vector<int64_t>& images :
       std::vector<std::vector<int64_t>>{{0, 1}, {2, 3}, {1}}) {  // the last batch is smaller
    const auto count = static_cast<int64_t>(images.size());
    network.set_batch_(images);
    const torch::Tensor labels = labels_in_turn(images, classes, torch::kCPU);
    const torch::Tensor xs = x.narrow(0, 0, count), ts = t.narrow(0, 0, count);
    EXPECT_TRUE(denoiser(xs, ts).equal(make_denoiser(golden.net, Precision::kFp64, labels)(xs, ts)))
        << "batch of image " << images[0];
  }
}

TEST(DrawingNetwork, NeedsNoClassesWhereTheNetworkKnowsNone) {
  Golden golden = load_golden("ho");
  DrawingNetwork network(golden.net, Precision::kFp64, {}, 2, torch::kCPU);
  network.set_batch_({5, 6});
  const torch::Tensor prediction = network.denoiser()(golden.get("x"), golden.get("t") + 1);
  EXPECT_LT(relative_error(prediction, golden.get("output")), golden.tolerance());
}

}  // namespace
}  // namespace ddpm::nn
