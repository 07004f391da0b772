#include "fused_block.h"

#include "channel_operations.h"
#include "norm_pass.h"

#include <array>

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

// A residual block as one autograd function. Its tensors are optional in many combinations, so the
// defined ones are passed as a list; BlockCall has the flags. It saves its inputs, conv1's output,
// conv2's input and the norms' statistics. conv1's input, the largest of these, is made again in the
// backward pass: one pass over memory for about a quarter less of it.

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct BlockTensors {
  torch::Tensor x, skip, key;
  ResidualBlock block;
};

// In a fixed order; gradients are returned in it.
constexpr size_t kBlockTensors = 16;
std::array<torch::Tensor*, kBlockTensors> block_tensors(BlockTensors& t) {
  ResidualBlock& b = t.block;
  Modulation& m = b.norm2.modulation;
  return {&t.x,
          &t.skip,
          &t.key,
          &b.norm1.weight,
          &b.norm1.bias,
          &b.conv1.weight,
          &b.conv1.bias,
          &b.norm2.weight,
          &b.norm2.bias,
          &m.add,
          &m.scale,
          &m.shift,
          &b.conv2.weight,
          &b.conv2.bias,
          &b.shortcut.weight,
          &b.shortcut.bias};
}

// What a call has besides its tensors.
struct BlockCall : torch::CustomClassHolder {
  ResidualBlock block;  // without tensors
  std::array<bool, kBlockTensors> is_defined{};

  BlockTensors tensors_from(at::TensorList defined) const {
    BlockTensors t;
    t.block = block;
    const auto all = block_tensors(t);
    for (size_t i = 0, next = 0; i < kBlockTensors; ++i) {
      if (is_defined[i]) *all[i] = defined[next++];
    }
    return t;
  }
};

torch::Tensor convolved(const torch::Tensor& x, const torch::Tensor& weight) {
  return at::conv2d(x, weight, {}, 1, weight.size(2) / 2)
      .contiguous(torch::MemoryFormat::ChannelsLast);
}

struct ConvGradients {
  torch::Tensor x, weight;
};
ConvGradients conv_gradients(const torch::Tensor& dy, const torch::Tensor& x,
                             const torch::Tensor& weight) {
  const int64_t padding = weight.size(2) / 2;
  const auto [dx, d_weight, none] =
      at::convolution_backward(dy, x, weight, std::nullopt, {1, 1}, {padding, padding}, {1, 1},
                               false, {0, 0}, 1, {true, true, false});
  return {dx, d_weight};
}

// [B,C,H,W] in channels_last as [B H W, C], and back.
torch::Tensor rows_of(const torch::Tensor& images) {
  return images.permute({0, 2, 3, 1}).reshape({-1, images.size(1)});
}
torch::Tensor images_from(const torch::Tensor& rows, const torch::Tensor& like) {
  return rows.view({like.size(0), like.size(2), like.size(3), rows.size(1)}).permute({0, 3, 1, 2});
}

NormPass first_norm(const BlockTensors& t) { return {t.x, t.skip, t.block.norm1}; }

// What norm2 adds to h: the time embedding and conv1's bias, in the bias's type.
torch::Tensor second_addend(const BlockTensors& t) {
  const torch::Tensor &add = t.block.norm2.modulation.add, &bias = t.block.conv1.bias;
  if (add.defined()) return add + bias;
  return bias.unsqueeze(0).expand({t.x.size(0), bias.size(0)}).contiguous();
}

NormPass second_norm(const BlockTensors& t, const torch::Tensor& h, const torch::Tensor& addend) {
  NormPass pass{h, {}, t.block.norm2, /*silu=*/true, t.block.dropout, t.key};
  pass.norm.modulation.add = addend;
  return pass;
}

// The shortcut's two products added up, [O,C + C2,1,1] being [O,C] and [O,C2] side by side.
struct ShortcutWeights {
  torch::Tensor x, skip;
  explicit ShortcutWeights(const BlockTensors& t) {
    const torch::Tensor whole = t.block.shortcut.weight.flatten(1);
    x = whole.narrow(1, 0, t.x.size(1));
    if (t.skip.defined()) skip = whole.narrow(1, t.x.size(1), t.skip.size(1));
  }
};

torch::Tensor around(const BlockTensors& t) {
  if (!t.block.shortcut.weight.defined()) return t.x;
  const ShortcutWeights weights(t);
  torch::Tensor rows = rows_of(t.x).mm(weights.x.t());
  if (weights.skip.defined()) rows.addmm_(rows_of(t.skip), weights.skip.t());
  return images_from(rows, t.x);
}

struct AroundGradients {
  torch::Tensor x, skip, weight;
};
AroundGradients around_gradients(const BlockTensors& t, const torch::Tensor& dy) {
  if (!t.block.shortcut.weight.defined()) return {dy, {}, {}};
  const ShortcutWeights weights(t);
  const torch::Tensor rows = rows_of(dy);
  AroundGradients g;
  g.x = images_from(rows.mm(weights.x), t.x);
  variable_list d_weights{rows.t().mm(rows_of(t.x))};
  if (weights.skip.defined()) {
    g.skip = images_from(rows.mm(weights.skip), t.skip);
    d_weights.push_back(rows.t().mm(rows_of(t.skip)));
  }
  g.weight = at::cat(d_weights, 1).view(t.block.shortcut.weight.sizes());
  return g;
}

