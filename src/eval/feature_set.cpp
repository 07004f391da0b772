#include "ddpm/base/progress.h"
#include "ddpm/eval/features.h"

#include <algorithm>
#include <optional>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

constexpr int64_t kPending = 128;           // vectors of a group that are added together
constexpr int64_t kGatherBytes = 64 << 20;  // of kept vectors, per exchange between the ranks

// The moments of each group of vectors. Several vectors are added together, because each addition
// changes the full covariance of 2,048 features.
class GroupedMoments {
 public:
  GroupedMoments(torch::Tensor ids, int64_t count) : ids_(std::move(ids)), count_(count) {}
  // Vectors first, first + 1, ... of the set.
  void add(int64_t first, const torch::Tensor& vectors) {
    if (moments_.empty()) {
      moments_.assign(count_, Moments(vectors.size(1)));
      pending_.assign(count_, vectors.slice(0, 0, 0));
    }
    const torch::Tensor ids = ids_.slice(0, first, first + vectors.size(0));
    for (int64_t g = 0; g < count_; ++g) {
      const torch::Tensor rows = (ids == g).nonzero().squeeze(1);
      if (rows.numel() == 0) continue;
      pending_[g] = torch::cat({pending_[g], vectors.index_select(0, rows.to(vectors.device()))});
      if (pending_[g].size(0) >= kPending) flush(g);
    }
  }
  std::vector<Moments> finish() {
    for (size_t g = 0; g < moments_.size(); ++g) flush(g);
    return std::move(moments_);
  }

 private:
  void flush(size_t g) {
    moments_[g].add(pending_[g]);
    pending_[g] = pending_[g].slice(0, 0, 0);
  }

  torch::Tensor ids_;
  int64_t count_;
  std::vector<Moments> moments_;
  std::vector<torch::Tensor> pending_;
};

// A matrix of the vectors that are kept.
class KeptRows {
 public:
  KeptRows(int64_t count, int64_t bytes) : count_(count), bytes_(bytes) {}
  void add(int64_t first, const torch::Tensor& vectors) {
    if (!matrix_.defined()) allocate(vectors.size(1));
    const int64_t skip = (stride_ - first % stride_) % stride_;
    if (skip >= vectors.size(0)) return;
    const torch::Tensor kept = vectors.slice(0, skip, torch::nullopt, stride_);
    matrix_.narrow(0, (first + skip) / stride_, kept.size(0)).copy_(kept);
  }
  int64_t stride() const { return stride_; }
  // Sums the ranks' matrices: each has its own rows, and zeros elsewhere.
  torch::Tensor gather(const dist::World& world, const torch::Device& device) {
    if (world.size() == 1 || !matrix_.defined()) return matrix_;
    const int64_t rows = std::max<int64_t>(1, kGatherBytes / (4 * matrix_.size(1)));
    for (int64_t first = 0; first < matrix_.size(0); first += rows) {
      torch::Tensor part = matrix_.slice(0, first, first + rows);
      const torch::Tensor sum =
          part.to(device, torch::kFloat, /*non_blocking=*/false, /*copy=*/true);
      world.all_reduce_sum_({sum});
      part.copy_(sum);
    }
    return matrix_;
  }

 private:
  void allocate(int64_t dimension) {
    const int64_t fit = std::max<int64_t>(1, bytes_ / (4 * dimension));
    stride_ = (count_ - 1) / fit + 1;
    matrix_ = torch::zeros({(count_ - 1) / stride_ + 1, dimension}, torch::kFloat);
  }

  int64_t count_, bytes_;
  int64_t stride_ = 1;
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
  set.sampling = make_groups(set.count, options.classes, options.groups);
  const torch::Tensor ids = set.sampling.ids();
  GroupedMoments pooled(ids, set.sampling.count), spatial(ids, set.sampling.count);
  KeptRows features(set.count, options.keep_bytes), logits(set.count, options.keep_bytes);

  std::optional<Progress> progress;
  if (world.is_main() && !options.title.empty()) progress.emplace(options.title, end - begin);
  source({images.begin() + begin, images.begin() + end},
         [&](int64_t first, const torch::Tensor& batch) {
           const Features f = extractor.extract(batch);
           pooled.add(begin + first, f.pooled);
           if (f.spatial.defined()) spatial.add(begin + first, f.spatial);
           if (options.keep_bytes > 0) {
             features.add(begin + first, f.pooled);
             if (f.logits.defined() && options.keep_logits) logits.add(begin + first, f.logits);
           }
           if (progress) progress->update(first + batch.size(0));
         });

  set.groups = pooled.finish();
  set.spatial_groups = spatial.finish();
  Moments::all_reduce_(set.groups, world, options.device);
  Moments::all_reduce_(set.spatial_groups, world, options.device);
  set.features = features.gather(world, options.device);
  set.logits = logits.gather(world, options.device);
  set.stride = features.stride();
  return set;
}

}  // namespace ddpm::eval
