#include "common.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

namespace ddpm::cli {

config::Document load_config(const std::filesystem::path& path,
                             const std::vector<std::string>& overrides) {
  config::Document document = config::Document::load(path);
  for (const std::string& assignment : overrides) document.set(assignment);
  return document;
}

void print_row(const std::string& key, const std::string& value) {
  fmt::print("{:<14} {}\n", key, value);
}

void set_threads(int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

}  // namespace ddpm::cli
