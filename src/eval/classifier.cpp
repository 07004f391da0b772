#include "classifier.h"

#include "cache_file.h"
#include "ddpm/base/error.h"
#include "ddpm/base/progress.h"
#include "ddpm/base/rng.h"
#include "ddpm/data/epoch_sampler.h"
#include "ddpm/data/view.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/eval/images.h"
#include "ddpm/io/checksum.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/nn/precision.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;

struct Conv {
  int64_t out, stride;
};
constexpr std::array<Conv, 5> kConvs{{{32, 1}, {64, 2}, {64, 1}, {128, 2}, {128, 1}}};
constexpr int64_t kGroups = 8;
constexpr uint64_t kSeed = 0;
constexpr int64_t kFewestHeldOut = 50;
constexpr int64_t kMaxHeldOut = 1000;

std::string protocol(const ClassifierOptions& o) {
  return fmt::format("classifier 2: {} epochs, at most {} samples, batch {}, rate {}, side {}",
                     o.epochs, o.max_samples, o.batch, o.learning_rate, o.longest_side);
}

void expect_labels(const torch::Tensor& labels) {
  if (labels.min().item<int64_t>() >= 0) return;
  throw UsageError(
      "--features train needs a label for every image of the reference, and some have none; name a "
      "feature network with --features FILE");
}

// Adam (Kingma 2015) with a cosine decay of the learning rate to 0.
class Adam {
 public:
  Adam(std::vector<torch::Tensor> weights, double rate, int64_t steps)
      : weights_(std::move(weights)), rate_(rate), steps_(steps) {
    for (const torch::Tensor& w : weights_) {
      first_.push_back(torch::zeros_like(w));
      second_.push_back(torch::zeros_like(w));
    }
  }
  void step() {
    const torch::NoGradGuard no_grad;
    const double done = static_cast<double>(n_++) / static_cast<double>(steps_);
    const double rate = rate_ * 0.5 * (1.0 + std::cos(M_PI * done));
    const double c1 = 1.0 - std::pow(0.9, n_), c2 = 1.0 - std::pow(0.999, n_);
    for (size_t i = 0; i < weights_.size(); ++i) {
      torch::Tensor& g = weights_[i].mutable_grad();
      first_[i].mul_(0.9).add_(g, 0.1);
      second_[i].mul_(0.999).addcmul_(g, g, 0.001);
      weights_[i].addcdiv_(first_[i], (second_[i] / c2).sqrt_().add_(1e-8), -rate / c1);
      g.zero_();
    }
  }

 private:
  std::vector<torch::Tensor> weights_, first_, second_;
  double rate_;
  int64_t steps_;
  int64_t n_ = 0;
};

}  // namespace

Classifier::Classifier(data::ImageShape shape, int64_t classes, const ClassifierOptions& options)
    : options_(options) {
  const auto add = [this](std::vector<int64_t> sizes, double scale) {
    torch::Tensor w = torch::empty(sizes, torch::kFloat);
    const auto position = static_cast<uint32_t>(weights_.size());
    kernels::fill_normal_(w.view({sizes[0], -1}), rng_key(kSeed, Purpose::kWeightInit),
                          torch::arange(sizes[0]), position);
    weights_.push_back(w.mul_(scale));
  };
  int64_t in = shape.channels;
  for (const Conv& conv : kConvs) {  // weight (He 2015), norm's weight and bias
    add({conv.out, in, 3, 3}, std::sqrt(2.0 / static_cast<double>(9 * in)));
    weights_.push_back(torch::ones({conv.out}));
    weights_.push_back(torch::zeros({conv.out}));
    in = conv.out;
  }
  add({classes, in}, std::sqrt(1.0 / static_cast<double>(in)));
  weights_.push_back(torch::zeros({classes}));
}

