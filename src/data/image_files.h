#pragma once

#include "catalogue.h"
#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"
#include "image_names.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::data {

/// Bytes that usually include an image's header, except after large metadata.
inline constexpr size_t kHeaderBytes = 64 * 1024;

/// Encoded image files below one root: a folder or a zip archive. Names are paths below the root.
/// All functions but `list` are thread-safe.
struct ImageSource {
  std::string kind;                 ///< "image folder", for messages
  std::filesystem::path root;       ///< the folder or archive
  std::function<Catalogue()> list;  ///< the files, not opened
  /// `beginning` gives at least kHeaderBytes, or the complete file.
  std::function<std::vector<uint8_t>(const std::string&name)> read, beginning;
  /// In bytes; none if the file does not exist.
  std::function<std::optional<uint64_t>(const std::string& name)> size_of;
};

/// Reads the header of every file (a file of up to kHeaderBytes completely) that options.index does
/// not know, with options.workers threads. options.bad_images decides about damaged files; those
/// left out are listed in warnings (kSkip) and by skipped(). Throws IoError if there is no readable
/// image, or, without options.size, if sizes differ.
std::unique_ptr<Dataset> open_images(ImageSource source, const ImageOptions& options);

}  // namespace ddpm::data
