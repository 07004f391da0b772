#pragma once

#include "catalogue.h"
#include "ddpm/base/error.h"
#include "folder_listing.h"
#include "image_files.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ddpm::data {

/// One or several archives as one tree of files. With several, the name of a file begins with that of
/// its archive. Reader has names(), size_of(name), contains(name), read_beginning(name, count),
/// and file(): what it was read from, whose time is that of all its files. All thread-safe.
template <class Reader>
class ArchiveTree {
 public:
  /// The archive itself.
  explicit ArchiveTree(const std::filesystem::path& archive) { archives_.emplace("", archive); }
  explicit ArchiveTree(const std::vector<std::filesystem::path>& archives) {
    for (const std::filesystem::path& archive : archives)
      archives_.emplace(archive.filename().string() + "/", archive);
  }

  Catalogue list() const {
    Catalogue result;
    for (const auto& [prefix, archive] : archives_) {
      const int64_t modified = time_of_archive(archive.file());
      for (const std::string& name : archive.names())
        add_archived_(result, prefix + name, archive.size_of(name), modified);
    }
    std::sort(result.files.begin(), result.files.end(),
              [](const FileRecord& a, const FileRecord& b) { return a.name < b.name; });
    return result;
  }
  std::vector<uint8_t> read(const std::string& name, uint64_t count) const {
    const auto [archive, inner] = place_of(name);
    if (archive == nullptr) throw IoError(name, "is in no archive");
    return archive->read_beginning(inner, count);
  }
  std::optional<uint64_t> size_of(const std::string& name) const {
    const auto [archive, inner] = place_of(name);
    if (archive == nullptr || !archive->contains(inner)) return std::nullopt;
    return archive->size_of(inner);
  }

 private:
  // The archive of a file and its name there; nullptr if no archive can have it.
  std::pair<const Reader*, std::string> place_of(const std::string& name) const {
    if (const auto single = archives_.find(""); single != archives_.end())
      return {&single->second, name};
    const size_t end = name.find('/');
    if (end == std::string::npos) return {nullptr, ""};
    const auto archive = archives_.find(name.substr(0, end + 1));
    if (archive == archives_.end()) return {nullptr, ""};
    return {&archive->second, name.substr(end + 1)};
  }

  std::map<std::string, Reader> archives_;  // by the beginning of their files' names
};

/// The tree's images; `kind` and `root` as in ImageSource.
template <class Reader>
ImageSource source_of(std::shared_ptr<const ArchiveTree<Reader>> tree, const std::string& kind,
                      const std::filesystem::path& root) {
  ImageSource source;
  source.kind = kind;
  source.root = root;
  source.list = [tree] { return tree->list(); };
  source.read = [tree](const std::string& name) { return tree->read(name, UINT64_MAX); };
  source.beginning = [tree](const std::string& name) { return tree->read(name, kHeaderBytes); };
  source.size_of = [tree](const std::string& name) { return tree->size_of(name); };
  return source;
}

}  // namespace ddpm::data
