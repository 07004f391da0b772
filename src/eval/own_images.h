#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/dist/world.h"
#include "ddpm/eval/jackknife.h"

#include <cstdint>
#include <functional>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// The images of a list that this rank measures: whole batches in turn. The batches are those of a
/// single process, so every image has the same numbers.
class OwnImages {
 public:
  OwnImages(const std::vector<int64_t>& images, int64_t batch, const dist::World& world);

  int64_t size() const { return static_cast<int64_t>(own_.size()); }

  /// A batch as a network takes it, on its device.
  struct Batch {
    int64_t first;          ///< images of this rank before it
    int64_t place;          ///< of its first image in the list of all ranks
    torch::Tensor x0;       ///< [B,C,H,W] in [-1,1]
    torch::Tensor ids;      ///< int64 [B]: indices in the data set
    torch::Tensor labels;   ///< int64 [B]
    torch::Tensor vectors;  ///< float32 [B,D]; undefined if the data has none
  };
  /// Reads them one batch ahead. Throws IoError.
  void visit(const data::Dataset& dataset, const torch::Device& device, torch::Dtype dtype,
             const std::function<void(const Batch&)>& sink) const;

 private:
  std::vector<int64_t> places_, own_;
  int64_t batch_;
};

/// The mean of one number per image, and its standard error; NaN for a single image.
Measured mean_of_images(const torch::Tensor& x);

/// Sums a table over the ranks. If each rank has its own images' numbers, and zeros elsewhere, the
/// sums have the same bits as the table of a single process.
void sum_over_ranks_(torch::Tensor& table, const dist::World& world, const torch::Device& device);

}  // namespace ddpm::eval
