#include "ddpm/io/folder.h"

#include "ddpm/base/error.h"

#include <system_error>

#include <fmt/format.h>

namespace ddpm::io {

void make_folder(const std::filesystem::path& folder, const std::string& way_out) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw IoError(folder, fmt::format("cannot be made: {}{}{}", error.message(),
                                      way_out.empty() ? "" : "; ", way_out));
}

}  // namespace ddpm::io
