#include "ddpm/data/factory.h"
#include "folder_listing.h"
#include "image_names.h"
#include "natural_order.h"

#include <algorithm>

namespace ddpm::data {

std::vector<std::filesystem::path> image_files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files = files_in(folder);
  std::erase_if(files, [](const std::filesystem::path& file) {
    return !is_image_name(file.filename().string()) || !std::filesystem::is_regular_file(file);
  });
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) {
    return natural_less(a.filename().string(), b.filename().string());
  });
  return files;
}

}  // namespace ddpm::data
