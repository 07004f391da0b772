#include "image_lmdb.h"

#include "archive_tree.h"
#include "ddpm/base/error.h"
#include "ddpm/io/lmdb.h"

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;
using LmdbTree = ArchiveTree<io::LmdbReader>;

std::vector<fs::path> databases_in(const fs::path& folder) {
  std::vector<fs::path> found = files_in(folder);
  std::erase_if(found, [](const fs::path& entry) {
    return !fs::is_directory(entry) || !io::LmdbReader::is_database(entry);
  });
  return found;
}

std::shared_ptr<const LmdbTree> lmdb_tree(const fs::path& path) {
  if (io::LmdbReader::is_database(path)) return std::make_shared<const LmdbTree>(path);
  const std::vector<fs::path> databases = databases_in(path);
  if (databases.empty()) throw IoError(path, "holds no LMDB database (data.mdb)");
  return std::make_shared<const LmdbTree>(databases);
}

}  // namespace

bool is_lmdb_folder(const fs::path& folder) {
  if (io::LmdbReader::is_database(folder)) return true;
  const std::vector<fs::path> files = files_in(folder);
  return !databases_in(folder).empty() &&
         std::none_of(files.begin(), files.end(),
                      [](const fs::path& file) { return is_image_name(file.filename().string()); });
}

std::unique_ptr<Dataset> open_image_lmdb(const fs::path& path, const ImageOptions& options) {
  const std::string kind =
      io::LmdbReader::is_database(path) ? "LMDB database" : "folder of LMDB databases";
  return open_images(source_of(lmdb_tree(path), kind, path), options);
}

}  // namespace ddpm::data
