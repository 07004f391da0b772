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
  std::string remark;                ///< what a person should know of them, or ""
};

/// From the first-level folders; none if an image lies in no folder. Folders that every image
/// shares are passed over as long as all images lie in folders below them.
ImageLabels labels_from_folders(const std::vector<std::string>& names);

/// From the file's name up to its first "_", as in cat_001.png. Throws IoError if one has none.
ImageLabels labels_from_prefixes(const std::vector<std::string>& names,
                                 const std::filesystem::path& root);

/// What labels are looked for in.
struct LabelSource {
  std::filesystem::path root;  ///< the folder or archive, for messages
  /// The content of a file below it; none if there is no such file.
  std::function<std::optional<std::string>(const std::string& name)> find;
};

/// The labels of the images `names` (paths below the source's root, with '/') as data.labels says:
///   auto      dataset.json of the source, as EDM's and StyleGAN's tools write it, if there is one;
///             else as folders, unless the folders are such a tool's chunks
///   folders   labels_from_folders, which must succeed
///   prefix    labels_from_prefixes
///   none      no labels
///   else the path of a file, on the disk or in the source, that lists file names and labels: .csv
///             or .tsv, .jsonl (one object of file_name and label per line), .json (dataset.json)
/// Throws IoError if an image has no label or another than one class, or the file is unreadable.
ImageLabels read_labels(const std::string& how, const std::vector<std::string>& names,
                        const LabelSource& source);

}  // namespace ddpm::data
