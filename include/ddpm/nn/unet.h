#pragma once

#include "ddpm/config/fields.h"
#include "ddpm/diffusion/condition.h"
#include "ddpm/nn/blocks.h"
#include "ddpm/nn/weight_copies.h"

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

namespace ddpm::nn {

/// The numbers that a network reads of each image (model.vector_conditional): [vectors] of a
/// model.toml.
struct VectorSpec {
  std::vector<std::string> names;  ///< of the D columns
  /// Of each column over the training images; the network reads (v - mean) / deviation. The
  /// deviation of a constant column is 1.
  std::vector<double> mean, deviation;
  /// The vectors of some training images, row after row: what samples have unless others are given.
  std::vector<double> rows;

  int64_t width() const { return static_cast<int64_t>(names.size()); }
  bool operator==(const VectorSpec&) const = default;
};

/// The keys of [vectors]. Rejects counts that do not fit each other.
void fields(config::Fields& f, VectorSpec& s);

/// At most so many rows, and so many numbers in them, are kept.
inline constexpr int64_t kKeptVectors = 1000, kKeptNumbers = 65536;

/// The spec of these training images' vectors, float32 [N,D]. Rows are kept of images spread evenly.
VectorSpec vector_spec(std::vector<std::string> names, const torch::Tensor& vectors);

/// The kept rows, float32 [M,D] on the CPU.
torch::Tensor kept_vectors(const VectorSpec& spec);

/// The vector of each image, if the rows of `table` [M,D] are used in turn: image i has row i mod M.
/// float32 [images,D] on the table's device; undefined if the table is.
torch::Tensor vectors_in_turn(const std::vector<int64_t>& images, const torch::Tensor& table);

/// Without the rows, of which only the number is given.
nlohmann::ordered_json to_json(const VectorSpec& spec);

/// The network's input: the shape of an image and the number of classes.
struct ImageSpec {
  int64_t channels = 3;
  int64_t height = 32;
  int64_t width = 32;
  int64_t classes = 0;  ///< 0: the data has no labels

  bool operator==(const ImageSpec&) const = default;
};

struct UNetConfig {
  ImageSpec image;
  int64_t channels = 128;  ///< width of the first level
  /// One per level; each level halves the image.
  std::vector<int64_t> channel_multipliers{1, 2, 2, 2};
  int64_t blocks = 2;  ///< residual blocks per level
  /// Levels with attention after each block, by the shorter side of their feature maps.
  std::vector<int64_t> attention_resolutions{16};
  bool mid_attention = true;  ///< attention between the two innermost blocks
  int64_t head_channels = 0;  ///< channels per attention head; 0: `heads` heads
  int64_t heads = 1;          ///< if head_channels is 0
  double dropout = 0.0;       ///< 0 <= p < 1
  int64_t groups = 32;        ///< of every GroupNorm
  double norm_eps = 1e-6;
  bool same_padding = true;  ///< TensorFlow's SAME when downsampling, as Ho
  SinusoidConfig sinusoid;
  bool time_scale_shift = false;   ///< see ResnetBlockConfig
  bool residual_resample = false;  ///< residual blocks that down- and upsample, as ADM's
  bool learned_variance = false;   ///< as many outputs again: v of Nichol 2021, Eq. 15, in [-1,1]
  bool class_conditional = false;  ///< a learned class vector joins the time embedding
  bool classes_by_data = false;    ///< class_conditional = "auto": see fit_to_images_
  /// For classifier-free guidance, the network also works without what an image comes with: it has
  /// one class more, number image.classes, "no class", and was trained without vectors, too.
  bool null_class = false;
  bool vector_conditional =
      false;           ///< a linear map of each image's vector joins the time embedding
  VectorSpec vectors;  ///< of the data, if vector_conditional; else empty
  diffusion::ConditionConfig condition;  ///< a picture that joins x_t as further input channels
  /// The former estimate of x0 joins them as the last input channels (Chen 2022, Analog Bits).
  bool self_condition = false;
  /// Numbers that say how an image was augmented join the sinusoids of the time embedding, by a
  /// linear map without bias (Karras 2022, App. F.2).
  bool augment_labels = false;

