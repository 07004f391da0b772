#include "ddpm/eval/feature_set.h"

#include "ddpm/base/progress.h"

#include <algorithm>
#include <optional>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

// Vectors at places first, first + 1, ... of the set, each to its group.
void add_to_groups(std::vector<Moments>& groups, int64_t count, int64_t first,
                   const torch::Tensor& vectors) {
  if (groups.empty()) groups.assign(count, Moments(vectors.size(1)));
  for (int64_t i = 0; i < std::min(count, vectors.size(0)); ++i)
    groups[(first + i) % count].add(vectors.slice(0, i, torch::nullopt, count));
}

// The rows of a matrix of all vectors that are kept.
class KeptRows {
 public:
  KeptRows(int64_t count, int64_t stride) : rows_((count + stride - 1) / stride), stride_(stride) {}
  void add(int64_t first, const torch::Tensor& vectors) {
    if (!matrix_.defined()) matrix_ = torch::zeros({rows_, vectors.size(1)}, torch::kFloat);
    const int64_t skip = (stride_ - first % stride_) % stride_;
    if (skip >= vectors.size(0)) return;
    const torch::Tensor kept = vectors.slice(0, skip, torch::nullopt, stride_);
    matrix_.narrow(0, (first + skip) / stride_, kept.size(0)).copy_(kept);
  }
  // Every rank has its own rows, and zeros elsewhere.
  torch::Tensor gather(const dist::World& world, const torch::Device& device) {
    if (world.size() == 1 || !matrix_.defined()) return matrix_;
    const torch::Tensor sum = matrix_.to(device);
    world.all_reduce_sum_({sum});
    return sum.cpu();
  }

 private:
  int64_t rows_, stride_;
  torch::Tensor matrix_;
};

}  // namespace

FeatureSet collect(const ImageSource& source, const std::vector<int64_t>& images,
                   const FeatureExtractor& extractor, const CollectOptions& options,
                   const dist::World& world) {
  FeatureSet set;
  set.count = static_cast<int64_t>(images.size());
  TORCH_CHECK(set.count >= std::max<int64_t>(2, world.size()), "too few images: ", set.count);
  const int64_t begin = world.rank() * set.count / world.size();
  const int64_t end = (world.rank() + 1) * set.count / world.size();
  if (options.keep > 0) set.stride = (set.count + options.keep - 1) / options.keep;
  const int64_t groups = std::clamp<int64_t>(set.count / 2, 2, options.groups);
  KeptRows features(set.count, set.stride), logits(set.count, set.stride);

  std::optional<Progress> progress;
  if (world.is_main() && !options.title.empty()) progress.emplace(options.title, end - begin);
  source({images.begin() + begin, images.begin() + end},
         [&](int64_t first, const torch::Tensor& batch) {
           const Features f = extractor.extract(batch);
           add_to_groups(set.groups, groups, begin + first, f.pooled);
           if (f.spatial.defined())
             add_to_groups(set.spatial_groups, groups, begin + first, f.spatial);
           if (options.keep > 0) {
             features.add(begin + first, f.pooled);
             if (f.logits.defined()) logits.add(begin + first, f.logits);
           }
           if (progress) progress->update(first + batch.size(0));
         });

  Moments::all_reduce_(set.groups, world, options.device);
  Moments::all_reduce_(set.spatial_groups, world, options.device);
  set.features = features.gather(world, options.device);
  set.logits = logits.gather(world, options.device);
  return set;
}

}  // namespace ddpm::eval
