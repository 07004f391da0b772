#include "ddpm/data/image_zip.h"

#include "ddpm/data/image_files.h"
#include "ddpm/io/archive.h"

#include <algorithm>
#include <iterator>

namespace ddpm::data {

std::unique_ptr<Dataset> open_image_zip(const std::filesystem::path& archive,
                                        const ImageOptions& options) {
  const auto reader = std::make_shared<const io::ZipReader>(archive);
  const auto read = [reader](const std::string& name) { return reader->read(name); };
  ImageSource source{"zip archive", archive, {}, read, read};
  std::copy_if(reader->names().begin(), reader->names().end(), std::back_inserter(source.names),
               is_image_name);
  return open_images(std::move(source), options);
}

}  // namespace ddpm::data
