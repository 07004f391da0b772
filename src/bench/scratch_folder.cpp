#include "scratch_folder.h"

#include "ddpm/io/file.h"

#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace ddpm::bench {

namespace fs = std::filesystem;

ScratchFolder::ScratchFolder(fs::path path) : path_(std::move(path)) { io::make_folder(path_); }

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void remove_in_use(const fs::path& folder) {
  std::error_code ignored;
  std::vector<fs::path> aside;
  for (int i = 0; i < 100 && fs::is_directory(folder, ignored); ++i) {
    aside.push_back(folder.string() + "-" + std::to_string(i));
    fs::rename(folder, aside.back(), ignored);
    std::ofstream(folder).flush();
  }
  for (const fs::path& path : aside) {
    for (int i = 0; i < 100 && fs::exists(path, ignored); ++i) fs::remove_all(path, ignored);
  }
  fs::remove(folder, ignored);
}

}  // namespace ddpm::bench
