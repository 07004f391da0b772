#include "ddpm/nn/script_module.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"

#include <stdexcept>

#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

namespace ddpm::nn {

torch::jit::Module load_script(const std::filesystem::path& file, const torch::Device& device) {
  try {
    torch::jit::Module module = torch::jit::load(file.string(), device);
    module.eval();
    return module;
  } catch (const c10::Error& error) {
    throw IoError(file, fmt::format("is not a TorchScript network: {}", first_line(error)));
  }
}

void run_script(const std::filesystem::path& file, const std::string& inputs,
                const std::function<void()>& work) {
  const auto fail = [&](const std::string& why) {
    throw IoError(file, fmt::format("cannot be run on {}: {}", inputs, why));
  };
  try {
    work();
  } catch (const c10::Error& error) {
    fail(first_line(error));
  } catch (const std::runtime_error& error) {  // raised inside of the script
    fail(std::string(error.what()).substr(0, 200));
  }
}

}  // namespace ddpm::nn
