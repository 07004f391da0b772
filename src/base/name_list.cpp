#include "ddpm/base/text.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm {

std::string name_list(const std::vector<std::string>& names) {
  constexpr size_t kShown = 12;
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + std::min(kShown, names.size()));
  return fmt::format("{}{}", fmt::join(first, ", "), names.size() > kShown ? ", ..." : "");
}

}  // namespace ddpm
