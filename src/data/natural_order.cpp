#include "natural_order.h"

#include <algorithm>

namespace ddpm::data {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Removes the digits at the beginning of `text` and returns them without leading zeros.
std::string_view take_number(std::string_view& text) {
  const size_t length = std::find_if_not(text.begin(), text.end(), is_digit) - text.begin();
  std::string_view number = text.substr(0, length);
  text.remove_prefix(length);
  number.remove_prefix(std::min(number.find_first_not_of('0'), number.size()));
  return number;
}

}  // namespace

bool natural_less(std::string_view a, std::string_view b) {
  std::string_view x = a, y = b;
  while (!x.empty() && !y.empty()) {
    if (is_digit(x[0]) && is_digit(y[0])) {
      const std::string_view m = take_number(x), n = take_number(y);
      if (m.size() != n.size()) return m.size() < n.size();
      if (m != n) return m < n;
    } else {
      const auto p = static_cast<unsigned char>(x[0]), q = static_cast<unsigned char>(y[0]);
      if (p != q) return p < q;
      x.remove_prefix(1);
      y.remove_prefix(1);
    }
  }
  if (x.empty() != y.empty()) return x.empty();
  return a < b;
}

}  // namespace ddpm::data
