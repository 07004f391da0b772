#include "ddpm/base/error.h"
#include "ddpm/io/file.h"

#include <system_error>

#include <fmt/format.h>

namespace ddpm::io {

namespace fs = std::filesystem;

void make_folder(const fs::path& folder, const std::string& way_out) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    throw IoError(folder, fmt::format("cannot be made: {}{}{}", error.message(),
                                      way_out.empty() ? "" : "; ", way_out));
}

fs::path existing_folder(const fs::path& folder) {
  std::error_code ignored;
  for (fs::path at = fs::absolute(folder); at != at.root_path(); at = at.parent_path()) {
    if (fs::is_directory(at, ignored)) return at;
  }
  return "/";
}

void expect_folder_of(const fs::path& destination) {
  const fs::path parent = fs::absolute(destination).parent_path();
  if (!fs::is_directory(parent))
    throw IoError(
        destination,
        fmt::format("cannot be written: there is no folder {}; make it first", parent.string()));
}

void expect_absent(const fs::path& destination) {
  if (fs::exists(fs::symlink_status(destination)))
    throw IoError(destination, "already exists; remove it or choose another name");
  expect_folder_of(destination);
}

void write_folder_atomic(const fs::path& destination,
                         const std::function<void(const fs::path&)>& fill) {
  expect_absent(destination);
  const fs::path folder = temporary_name(fs::absolute(destination));
  try {
    fs::create_directory(folder);
    fill(folder);
    sync_directory(folder);
    rename_path(folder, fs::absolute(destination));
    sync_directory(fs::absolute(destination).parent_path());
  } catch (const fs::filesystem_error& error) {
    remove_tree(folder);
    throw IoError(destination, fmt::format("cannot be written: {}", error.code().message()));
  } catch (...) {
    remove_tree(folder);
    throw;
  }
}

}  // namespace ddpm::io
