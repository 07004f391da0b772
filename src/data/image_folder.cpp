#include "ddpm/data/image_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/data/image_files.h"
#include "ddpm/io/file.h"

#include <algorithm>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> image_names_below(const fs::path& folder) {
  std::vector<std::string> names;
  const auto options = fs::directory_options::follow_directory_symlink;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, options)) {
    const std::string name = entry.path().lexically_relative(folder).generic_string();
    if (is_image_name(name) && entry.is_regular_file()) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<uint8_t> beginning_of(const fs::path& path) {
  const io::InputFile file(path);
  std::vector<uint8_t> bytes(std::min<uint64_t>(file.size(), kHeaderBytes));
  file.read_at(0, bytes);
  return bytes;
}

}  // namespace

std::unique_ptr<Dataset> open_image_folder(const fs::path& folder, const ImageOptions& options) {
  if (!fs::exists(folder)) throw IoError(folder, "no such folder; check data.path");
  if (!fs::is_directory(folder))
    throw IoError(folder, "is not a folder; set data.path to the folder of images");
  ImageSource source{"image folder",
                     folder,
                     {},
                     [folder](const std::string& name) { return io::read_file(folder / name); },
                     [folder](const std::string& name) { return beginning_of(folder / name); }};
  try {
    source.names = image_names_below(folder);
  } catch (const fs::filesystem_error& error) {
    throw IoError(error.path1().empty() ? folder : error.path1(),
                  "cannot be listed (" + error.code().message() + ")");
  }
  return open_images(std::move(source), options);
}

}  // namespace ddpm::data