Features Classifier::forward(const torch::Tensor& images) const {
  torch::Tensor h = diffusion::to_model_range(images.to(weights_[0].device()), torch::kFloat);
  const int64_t longest = std::max(h.size(2), h.size(3));
  if (longest > options_.longest_side) {
    const double scale = static_cast<double>(options_.longest_side) / static_cast<double>(longest);
    const auto side = [&](int64_t n) { return std::max<int64_t>(1, std::llround(n * scale)); };
    h = at::_upsample_bilinear2d_aa(h, {side(h.size(2)), side(h.size(3))}, false);
  }
  size_t w = 0;
  for (const Conv& conv : kConvs) {
    h = torch::conv2d(h, weights_[w], {}, {conv.stride, conv.stride}, {1, 1});
    h = torch::relu(torch::group_norm(h, kGroups, weights_[w + 1], weights_[w + 2]));
    w += 3;
  }
  Features f;
  f.pooled = h.mean(torch::IntArrayRef{2, 3});
  f.logits = torch::addmm(weights_[w + 1], f.pooled, weights_[w].t());
  return f;
}

Features Classifier::compute(const torch::Tensor& images) const {
  TORCH_CHECK(images.size(1) == weights_[0].size(1), "the classifier was trained on images of ",
              weights_[0].size(1), " channels");
  return forward(images);
}

void Classifier::train(const data::Dataset& dataset) {
  // A twentieth is held out, to measure how good the features are; more of a small set.
  const nn::ArithmeticGuard arithmetic(nn::Precision::kFp32, /*deterministic=*/true);
  std::vector<int64_t> order =
      random_permutation(dataset.size(), rng_key(kSeed, Purpose::kHoldout), 0);
  const int64_t fewest = std::min(dataset.size() / 4, kFewestHeldOut);
  const int64_t apart = std::clamp(dataset.size() / 20, fewest, kMaxHeldOut);
  const std::vector<int64_t> held_out(order.begin(), order.begin() + apart);
  order.erase(order.begin(), order.begin() + apart);

  const auto size = static_cast<int64_t>(order.size());
  const int64_t samples = std::min(options_.epochs * size, options_.max_samples);
  const data::EpochSampler sampler(size, kSeed);
  std::vector<int64_t> seen;
  for (int64_t p = 0; p < samples; ++p) seen.push_back(order[sampler.index_of(p)]);

  for (torch::Tensor& w : weights_) w.requires_grad_(true);
  Adam adam(weights_, options_.learning_rate, (samples + options_.batch - 1) / options_.batch);
  Progress progress("training the feature classifier", samples);
  const auto device = weights_[0].device();
  visit_examples(dataset, seen, options_.batch,
                 [&](int64_t first, const torch::Tensor& images, const torch::Tensor& labels) {
                   expect_labels(labels);
                   at::cross_entropy_loss(forward(images).logits, labels.to(device)).backward();
                   adam.step();
                   progress.update(first + images.size(0));
                 });
  for (torch::Tensor& w : weights_) w = w.detach();

  measure_accuracy(dataset, held_out);
}

void Classifier::measure_accuracy(const data::Dataset& dataset,
                                  const std::vector<int64_t>& held_out) {
  int64_t right = 0;
  std::vector<int64_t> of_class(dataset.class_count(), 0);
  visit_examples(dataset, held_out, 256,
                 [&](int64_t, const torch::Tensor& images, const torch::Tensor& labels) {
                   expect_labels(labels);
                   const torch::Tensor guess = extract(images).logits.argmax(1).cpu();
                   right += (guess == labels).sum().item<int64_t>();
                   for (int64_t i = 0; i < labels.size(0); ++i)
                     ++of_class.at(labels[i].item<int64_t>());
                 });
  held_out_ = std::ssize(held_out);
  const auto count = static_cast<double>(held_out_);  // 0 / 0 if there are none
  accuracy_ = static_cast<double>(right) / count;
  chance_ = static_cast<double>(*std::max_element(of_class.begin(), of_class.end())) / count;
}

