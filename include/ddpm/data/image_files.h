#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/data/transform.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ddpm::data {

/// Enough of a file to hold its header, unless it begins with large blocks of other things.
inline constexpr size_t kHeaderBytes = 64 * 1024;

/// Encoded image files below one root: what a folder and a zip archive have in common.
struct ImageSource {
  std::string kind;                ///< "image folder", for people
  std::filesystem::path root;      ///< the folder or archive
  std::vector<std::string> names;  ///< paths below root, with '/', sorted
  /// Both for many threads at once. `beginning` gives at least kHeaderBytes, or the whole file.
  std::function<std::vector<uint8_t>(const std::string&name)> read, beginning;
};

/// Is the path that of an image: ending in png, jpg, jpeg, bmp, tga, pgm or ppm (either case), with
/// no hidden part (".name", as in "._name", or "__MACOSX")?
bool is_image_name(const std::string& name);

/// Class names (sorted) and each file's class, from the first-level folders; none where an image
/// lies in no folder. Folders that every image shares are passed over as long as all images lie in
/// folders below them.
struct FolderLabels {
  std::vector<std::string> classes;
  std::vector<int64_t> labels;  ///< one a name, or empty
};
FolderLabels labels_from_folders(const std::vector<std::string>& names);

/// Looks at the header of every file (and at the whole of one of up to kHeaderBytes), with
/// options.workers threads. What becomes of damaged files, options.bad_images says; those that are
/// left out are named in warnings (kSkip) and by skipped(). Without options.size, a file whose size
/// is unlike the first one's is an IoError. Throws IoError where there is no readable image.
std::unique_ptr<Dataset> open_images(ImageSource source, const ImageOptions& options);

}  // namespace ddpm::data
