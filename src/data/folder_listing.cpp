#include "folder_listing.h"

#include "ddpm/base/error.h"
#include "image_files.h"

#include <algorithm>
#include <system_error>

#include <fmt/format.h>
#include <sys/stat.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

bool is_within(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

class Walk {
 public:
  explicit Walk(fs::path root) : root_(std::move(root)) {}

  Catalogue run() {
    visit(root_);
    const auto by_name = [](const FileRecord& a, const FileRecord& b) { return a.name < b.name; };
    std::sort(result_.files.begin(), result_.files.end(), by_name);
    return std::move(result_);
  }

 private:
  void visit(const fs::path& folder) {
    std::error_code error;
    above_.push_back(fs::canonical(folder, error));
    for (const fs::path& path : files_in(folder)) take(path);
    above_.pop_back();
  }

  void take(const fs::path& path) {
    const std::string name = path.lexically_relative(root_).generic_string();
    if (is_hidden_name(name)) return;
    struct stat status {};
    const bool link = ::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
    if (link && ::stat(path.c_str(), &status) != 0) return take_dangling(path, name);
    if (S_ISDIR(status.st_mode)) {
      if (!link || !leads_back(path)) visit(path);
    } else if (is_image_name(name) && S_ISREG(status.st_mode)) {
      FileRecord file;
      file.name = name;
      file.size = static_cast<uint64_t>(status.st_size);
      file.modified = int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
      result_.files.push_back(std::move(file));
    } else {
      pass_over(result_, name);
    }
  }

  // The target may have been an image or a folder of images.
  void take_dangling(const fs::path& path, const std::string& name) {
    std::error_code error;
    const std::string problem =
        fmt::format("is a link to {}, which cannot be reached; mend or remove it",
                    fs::read_symlink(path, error).string());
    if (is_image_name(name)) {
      FileRecord file;
      file.name = name;
      file.problem = problem;
      result_.files.push_back(std::move(file));
    } else {
      result_.remarks.push_back(fmt::format("{} {}", path.string(), problem));
    }
  }

  // Whether the link leads to a folder that contains it: following it would never end.
  bool leads_back(const fs::path& link) {
    std::error_code error;
    const fs::path target = fs::canonical(link, error);
    const bool back = std::any_of(above_.begin(), above_.end(), [&](const fs::path& folder) {
      return is_within(folder, target);
    });
    if (back) {
      result_.remarks.push_back(fmt::format("{} is a link back to {} and is not followed",
                                            link.string(), target.string()));
    }
    return back;
  }

  fs::path root_;
  std::vector<fs::path> above_;  // present folder and its parents, links resolved, outermost first
  Catalogue result_;
};

// For data sets of the script, at the paths where it puts them.
std::string way_to_fetch(const fs::path& path) {
  const fs::path below = path.lexically_normal();
  auto part = below.begin();
  if (part == below.end() || *part != "data" || ++part == below.end()) return "";
  for (const char* name : {"mnist", "fashion_mnist", "cifar10"}) {
    if (*part == name) return fmt::format("; scripts/fetch_data.sh {} downloads it", name);
  }
  return "";
}

}  // namespace

void expect_exists(const fs::path& path, bool has_config) {
  std::error_code error;
  if (fs::exists(path, error)) return;
  const std::string fetch = way_to_fetch(path);
  throw IoError(path,
                "does not exist" + (fetch.empty() && has_config ? "; check data.path" : fetch));
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> paths;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    paths.push_back(it->path());
  if (error) {
    throw IoError(folder, fmt::format("cannot be listed ({}); make it readable, or move it away",
                                      error.message()));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Catalogue list_images(const fs::path& folder) { return Walk(folder).run(); }

}  // namespace ddpm::data
