#include "beside_pictures.h"

#include "ddpm/base/error.h"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

namespace ddpm::cli {

namespace fs = std::filesystem;

Beside beside_of(const pipeline::SampleOptions& options, const sample::PictureFolder& folder) {
  if (!options.only.empty()) return {};
  const fs::path grid = options.grid.empty() ? folder.beside("grid") : fs::path(options.grid);
  const Beside beside{grid, folder.beside("trajectory"), folder.beside("animation")};
  const fs::path parent = fs::absolute(grid).lexically_normal().parent_path();
  if (!options.grid.empty() && grid.extension() != ".png")
    throw UsageError(
        fmt::format("--grid {}: the grid is a PNG; name a file that ends in .png", options.grid));
  std::error_code ignored;
  if (fs::equivalent(parent, folder.path(), ignored))
    throw UsageError(
        fmt::format("--grid {}: in the samples' folder other programs would read it as a "
                    "sample; name a file elsewhere",
                    options.grid));
  if (!fs::exists(parent, ignored)) {
    if (options.grid.empty()) return beside;  // made with the folder
    throw IoError(grid, fmt::format("cannot be written: there is no folder {}", parent.string()));
  }
  if (::access(parent.c_str(), W_OK) != 0)
    throw IoError(grid, fmt::format("cannot be written: {}; name another file with --grid",
                                    std::generic_category().message(errno)));
  return beside;
}

}  // namespace ddpm::cli
