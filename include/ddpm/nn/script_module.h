#pragma once

#include "ddpm/diffusion/guidance.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

namespace torch::jit {
struct Module;
}

namespace ddpm::nn {

/// A network that torch.jit.save wrote, on the device and in eval mode. Throws IoError(file, ...) if
/// the file holds none.
torch::jit::Module load_script(const std::filesystem::path& file, const torch::Device& device);

/// Runs `work`, which calls a script of that file. What the script raises, and any other error of
/// LibTorch, becomes IoError(file, "cannot be run on `inputs`: ...") in one line.
void run_script(const std::filesystem::path& file, const std::string& inputs,
                const std::function<void()>& work);

/// A TorchScript network that guides sampling (torch.jit.save). forward(x_t, t) takes float32
/// [B,C,H,W] in the model's range and int64 [B] in 0..T-1, and returns one of
/// - logits [B,K] of K classes: the score is the gradient of log p(class | x_t) (Dhariwal and Nichol
///   2021, Algorithm 1);
/// - a log-density [B]: the score is its gradient;
/// - the score itself, [B,C,H,W].
class ScriptGuide {
 public:
  /// Loads the network and tries it on one image of zeros, shape [C,H,W]. Throws IoError(file, ...)
  /// if it is no such network.
  ScriptGuide(const std::filesystem::path& file, const torch::Device& device,
              const std::vector<int64_t>& shape);
  ~ScriptGuide();

  /// K; 0 if the network knows no classes.
  int64_t classes() const;
  /// The classes of the next batch's images, int64 [B] in 0..K-1 on the device. Needed if classes() >
  /// 0.
  void set_batch_(const torch::Tensor& classes);
  /// Throws Error if the network fails. Valid as long as this object.
  diffusion::Score score() const;

 private:
  struct Loaded;
  std::unique_ptr<Loaded> loaded_;
};

}  // namespace ddpm::nn
