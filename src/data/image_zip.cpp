#include "image_zip.h"

#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"
#include "image_files.h"

#include <algorithm>
#include <chrono>
#include <system_error>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

// Every file has the archive's modification time.
Catalogue list_entries(const io::ZipReader& archive) {
  std::error_code error;
  const auto modified = fs::last_write_time(archive.path(), error).time_since_epoch();
  Catalogue result;
  for (const std::string& name : archive.names()) {
    if (!is_image_name(name)) {
      pass_over(result, name);
      continue;
    }
    FileRecord file;
    file.name = name;
    file.modified = std::chrono::duration_cast<std::chrono::nanoseconds>(modified).count();
    file.size = archive.size_of(name);
    result.files.push_back(std::move(file));
  }
  return result;
}

}  // namespace

std::unique_ptr<Dataset> open_image_zip(const fs::path& archive, const ImageOptions& options) {
  const auto reader = std::make_shared<const io::ZipReader>(archive);
  ImageSource source;
  source.kind = "zip archive";
  source.root = archive;
  source.list = [reader] { return list_entries(*reader); };
  source.read = [reader](const std::string& name) { return reader->read(name); };
  source.beginning = [reader](const std::string& name) {
    return reader->size_of(name) <= kHeaderBytes ? reader->read(name)
                                                 : reader->read_beginning(name, kHeaderBytes);
  };
  source.size_of = [reader](const std::string& name) -> std::optional<uint64_t> {
    const auto& names = reader->names();
    if (!std::binary_search(names.begin(), names.end(), name)) return std::nullopt;
    return reader->size_of(name);
  };
  return open_images(std::move(source), options);
}

}  // namespace ddpm::data
