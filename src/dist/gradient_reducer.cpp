#include "ddpm/dist/gradient_reducer.h"

#include "process_group.h"

namespace ddpm::dist {

GradientReducer::GradientReducer(const World& world, const std::vector<torch::Tensor>& parameters,
                                 int64_t bucket_bytes)
    : world_(world), parameters_(parameters) {
  if (world.group_) sum_ = world.group_->overlapped_sum(parameters, bucket_bytes);
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::sum_during(const std::function<void()>& pass) {
  if (sum_) {
    world_.collectively("to sum gradients", [&] { sum_->expect(); });
    // Errors of the network itself are c10::Error and pass unchanged; broken connections are
    // others.
    try {
      pass();
    } catch (const std::exception& error) {
      if (!sum_->is_of_connection(error)) throw;
      world_.give_up("to sum gradients", error);
    }
    return;
  }
  pass();
  if (world_.size() == 1) return;
  std::vector<torch::Tensor> gradients;
  for (const torch::Tensor& p : parameters_) gradients.push_back(p.grad());
  world_.all_reduce_sum_(gradients);
}

}  // namespace ddpm::dist
