#include "ddpm/base/device.h"

#include <fstream>
#include <regex>
#include <stdexcept>

#include <dlfcn.h>
#include <fmt/format.h>

namespace ddpm {
namespace {

// The functions of the CUDA driver API that name devices. None needs a context. Its headers may be
// missing: a build without nvcc uses the GPU through LibTorch.
class DriverLibrary {
 public:
  explicit DriverLibrary(const char* name) : handle_(dlopen(name, RTLD_NOW | RTLD_LOCAL)) {}
  ~DriverLibrary() {
    if (handle_ != nullptr) dlclose(handle_);
  }
  DriverLibrary(const DriverLibrary&) = delete;
  DriverLibrary& operator=(const DriverLibrary&) = delete;

  bool found() const { return handle_ != nullptr; }

  /// Calls a function that returns CUresult. Throws std::runtime_error with the driver's own words.
  template <class... Arguments>
  void call(const char* name, Arguments... arguments) const {
    const int result = function<int(Arguments...)>(name)(arguments...);
    if (result == 0) return;
    const char* text = nullptr;
    function<int(int, const char**)>("cuGetErrorString")(result, &text);
    throw std::runtime_error(
        fmt::format("{} ({}, error {})", text == nullptr ? "unknown error" : text, name, result));
  }

 private:
  template <class Function>
  Function* function(const char* name) const {
    void* const found = dlsym(handle_, name);
    if (found == nullptr) throw std::runtime_error(fmt::format("its library lacks {}", name));
    return reinterpret_cast<Function*>(found);
  }

  void* handle_;
};

// CUdevice_attribute of cuda.h.
constexpr int kCapabilityMajor = 75, kCapabilityMinor = 76;

int attribute_of(const DriverLibrary& driver, int attribute, int device) {
  int value = 0;
  driver.call("cuDeviceGetAttribute", &value, attribute, device);
  return value;
}

Gpu gpu_of(const DriverLibrary& driver, int device, int count) {
  Gpu gpu;
  char name[256] = {};
  driver.call("cuDeviceGetName", &name[0], static_cast<int>(sizeof name), device);
  gpu.name = &name[0];
  size_t memory = 0;
  driver.call("cuDeviceTotalMem_v2", &memory, device);
  gpu.memory = memory;
  gpu.capability = 10 * attribute_of(driver, kCapabilityMajor, device) +
                   attribute_of(driver, kCapabilityMinor, device);
  for (int peer = 0; peer < count; ++peer) {
    int can = peer == device ? 1 : 0;
    if (peer != device) driver.call("cuDeviceCanAccessPeer", &can, device, peer);
    gpu.peers.push_back(can != 0);
  }
  return gpu;
}

// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  ..."
std::string kernel_release() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  std::smatch found;
  return std::regex_search(line, found, std::regex(R"(\s(\d+\.\d+(\.\d+)?)\s)")) ? found[1].str()
                                                                                 : "";
}

void read_(CudaDriver& found, const DriverLibrary& driver) {
  driver.call("cuDriverGetVersion", &found.version);
  driver.call("cuInit", 0U);
  int count = 0;
  driver.call("cuDeviceGetCount", &count);
  for (int i = 0; i < count; ++i) {
    int device = 0;
    driver.call("cuDeviceGet", &device, i);
    found.gpus.push_back(gpu_of(driver, device, count));
  }
  if (found.gpus.empty()) found.problem = "the driver sees no GPU";
}

}  // namespace

CudaDriver read_cuda_driver(const char* library) {
  CudaDriver found;
  const DriverLibrary driver(library);
  found.release = kernel_release();
  found.installed = driver.found();
  if (!found.installed) {
    found.problem = "no NVIDIA driver is installed";
    return found;
  }
  try {
    read_(found, driver);
  } catch (const std::runtime_error& error) {
    found.gpus.clear();
    found.problem = fmt::format("the NVIDIA driver does not work: {}", error.what());
  }
  return found;
}

std::string cuda_version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string capability_text(int capability) {
  return fmt::format("{}.{}", capability / 10, capability % 10);
}

}  // namespace ddpm
