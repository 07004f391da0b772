#include "conv_forward.h"

#include "../cpu/buffer.h"
#include "../cpu/group_norm.h"
#include "conv_group.h"

#include <optional>

#include <ATen/Parallel.h>

namespace ddpm::kernels::amx {
namespace {

class Forward {
 public:
  explicit Forward(const ConvForwardInputs& in)
      : loops_(in.loops),
        s_(in.shape),
        input_(in.input),
        norm_(in.norm),
        weight_(pack_weights(in.loops, in.conv.weight, /*transposed=*/false)),
        bias_(in.conv.bias.contiguous()),
        residual_(in.residual) {
    result_.y = output_map();
    if (!in.shortcut.weight.defined()) return;
    result_.shortcut = output_map();
    shortcut_weight_.emplace(pack_weights(in.loops, in.shortcut.weight, /*transposed=*/false));
    shortcut_bias_ = in.shortcut.bias.contiguous();
  }

  ConvOutputs compute() const {
    s_.has_image_per_thread() ? compute_by_images() : compute_by_rows();
    return result_;
  }

 private:
  BlockConvolutions convolutions(const ConvGroup& largest) const {
    return {loops_, s_, s_.in, s_.out, largest, shortcut_weight_.has_value()};
  }

  void compute_by_images() const {
    at::parallel_for(0, s_.batch, 1, [&](int64_t begin, int64_t end) {
      const BlockConvolutions convolutions = this->convolutions(s_.image_group(1));
      const Buffer<Bf16> concatenated(input_.is_concatenated() ? s_.input_size() : 0);
      const Buffer<Bf16> h(norm_ ? s_.input_size() : 0);
      for (int64_t i = begin; i < end; ++i) {
        const Bf16* x = input_.images(i, 1, concatenated.get());
        if (norm_) cpu::group_norm_forward_image(*norm_.shape, x, h.get(), norm_.args, i);
        convolve_group(convolutions, s_.image_group(1), i, x, norm_ ? h.get() : x);
      }
    });
  }

  // There are fewer images than threads: each thread takes rows of an image.
  void compute_by_rows() const {
    const int64_t image = s_.input_size();
    const RowGroups groups(s_);
    const Buffer<Bf16> concatenated(input_.is_concatenated() ? s_.batch * image : 0);
    const Buffer<Bf16> h(norm_ ? s_.batch * image : 0);
    const Bf16* x = input_.images(0, s_.batch, concatenated.get());
    if (norm_) cpu::group_norm_forward(*norm_.shape, Element::kBFloat16, x, h.get(), norm_.args);
    at::parallel_for(0, groups.count(), 1, [&](int64_t begin, int64_t end) {
      const BlockConvolutions convolutions = this->convolutions(groups.largest());
      for (int64_t g = begin; g < end; ++g) {
        const int64_t i = groups.image(g);
        convolve_group(convolutions, groups.group(g), i, x + i * image,
                       (norm_ ? h.get() : x) + i * image);
      }
    });
  }

  // Both convolutions of a group of image i. x: the image as it came in; h: after the norm.
  void convolve_group(const BlockConvolutions& convolutions, const ConvGroup& g, int64_t i,
                      const Bf16* x, const Bf16* h) const {
    const int64_t at = i * s_.output_size();
    convolutions.conv.convolve_group(g, h, weight_.get(), bias_.data_ptr<float>(),
                                     residual_.defined() ? data_of(residual_) + at : nullptr,
                                     data_of(result_.y) + at);
    if (!convolutions.shortcut) return;
    convolutions.shortcut->convolve_group(g, x, shortcut_weight_->get(),
                                          shortcut_bias_.data_ptr<float>(), nullptr,
                                          data_of(result_.shortcut) + at);
  }

  torch::Tensor output_map() const {
    return torch::empty({s_.batch, s_.out, s_.height, s_.width}, torch::dtype(torch::kBFloat16),
                        torch::MemoryFormat::ChannelsLast);
  }

  const ConvLoops& loops_;
  const ConvShape& s_;
  const ConvInput& input_;
  const InputNorm& norm_;
  Buffer<Bf16> weight_;
  torch::Tensor bias_, residual_;
  std::optional<Buffer<Bf16>> shortcut_weight_;
  torch::Tensor shortcut_bias_;
  ConvOutputs result_;
};

}  // namespace

ConvOutputs conv_forward(const ConvForwardInputs& inputs) { return Forward(inputs).compute(); }

}  // namespace ddpm::kernels::amx
