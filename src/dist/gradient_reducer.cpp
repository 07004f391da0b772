#include "ddpm/dist/gradient_reducer.h"

#include "process_group.h"

namespace ddpm::dist {

GradientReducer::GradientReducer(const World& world, const std::vector<torch::Tensor>& parameters,
                                 int64_t bucket_bytes)
    : world_(world), parameters_(parameters), bucket_bytes_(bucket_bytes) {
  rebuild_();
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::rebuild_() {
  sum_.reset();  // first: both would listen to the parameters
  if (world_.group_) sum_ = world_.group_->overlapped_sum(parameters_, bucket_bytes_);
}

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
