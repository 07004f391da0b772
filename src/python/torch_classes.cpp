// torch.classes.ddpm.Pipeline: the pipeline as a class of torch's own bindings, which python/ddpm
// wraps. It holds no Python code, so one library serves every Python for which this LibTorch exists.

#include "ddpm/base/device.h"
#include "ddpm/base/error.h"
#include "ddpm/io/json_text.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/pipeline/pipeline.h"

#include <atomic>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <torch/custom_class.h>

namespace ddpm::python {
namespace {

// The kind of an error goes in front of its text; python/ddpm makes the exception from it.
template <class Function>
auto named_errors(const Function& function) {
  try {
    return function();
  } catch (const ConfigError& error) {
    throw std::runtime_error("ddpm.UsageError: " + std::string(error.what()));
  } catch (const UsageError& error) {
    throw std::runtime_error("ddpm.UsageError: " + std::string(error.what()));
  } catch (const IoError& error) {
    throw std::runtime_error("ddpm.IoError: " + std::string(error.what()));
  } catch (const Error& error) {
    throw std::runtime_error("ddpm.Error: " + std::string(error.what()));
  }
}

// Warnings of the library as lines on stderr, as a Python program expects them.
void log_warnings_once() {
  static const bool done = [] {
    auto log = spdlog::stderr_logger_mt("ddpm");
    log->set_pattern("ddpm: %v");
    log->set_level(spdlog::level::warn);
    spdlog::set_default_logger(log);
    return true;
  }();
  (void)done;
}

class Pipeline : public torch::CustomClassHolder {
 public:
  Pipeline(const std::string& source, const std::string& weights, const std::string& device,
           const std::string& precision)
      : pipeline_(named_errors([&] {
          log_warnings_once();
          return pipeline::Pipeline(source, {.weights = weights,
                                             .device = parse_device(device),
                                             .precision = nn::parse_precision(precision)});
        })),
        threads_(at::get_num_threads()) {}

  // Facts as JSON.
  std::string describe() const {
    const exchange::Model& model = pipeline_.model();
    const nn::UNetConfig& unet = model.description.unet;
    nlohmann::ordered_json facts = nn::to_json(model.description);
    facts["path"] = model.path.string();
    facts["weights"] = model.weights_name;
    facts["device"] = pipeline_.options().device.str();
    facts["precision"] = config::to_string(pipeline_.options().precision);
    facts["class_names"] =
        unet.class_conditional ? model.description.class_names : std::vector<std::string>();
    facts["sample"] = config::to_json(model.sample);
    return facts.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }

  // Checks settings, and returns them in full as JSON.
  std::string settings(const std::vector<std::string>& assignments) const {
    return named_errors(
        [&] { return io::json_text(config::to_json(pipeline_.settings(assignments))); });
  }

  // float32 [N,C,H,W]; [0,C,H,W] if stop() was called meanwhile. May run in any thread.
  torch::Tensor sample(int64_t num, int64_t first, int64_t seed, int64_t batch,
                       const std::vector<std::string>& classes,
                       const std::optional<torch::Tensor>& conditions,
                       const std::optional<torch::Tensor>& vectors,
                       const std::vector<std::string>& assignments) {
    at::set_num_threads(threads_);  // OpenMP's number belongs to the calling thread
    stop_ = false;
    done_ = 0;
    pipeline::SampleRequest request{.num = num,
                                    .first = first,
                                    .seed = static_cast<uint64_t>(seed),
                                    .batch = batch,
                                    .classes = classes,
                                    .conditions = conditions.value_or(torch::Tensor()),
                                    .vectors = vectors.value_or(torch::Tensor())};
    request.progress = [this](const sample::Progress& p) {
      done_ = p.images_done * p.steps + p.step * p.batch_images;
      return !stop_;
    };
    return named_errors([&] { return pipeline_.sample(request, pipeline_.settings(assignments)); });
  }

  // Image steps done by sample().
  int64_t done() const { return done_; }
  void stop() { stop_ = true; }

 private:
  pipeline::Pipeline pipeline_;
  int threads_;
  std::atomic<bool> stop_ = false;
  std::atomic<int64_t> done_ = 0;
};

TORCH_LIBRARY(ddpm, library) {
  library.class_<Pipeline>("Pipeline")
      .def(torch::init<std::string, std::string, std::string, std::string>())
      .def("describe", [](const c10::intrusive_ptr<Pipeline>& self) { return self->describe(); })
      .def("settings",
           [](const c10::intrusive_ptr<Pipeline>& self, std::vector<std::string> assignments) {
             return self->settings(assignments);
           })
      .def("sample",
           [](const c10::intrusive_ptr<Pipeline>& self, int64_t num, int64_t first, int64_t seed,
              int64_t batch, std::vector<std::string> classes,
              std::optional<torch::Tensor> conditions, std::optional<torch::Tensor> vectors,
              std::vector<std::string> assignments) {
             return self->sample(num, first, seed, batch, classes, conditions, vectors,
                                 assignments);
           })
      .def("done", [](const c10::intrusive_ptr<Pipeline>& self) { return self->done(); })
      .def("stop", [](const c10::intrusive_ptr<Pipeline>& self) { self->stop(); });
}

}  // namespace
}  // namespace ddpm::python
