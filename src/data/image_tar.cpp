#include "image_tar.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/io/tar.h"
#include "folder_listing.h"
#include "image_files.h"

#include <algorithm>
#include <map>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

// One or several archives as one tree of files.
class TarTree {
 public:
  explicit TarTree(const fs::path& path) {
    if (!fs::is_directory(path)) {
      shards_.emplace("", path);
      return;
    }
    for (const fs::path& file : files_in(path))
      if (is_tar(file)) shards_.emplace(file.filename().string() + "/", file);
    if (shards_.empty()) throw IoError(path, "holds no .tar file");
  }
  static bool is_tar(const fs::path& file) {
    return lowercase(file.extension().string()) == ".tar";
  }

  Catalogue list() const {
    Catalogue result;
    for (const auto& [prefix, archive] : shards_) {
      const int64_t modified = time_of_archive(archive.path());
      for (const std::string& name : archive.names())
        add_archived_(result, prefix + name, archive.size_of(name), modified);
    }
    std::sort(result.files.begin(), result.files.end(),
              [](const FileRecord& a, const FileRecord& b) { return a.name < b.name; });
    return result;
  }
  std::vector<uint8_t> read(const std::string& name, uint64_t count) const {
    const auto [archive, inner] = place_of(name);
    return archive->read_beginning(inner, count);
  }
  std::optional<uint64_t> size_of(const std::string& name) const {
    const auto [archive, inner] = place_of(name);
    if (archive == nullptr || !archive->contains(inner)) return std::nullopt;
    return archive->size_of(inner);
  }

 private:
  // The archive of a file and its name there; nullptr if no archive can have it.
  std::pair<const io::TarReader*, std::string> place_of(const std::string& name) const {
    if (const auto single = shards_.find(""); single != shards_.end())
      return {&single->second, name};
    const size_t end = name.find('/');
    if (end == std::string::npos) return {nullptr, ""};
    const auto shard = shards_.find(name.substr(0, end + 1));
    if (shard == shards_.end()) return {nullptr, ""};
    return {&shard->second, name.substr(end + 1)};
  }

  std::map<std::string, io::TarReader> shards_;  // by the beginning of its files' names
};

}  // namespace

bool is_tar_folder(const fs::path& folder) {
  const std::vector<fs::path> files = files_in(folder);
  const auto holds_images = [](const fs::path& file) {
    return is_image_name(file.filename().string()) || fs::is_directory(file);
  };
  return std::any_of(files.begin(), files.end(), TarTree::is_tar) &&
         std::none_of(files.begin(), files.end(), holds_images);
}

std::unique_ptr<Dataset> open_image_tar(const fs::path& path, const ImageOptions& options) {
  const auto tree = std::make_shared<const TarTree>(path);
  ImageSource source;
  source.kind = fs::is_directory(path) ? "folder of tar archives" : "tar archive";
  source.root = path;
  source.list = [tree] { return tree->list(); };
  source.read = [tree](const std::string& name) { return tree->read(name, UINT64_MAX); };
  source.beginning = [tree](const std::string& name) { return tree->read(name, kHeaderBytes); };
  source.size_of = [tree](const std::string& name) { return tree->size_of(name); };
  return open_images(std::move(source), options);
}

}  // namespace ddpm::data
