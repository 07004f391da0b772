#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::data {

/// One line of a file that lists labels.
struct FileLabel {
  std::string file;  ///< as the list names it, with '/'
  std::string label;
};

/// A table of file names and labels, separated by comma, semicolon or tab, fields quoted or not
/// (RFC 4180). A first line may name the columns: file_name (or filename, file, image, path, id)
/// and label (or class, category, target, y). Without one there are two columns. Throws IoError.
std::vector<FileLabel> parse_label_table(const std::string& text,
                                         const std::filesystem::path& path);

/// One JSON object per line, as in a metadata.jsonl, with keys named as the table's columns. Throws
/// IoError if a label is neither text nor an integer.
std::vector<FileLabel> parse_label_lines(const std::string& text,
                                         const std::filesystem::path& path);

/// {"labels": [["00000/img00000000.png", 6], ...]} as EDM's and StyleGAN's tools write it: labels
/// are integers from 0. Empty if "labels" is null; none if the object has no such key. Throws
/// IoError if it is no JSON object, or a label is a vector.
std::optional<std::vector<FileLabel>> parse_dataset_json(const std::string& text,
                                                         const std::filesystem::path& path);

}  // namespace ddpm::data
