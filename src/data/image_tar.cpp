#include "image_tar.h"

#include "archive_tree.h"
#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/io/archive.h"

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;
using TarTree = ArchiveTree<io::TarReader>;

bool is_tar(const fs::path& file) { return lowercase(file.extension().string()) == ".tar"; }

std::vector<fs::path> shards_in(const fs::path& folder) {
  std::vector<fs::path> shards = files_in(folder);
  std::erase_if(shards, [](const fs::path& file) { return !is_tar(file); });
  return shards;
}

std::shared_ptr<const TarTree> tar_tree(const fs::path& path) {
  if (!fs::is_directory(path)) return std::make_shared<const TarTree>(path);
  const std::vector<fs::path> shards = shards_in(path);
  if (shards.empty()) throw IoError(path, "holds no .tar file");
  return std::make_shared<const TarTree>(shards);
}

}  // namespace

bool is_tar_folder(const fs::path& folder) {
  const std::vector<fs::path> files = files_in(folder);
  const auto holds_images = [](const fs::path& file) {
    return is_image_name(file.filename().string()) || fs::is_directory(file);
  };
  return std::any_of(files.begin(), files.end(), is_tar) &&
         std::none_of(files.begin(), files.end(), holds_images);
}

std::unique_ptr<Dataset> open_image_tar(const fs::path& path, const ImageOptions& options) {
  const std::string kind = fs::is_directory(path) ? "folder of tar archives" : "tar archive";
  return open_images(source_of(tar_tree(path), kind, path), options);
}

}  // namespace ddpm::data
