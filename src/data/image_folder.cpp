#include "image_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "folder_listing.h"
#include "image_files.h"

#include <algorithm>
#include <system_error>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

std::vector<uint8_t> beginning_of(const fs::path& path) {
  const io::InputFile file(path);
  std::vector<uint8_t> bytes(std::min<uint64_t>(file.size(), kHeaderBytes));
  file.read_at(0, bytes);
  return bytes;
}

std::optional<uint64_t> size_of(const fs::path& path) {
  std::error_code error;
  const uint64_t size = fs::file_size(path, error);
  return error ? std::nullopt : std::optional(size);
}

}  // namespace

std::unique_ptr<Dataset> open_image_folder(const fs::path& folder, const ImageOptions& options) {
  expect_exists(folder, options.has_config);
  if (!fs::is_directory(folder))
    throw IoError(folder, "is not a folder; set data.path to the folder of images");
  ImageSource source;
  source.kind = "image folder";
  source.root = folder;
  source.list = [folder] { return list_images(folder); };
  source.read = [folder](const std::string& name) { return io::read_file(folder / name); };
  source.beginning = [folder](const std::string& name) { return beginning_of(folder / name); };
  source.size_of = [folder](const std::string& name) { return size_of(folder / name); };
  return open_images(std::move(source), options);
}

}  // namespace ddpm::data
