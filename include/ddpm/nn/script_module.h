#pragma once

#include <filesystem>
#include <functional>
#include <string>

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

}  // namespace ddpm::nn
