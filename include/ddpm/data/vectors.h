#pragma once

#include "ddpm/data/dataset.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

// Numbers that images come with: several labels, or any measurements (docs/data.md).

namespace ddpm::data {

/// The most numbers per image.
inline constexpr int64_t kMaxVectorWidth = 1024;

/// The content of a file of vectors.
struct VectorTable {
  std::vector<std::string> columns;  ///< D names, each once
  std::vector<std::string> files;    ///< the image of each row; empty: row i is that of image i
  std::vector<int64_t> lines;        ///< of each row in a text; empty: an array
  torch::Tensor rows;                ///< float32 [N,D] on the CPU, finite
};

/// Reads a table by its ending:
///   .csv, .tsv, .txt  a line of column names, then one line per image, separated by commas, tabs,
///                     semicolons or, in a .txt, spaces. A first column with file names is one whose
///                     cells are no numbers, or whose name is file_name, image, ... (as in
///                     data.labels), or that the line of names leaves out. A .txt may begin with a
///                     line that holds the number of rows (list_attr_celeba.txt).
///   .npy, .npz        an array [N,D] or [N]; in a .npz "vectors", or the only one. Columns are
///                     named 0 to D-1.
/// Throws IoError, which names line, column and value.
VectorTable read_vector_table(const std::filesystem::path& path);

/// The rows of the images `names`, paths below the data's root, by name or, where that is unique,
/// by name without folders: float32 [names,D]. A table without file names goes by order. Throws
/// IoError(path, ...) if an image has no row or several, or the counts differ.
torch::Tensor vectors_of_images(const VectorTable& table, const std::vector<std::string>& names,
                                const std::filesystem::path& path);

/// The same images with the vectors of a file; images without names are called 0, 1, .... Throws
/// IoError.
std::unique_ptr<Dataset> with_vectors(std::shared_ptr<const Dataset> images,
                                      const std::filesystem::path& path);

}  // namespace ddpm::data
