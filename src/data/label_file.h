#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::data {

/// One entry of a list of labels.
struct FileLabel {
  std::string file;  ///< as in the list, with '/'
  std::string label;
};

/// Whether a column of this name holds the files: file_name, filename, file, image, path, id, ...
bool is_file_column(const std::string& name);

/// A table of file names and labels, separated by comma, semicolon or tab, fields quoted or not
/// (RFC 4180). A first line may name the columns: file_name (or filename, file, image, path, id)
/// and label (or class, category, target, y). Without one there are two columns. Throws IoError.
std::vector<FileLabel> parse_label_table(const std::string& text,
                                         const std::filesystem::path& path);

/// One JSON object per line, as in a metadata.jsonl, with the table's column names as keys. Throws
/// IoError if a label is neither a string nor an integer.
std::vector<FileLabel> parse_label_lines(const std::string& text,
                                         const std::filesystem::path& path);

/// {"labels": [["00000/img00000000.png", 6], ...]} as written by EDM's and StyleGAN's tools; labels
/// are integers from 0. Empty if "labels" is null; none if the object has no such key. Throws
/// IoError if it is not a JSON object, or if a label is a vector.
std::optional<std::vector<FileLabel>> parse_dataset_json(const std::string& text,
                                                         const std::filesystem::path& path);

}  // namespace ddpm::data
