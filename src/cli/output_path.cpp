#include "output_path.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/png.h"
#include "ddpm/io/safetensors.h"

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

void expect_place(const fs::path& file) {
  if (fs::is_directory(file)) throw IoError(file, "is a folder; name a file");
  io::expect_folder_of(file);
}

[[noreturn]] void refuse_to_replace(const std::string& flag, const fs::path& file,
                                    const std::string& what) {
  throw IoError(file, fmt::format("already exists and is no {} of this program; move it, or name "
                                  "another file with {}",
                                  what, flag));
}

bool holds_alone(const fs::path& file, const std::string& tensor) {
  try {
    return io::SafetensorsFile::open(file).names() == std::vector{tensor};
  } catch (const IoError&) {
    return false;
  }
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

void expect_own_picture(const std::string& flag, const fs::path& file) {
  expect_place(file);
  if (fs::is_regular_file(file) && !io::is_marked(file)) refuse_to_replace(flag, file, "picture");
}

void expect_own_tensors(const std::string& flag, const fs::path& file, const std::string& tensor) {
  expect_place(file);
  if (fs::is_regular_file(file) && !holds_alone(file, tensor))
    refuse_to_replace(flag, file, fmt::format("file of \"{}\"", tensor));
}

}  // namespace ddpm::cli
