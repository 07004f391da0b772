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

/// Enough of a file to hold its header, unless it begins with large blocks of other things.
inline constexpr size_t kHeaderBytes = 64 * 1024;

/// Encoded image files below one root: what a folder and a zip archive have in common. Names are
/// paths below the root. All functions but `list` may be called by many threads at once.
struct ImageSource {
  std::string kind;                 ///< "image folder", for people
  std::filesystem::path root;       ///< the folder or archive
  std::function<Catalogue()> list;  ///< the files, nothing of them looked at
  /// `beginning` gives at least kHeaderBytes, or the whole file.
  std::function<std::vector<uint8_t>(const std::string&name)> read, beginning;
  /// In bytes; none if there is no such file.
  std::function<std::optional<uint64_t>(const std::string& name)> size_of;
};

/// Looks at the header of every file (and at the whole of one of up to kHeaderBytes), with
/// options.workers threads, unless options.index knows it already. What becomes of damaged files,
/// options.bad_images says; those that are left out are named in warnings (kSkip) and by skipped().
/// Without options.size, a file whose size is unlike the first one's is an IoError. Throws IoError
/// if there is no readable image.
std::unique_ptr<Dataset> open_images(ImageSource source, const ImageOptions& options);

}  // namespace ddpm::data