bool Classifier::load(const fs::path& file, const torch::Device& device) {
  std::vector<std::string> names{"accuracy"};
  for (size_t i = 0; i < weights_.size(); ++i) names.push_back(fmt::format("{}", i));
  const auto saved = read_cached(file, names);
  if (!saved) return false;
  for (size_t i = 0; i < weights_.size(); ++i)
    if (saved->at(names[i + 1]).sizes() != weights_[i].sizes()) return false;
  for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = saved->at(names[i + 1]).to(device);
  const torch::Tensor& accuracy = saved->at("accuracy");
  accuracy_ = accuracy[0].item<double>();
  chance_ = accuracy[1].item<double>();
  held_out_ = static_cast<int64_t>(accuracy[2].item<double>());
  return true;
}

void Classifier::save(const fs::path& file, const io::Metadata& metadata) const {
  const auto held_out = static_cast<double>(held_out_);
  std::vector<io::NamedTensor> tensors{
      {"accuracy", torch::tensor({accuracy_, chance_, held_out}, torch::kDouble)}};
  for (size_t i = 0; i < weights_.size(); ++i)
    tensors.push_back({fmt::format("{}", i), weights_[i]});
  write_cached(file, tensors, metadata);
}

void Classifier::describe(const data::Dataset& dataset) {
  io::Sha256 digest;
  for (const torch::Tensor& w : weights_) {
    const torch::Tensor host = w.cpu().contiguous();
    digest.add(std::span(static_cast<const uint8_t*>(host.const_data_ptr()), host.nbytes()));
  }
  description_.name =
      held_out_ == 0
          ? "classifier (accuracy unknown)"
          : fmt::format("classifier ({:.1f} % of {} unseen images right, chance {:.1f} %)",
                        100.0 * accuracy_, held_out_, 100.0 * chance_);
  description_.hash = digest.hex();
  const auto [channels, height, width] = dataset.shape();
  description_.resize = std::max(height, width) > options_.longest_side
                            ? fmt::format("bilinear, antialiased, to {}", options_.longest_side)
                            : "none";
  description_.distance_name = fmt::format(
      "Frechet distance (features of a classifier trained on {})", dataset.description());
}

// Adds reasons to distrust the features.
void Classifier::warn(int64_t images) {
  constexpr const char* kWayOut = "use more images, or a feature network (--features FILE)";
  const double deviation = std::sqrt(chance_ * (1.0 - chance_) / static_cast<double>(held_out_));
  const double least = std::max(chance_ + kMinSkill * (1.0 - chance_), chance_ + 2.0 * deviation);
  if (!(accuracy_ >= least)) {
    description_.warnings.push_back(fmt::format(
        "the classifier gets {:.1f} % of {} unseen images right, chance gets {:.1f} %: its "
        "features "
        "carry almost no information, and distance, precision and the other numbers below mean "
        "little; {}",
        100.0 * accuracy_, held_out_, 100.0 * chance_, kWayOut));
  }
  if (images < kMinImages) {
    description_.warnings.push_back(
        fmt::format("the classifier was trained on {} images only; {}", images, kWayOut));
  }
}

std::unique_ptr<Classifier> Classifier::of(const data::Dataset& dataset, const std::string& digest,
                                           const ClassifierOptions& options, const fs::path& cache,
                                           const torch::Device& device) {
  const int64_t classes = dataset.class_count();
  if (classes < 2) {
    throw UsageError(fmt::format(
        "--features train needs labelled images of at least two classes, and {} has {}; "
        "name a feature network with --features FILE",
        dataset.description(), classes));
  }
  std::unique_ptr<Classifier> c(new Classifier(dataset.shape(), classes, options));
  const std::string key = io::sha256(protocol(options) + "\n" + digest).substr(0, 32);
  const fs::path file = cache / ("classifier-" + key + ".safetensors");
  if (!c->load(file, device)) {
    for (torch::Tensor& w : c->weights_) w = w.to(device);
    c->train(dataset);
    c->save(file, {{"protocol", protocol(options)}, {"data", digest}});
  }
  c->describe(dataset);
  c->warn(dataset.size() - c->held_out_);
  return c;
}

}  // namespace ddpm::eval