  bool operator==(const UNetConfig&) const = default;
};

/// The keys of [model].
void fields(config::Fields& f, UNetConfig& c);

/// Reads [model]. Throws ConfigError also if groups do not divide the channels.
UNetConfig read_unet_config(config::Reader& reader);

/// Completes a network's config for images of that shape. class_conditional = "auto" becomes true
/// if there are several classes. Throws ConfigError, located in `model`, if the images cannot be
/// halved often enough, no level has a resolution of attention_resolutions, heads do not divide a
/// level's channels, the condition does not fit, or class_conditional or vector_conditional is true
/// but the data has no classes, or config.vectors is empty. null_class has no effect without either
/// and becomes false.
void fit_to_images_(UNetConfig& config, const ImageSpec& image, config::Reader& model);

/// Rows of the class embedding: the classes of the data and the null class; 0 if the network is
/// not class-conditional.
int64_t embedded_classes(const UNetConfig& config);

/// Whether the network can guide itself: it has a null class or a null condition.
bool can_be_guided(const UNetConfig& config);

/// The vectors of `count` images that have none: NaN, float32 [count,D]; undefined if the network
/// reads no vectors.
torch::Tensor no_vectors(const UNetConfig& config, int64_t count, const torch::Device& device);

/// How many numbers say how an image was augmented.
inline constexpr int64_t kAugmentLabels = 9;

/// The channels of the first convolution: x_t, the condition and the former estimate.
int64_t input_channels(const UNetConfig& config);

/// The input of `count` images without their condition's picture: zeros [count,c,H,W]; undefined if
/// the network has none.
torch::Tensor no_condition(const UNetConfig& config, int64_t count,
                           const torch::TensorOptions& options);

/// What UNetImpl::forward reads as the condition of x, [B,C,H,W]: the picture's input [B,c,H,W], of a
/// network with one, and the former estimate [B,C,H,W], of a self-conditioned one; zeros if it is
/// undefined. Undefined for a network with neither.
torch::Tensor whole_condition(const UNetConfig& config, const torch::Tensor& x,
                              const torch::Tensor& picture, const torch::Tensor& estimate);

/// The levels (from 0) of attention_resolutions, ascending. c10::Error if a resolution belongs to
/// no level.
std::vector<int64_t> attention_levels(const UNetConfig& config);
/// Sets attention_resolutions to those of `levels`; the image must be known.
void set_attention_levels_(UNetConfig& config, const std::vector<int64_t>& levels);

/// The U-Net of Ho 2020, App. B: residual blocks and attention on a pyramid of resolutions, skip
/// connections from each block on the way down to its mirror on the way up. Parameters carry
/// diffusers' names.
class UNetImpl : public torch::nn::Module {
 public:
  explicit UNetImpl(const UNetConfig& config);

  /// x: [B, C, H, W]; t: int64 [B], 0..T-1; labels: int64 [B], 0..embedded_classes - 1, where
  /// class_conditional, else undefined; condition: whole_condition, [B, C', H, W] of any dtype;
  /// augment: where augment_labels, [B, kAugmentLabels] of any float dtype; undefined for images that
  /// are not augmented, which is the same as zeros; vectors: where vector_conditional, [B, D] of any
  /// float dtype, as in the data, a row that begins with NaN for an image without one; else
  /// undefined. Returns [B, C, H, W], or [B, 2C, H, W] where learned_variance.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& t,
                        const torch::Tensor& labels = {}, const torch::Tensor& condition = {},
                        const torch::Tensor& augment = {}, const torch::Tensor& vectors = {});

  /// Gradient checkpointing: see StageImpl::set_recompute_. Changes no bit of any result.
  void set_recompute_(bool recompute);

  /// Copies of all weights that autocast to bfloat16 would cast on a GPU. forward() makes its own
  /// if no WeightCopiesGuard is alive.
  WeightCopies weight_copies() const;
  /// Whether forward(), called now on this device, uses such copies.
  bool uses_copies(const torch::Device& device) const;

  const UNetConfig& config() const { return config_; }

 private:
  torch::Tensor of_augment(const torch::Tensor& augment);
  torch::Tensor of_vectors(const torch::Tensor& vectors);
  torch::Tensor of_image(const torch::Tensor& x);
  torch::Tensor to_image(const torch::Tensor& h);

  UNetConfig config_;
  torch::nn::Conv2d conv_in_;
  TimeEmbedding time_embedding_;
  torch::nn::Embedding class_embedding_{nullptr};
  std::vector<DownStage> down_blocks_;  // highest resolution first
  MidStage mid_block_{nullptr};
  std::vector<UpStage> up_blocks_;  // lowest resolution first
  GroupNorm conv_norm_out_;
  torch::nn::Conv2d conv_out_;
  // The last, so that other weights begin as ever.
  torch::nn::Linear augment_embedding_{nullptr}, vector_embedding_{nullptr};
  torch::Tensor vector_mean_, vector_deviation_;  // [D], buffers
};
TORCH_MODULE(UNet);

/// Number of elements over all parameters.
int64_t parameter_count(const torch::nn::Module& module);

/// Stores every 4-d parameter channels_last, the faster order for convolutions. Values stay.
void use_channels_last_(torch::nn::Module& module);

/// Ho's initialisation: convolutions and linear layers uniform with variance
/// 1 / mean(fan_in, fan_out) ("variance scaling, fan_avg"), the last layer of each residual branch
/// and of the network 1e-10 of that, so that every branch starts as (almost) zero; biases 0; GroupNorm 1 and 0; class
/// vectors N(0, 1). A function of (seed, parameter's position) alone: the same weights on every
/// device.
void initialize_(UNetImpl& unet, uint64_t seed);

/// Floating-point operations of a forward pass for one image: convolutions, matrix products and
/// attention, two per multiply-add. A training step costs three times as many.
double forward_flops(const UNetImpl& unet);

}  // namespace ddpm::nn