class FusedBlock : public torch::autograd::Function<FusedBlock> {
 public:
  // tensors: those of the call that are defined.
  static torch::Tensor forward(AutogradContext* context, const c10::intrusive_ptr<BlockCall>& call,
                               at::TensorList tensors) {
    const BlockTensors t = call->tensors_from(tensors);
    const ResidualBlock& b = t.block;
    const NormResult first = norm_forward(first_norm(t));
    const torch::Tensor h = convolved(first.y, b.conv1.weight);
    const torch::Tensor addend = second_addend(t);
    const NormResult second = norm_forward(second_norm(t, h, addend));
    const torch::Tensor y = convolved(second.y, b.conv2.weight);
    torch::Tensor bias = b.conv2.bias;
    if (b.shortcut.bias.defined()) bias = bias + b.shortcut.bias;
    add_bias_residual_(y, bias, around(t));
    variable_list kept = tensors.vec();
    for (const GroupNormStatistics* of : {&first.statistics, &second.statistics})
      kept.insert(kept.end(), {of->mean, of->rstd, of->channel_mean});
    kept.insert(kept.end(), {addend, h, second.y});
    context->save_for_backward(std::move(kept));
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "a residual block has no second derivative");
    RECORD_FUNCTION("ddpm::residual_block_backward", {});
    const auto call =
        c10::static_intrusive_pointer_cast<BlockCall>(context->saved_data["call"].toCapsule());
    const variable_list kept = context->get_saved_variables();
    const BlockTensors t = call->tensors_from(kept);
    const torch::Tensor* of = &kept[kept.size() - 9];
    const GroupNormStatistics first{of[0], of[1], of[2]}, second{of[3], of[4], of[5]};
    const torch::Tensor &addend = of[6], &h = of[7], &y2 = of[8];
    const torch::Tensor dy = gradients[0].contiguous(torch::MemoryFormat::ChannelsLast);

    const ConvGradients conv2 = conv_gradients(dy, y2, t.block.conv2.weight);
    const NormGradients norm2 = norm_backward(second_norm(t, h, addend), second, conv2.x);
    const ConvGradients conv1 =
        conv_gradients(norm2.x, norm_forward(first_norm(t)).y, t.block.conv1.weight);
    const AroundGradients other = around_gradients(t, dy);
    const NormGradients norm1 = norm_backward(first_norm(t), first, conv1.x, other.x, other.skip);
    return in_order(*call, t, {norm1, norm2, conv1, conv2, other, channel_sums(dy)});
  }

 private:
  struct Gradients {
    NormGradients norm1, norm2;
    ConvGradients conv1, conv2;
    AroundGradients around;
    torch::Tensor bias;  // of conv2 and the shortcut
  };

  static variable_list in_order(const BlockCall& call, const BlockTensors& t, const Gradients& g) {
    const Modulation& m = t.block.norm2.modulation;
    const torch::Tensor d_add =
        m.add.defined() ? g.norm2.add.to(m.add.scalar_type()) : torch::Tensor();
    const std::array<torch::Tensor, kBlockTensors> all{g.norm1.x,
                                                       g.norm1.skip,
                                                       {},
                                                       g.norm1.weight,
                                                       g.norm1.bias,
                                                       g.conv1.weight,
                                                       row_sums(g.norm2.add.unsqueeze(0))[0],
                                                       g.norm2.weight,
                                                       g.norm2.bias,
                                                       d_add,
                                                       g.norm2.scale,
                                                       g.norm2.shift,
                                                       g.conv2.weight,
                                                       g.bias,
                                                       g.around.weight,
                                                       g.bias};
    variable_list results(1);  // the call itself has no gradient
    for (size_t i = 0; i < kBlockTensors; ++i) {
      if (call.is_defined[i]) results.push_back(all[i]);
    }
    return results;
  }
};

}  // namespace

bool can_fuse_block(const ResidualBlock& block, const torch::Tensor& x, const torch::Tensor& skip) {
  return x.is_cuda() && has_norm_kernel(x) &&
         (!skip.defined() || (has_norm_kernel(skip) && block.shortcut.weight.defined()));
}

torch::Tensor fused_block(const ResidualBlock& block, const torch::Tensor& x,
                          const torch::Tensor& skip, const torch::Tensor& dropout_key) {
  const auto call = c10::make_intrusive<BlockCall>();
  call->block.norm1.groups = block.norm1.groups, call->block.norm1.eps = block.norm1.eps;
  call->block.norm2.groups = block.norm2.groups, call->block.norm2.eps = block.norm2.eps;
  call->block.dropout = dropout_key.defined() ? block.dropout : 0.0;
  BlockTensors t{x, skip, dropout_key, block};
  variable_list defined;
  const auto all = block_tensors(t);
  for (size_t i = 0; i < kBlockTensors; ++i) {
    call->is_defined[i] = all[i]->defined();
    if (call->is_defined[i]) defined.push_back(*all[i]);
  }
  return FusedBlock::apply(call, at::TensorList(defined));
}

}  // namespace ddpm::kernels
