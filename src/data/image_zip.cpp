#include "image_zip.h"

#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"
#include "image_files.h"

#include <algorithm>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

Catalogue list_entries(const io::ZipReader& archive) {
  const int64_t modified = time_of_archive(archive.path());
  Catalogue result;
  for (const std::string& name : archive.names())
    add_archived_(result, name, archive.size_of(name), modified);
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
