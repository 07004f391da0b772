#include "image_lmdb.h"

#include "ddpm/base/error.h"
#include "ddpm/io/lmdb.h"
#include "folder_listing.h"
#include "image_files.h"

#include <algorithm>
#include <map>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> databases_in(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const fs::path& entry : files_in(folder))
    if (fs::is_directory(entry) && io::LmdbReader::is_database(entry)) found.push_back(entry);
  return found;
}

// One or several databases as one tree of files.
class LmdbTree {
 public:
  explicit LmdbTree(const fs::path& path) {
    if (io::LmdbReader::is_database(path)) {
      databases_.emplace("", path);
      return;
    }
    for (const fs::path& folder : databases_in(path))
      databases_.emplace(folder.filename().string() + "/", folder);
    if (databases_.empty()) throw IoError(path, "holds no LMDB database (data.mdb)");
  }

  Catalogue list() const {
    Catalogue result;
    for (const auto& [prefix, database] : databases_) {
      const int64_t modified = time_of_archive(database.path() / "data.mdb");
      for (const std::string& name : database.names())
        add_archived_(result, prefix + name, database.size_of(name), modified);
    }
    std::sort(result.files.begin(), result.files.end(),
              [](const FileRecord& a, const FileRecord& b) { return a.name < b.name; });
    return result;
  }
  std::vector<uint8_t> read(const std::string& name, uint64_t count) const {
    const auto [database, key] = place_of(name);
    if (database == nullptr) throw IoError(name, "is in no database");
    return database->read(key, count);
  }
  std::optional<uint64_t> size_of(const std::string& name) const {
    const auto [database, key] = place_of(name);
    if (database == nullptr || !database->contains(key)) return std::nullopt;
    return database->size_of(key);
  }

 private:
  std::pair<const io::LmdbReader*, std::string> place_of(const std::string& name) const {
    const size_t end = name.find('/');
    const size_t begin = end == std::string::npos ? 0 : end + 1;
    const auto found = databases_.find(name.substr(0, begin));
    if (found == databases_.end()) return {nullptr, ""};
    return {&found->second, name.substr(begin)};
  }

  std::map<std::string, io::LmdbReader> databases_;  // by the beginning of their images' names
};

}  // namespace

bool is_lmdb_folder(const fs::path& folder) {
  if (io::LmdbReader::is_database(folder)) return true;
  const std::vector<fs::path> files = files_in(folder);
  return !databases_in(folder).empty() &&
         std::none_of(files.begin(), files.end(),
                      [](const fs::path& file) { return is_image_name(file.filename().string()); });
}

std::unique_ptr<Dataset> open_image_lmdb(const fs::path& path, const ImageOptions& options) {
  const auto tree = std::make_shared<const LmdbTree>(path);
  ImageSource source;
  source.kind = io::LmdbReader::is_database(path) ? "LMDB database" : "folder of LMDB databases";
  source.root = path;
  source.list = [tree] { return tree->list(); };
  source.read = [tree](const std::string& name) { return tree->read(name, UINT64_MAX); };
  source.beginning = [tree](const std::string& name) { return tree->read(name, kHeaderBytes); };
  source.size_of = [tree](const std::string& name) { return tree->size_of(name); };
  return open_images(std::move(source), options);
}

}  // namespace ddpm::data
