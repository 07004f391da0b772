#pragma once

#include "checked_parts.h"

#include <string>
#include <vector>

namespace ddpm::eval {

/// A method without noise, and the order of a whole chain of it, which starts with a lower order
/// (docs/math.md, Section 14).
struct OrderedMethod {
  const char* name;
  double order;
};
const std::vector<OrderedMethod>& ordered_methods();

/// A fine solution, and the errors of the methods against it with about S and 2 S calls.
class OrderCheck {
 public:
  /// Makes the fine solution: about 20 S calls.
  explicit OrderCheck(const CheckContext& context);
  CheckRow row(const OrderedMethod& method) const;

 private:
  torch::Tensor state(const std::string& method, const std::vector<int64_t>& times) const;

  CheckContext context_;
  std::string too_few_;  // why no order can be measured
  std::vector<int64_t> coarse_, fine_;
  torch::Tensor exact_;
  double ddim_ = 0;  // DDIM's error with 2 S steps
};

}  // namespace ddpm::eval
