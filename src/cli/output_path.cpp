#include "output_path.h"

#include "ddpm/base/error.h"

#include <algorithm>
#include <system_error>

#include <fmt/format.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

bool is_within(const fs::path& path, const fs::path& folder) {
  std::error_code ignored;
  const fs::path inner = fs::weakly_canonical(fs::absolute(path, ignored), ignored);
  const fs::path outer = fs::weakly_canonical(fs::absolute(folder, ignored), ignored);
  if (inner.empty() || outer.empty()) return false;
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

}  // namespace

void expect_beside_input(const std::string& flag, const fs::path& output, const std::string& what,
                         const fs::path& input) {
  std::error_code ignored;
  if (output.empty() || input.empty() || !fs::exists(input, ignored)) return;
  const bool same = fs::equivalent(output, input, ignored);  // also through a link
  if (!same && !is_within(output, input)) return;
  throw UsageError(fmt::format("{} {}: {} {} read from {}; choose a path outside of it", flag,
                               output.string(), what, what.ends_with('s') ? "are" : "is",
                               input.string()));
}

}  // namespace ddpm::cli
