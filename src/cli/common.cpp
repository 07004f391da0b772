#include "ddpm/cli/common.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

namespace ddpm::cli {

config::Document load_config(const std::filesystem::path& path,
                             const std::vector<std::string>& overrides) {
  config::Document document = config::Document::load(path);
  for (const std::string& assignment : overrides) document.set(assignment);
  return document;
}

void set_threads(int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

std::string with_commas(int64_t n) {
  std::string text = fmt::format("{}", n);
  for (auto i = static_cast<int64_t>(text.size()) - 3; i > (n < 0 ? 1 : 0); i -= 3)
    text.insert(i, ",");
  return text;
}

}  // namespace ddpm::cli
