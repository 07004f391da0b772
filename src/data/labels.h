#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::data {

/// The class of each image.
struct ImageLabels {
  std::vector<std::string> classes;  ///< names of the labels 0, 1, ..., in natural order
  std::vector<int64_t> labels;       ///< one per image, or empty: no labels
  std::string remark;                ///< a note for the user, or ""
};

/// From the first-level folders; none if an image is not in a folder. Leading folders that all
/// images share are skipped as long as all images are in folders below them.
ImageLabels labels_from_folders(const std::vector<std::string>& names);

/// From the file's name up to its first "_", as in cat_001.png. Throws IoError if one has none.
ImageLabels labels_from_prefixes(const std::vector<std::string>& names,
                                 const std::filesystem::path& root);

/// Where to find labels.
struct LabelSource {
  std::filesystem::path root;  ///< the folder or archive, for messages
  /// The content of a file below it; none if the file does not exist.
  std::function<std::optional<std::string>(const std::string& name)> find;
};

/// The labels of the images `names` (paths below the source's root, with '/') for a data.labels
/// `how`:
///   auto      dataset.json of the source, as written by EDM's and StyleGAN's tools, if it exists;
///             else as folders, unless the folders are such a tool's chunks
///   folders   labels_from_folders, which must succeed
///   prefix    labels_from_prefixes
///   none      no labels
///   else the path of a file, on the disk or in the source, that lists file names and labels: .csv
///             or .tsv, .jsonl (one object of file_name and label per line), .json (dataset.json)
/// Throws IoError if an image has no label or several classes, or if the file is not readable.
ImageLabels read_labels(const std::string& how, const std::vector<std::string>& names,
                        const LabelSource& source);

}  // namespace ddpm::data
