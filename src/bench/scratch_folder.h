#pragma once

#include <filesystem>

namespace ddpm::bench {

/// A folder for files that are measured: made by the constructor (IoError), removed by the
/// destructor.
class ScratchFolder {
 public:
  explicit ScratchFolder(std::filesystem::path path);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Removes a folder while other threads write to it: renames it and creates a file with its old
/// name, so that no thread can write there again.
void remove_in_use(const std::filesystem::path& folder);

}  // namespace ddpm::bench
