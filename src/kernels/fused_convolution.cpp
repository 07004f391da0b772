#include "fused_convolution.h"

#include "amx/conv_backward.h"
#include "autograd_arguments.h"

#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using namespace tiles;

constexpr int64_t kMostBytes = int64_t{512} << 20;  // of all threads' sums of weight gradients

class TileConvolution : public torch::autograd::Function<TileConvolution> {
 public:
  static variable_list forward(AutogradContext* context, const torch::Tensor& x,
                               const std::optional<torch::Tensor>& beside_in,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const std::optional<torch::Tensor>& residual,
                               const std::optional<torch::Tensor>& shortcut,
                               const std::optional<torch::Tensor>& shortcut_bias,
                               const std::optional<torch::Tensor>& norm_weight,
                               const std::optional<torch::Tensor>& norm_bias,
                               const std::optional<torch::Tensor>& add_BC,
                               const std::optional<torch::Tensor>& scale_BC,
                               const std::optional<torch::Tensor>& shift_BC, int64_t groups,
                               double eps, int64_t loops) {
    const Norm norm{tensor_of(norm_weight),
                    tensor_of(norm_bias),
                    groups,
                    eps,
                    {tensor_of(add_BC), tensor_of(scale_BC), tensor_of(shift_BC)}};
    const torch::Tensor beside = tensor_of(beside_in);
    const Shape s = shape(x, weight);
    const Source source(s, x, beside);
    Before before;
    if (norm.weight.defined()) {
      before.open(x, s, norm);
      before.buffers->allocate_statistics(*before.shape);
      before.args = before.buffers->args<float>();
    }
    const Results results =
        Forward(loops_of<TileConvLoops>(loops), s, source, before, {weight, bias},
                {tensor_of(shortcut), tensor_of(shortcut_bias)}, tensor_of(residual))
            .run();
    const GroupNormBuffers* b = before ? &*before.buffers : nullptr;
    const torch::Tensor none;
    context->save_for_backward({x, weight, norm.weight, norm.bias, norm.modulation.add,
                                norm.modulation.scale, norm.modulation.shift, b ? b->mean : none,
                                b ? b->rstd : none, b ? b->channel_mean : none, beside,
                                tensor_of(shortcut)});
    context->saved_data["groups"] = groups;
    context->saved_data["eps"] = eps;
    context->saved_data["loops"] = loops;
    context->saved_data["residual"] = residual.has_value();
    if (results.s.defined()) return {results.y, results.s};
    return {results.y};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "the convolution has no second derivative");
    RECORD_FUNCTION("ddpm::convolution_backward", {});
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1], &beside = saved[10],
                        &shortcut = saved[11];
    const Norm norm{saved[2],
                    saved[3],
                    context->saved_data["groups"].toInt(),
                    context->saved_data["eps"].toDouble(),
                    {saved[4], saved[5], saved[6]}};
    const Shape s = shape(x, weight);
    const Source source(s, x, beside);
    const Results d{plain_gradient(s, gradients[0]),
                    shortcut.defined() ? plain_gradient(s, gradients[1]) : torch::Tensor()};
    Before before;
    if (norm.weight.defined()) {
      before.open(x, s, norm);
      before.buffers->mean = saved[7], before.buffers->rstd = saved[8];
      before.buffers->channel_mean = saved[9];
      before.buffers->allocate_gradients(*before.shape);
      before.args = before.buffers->args<float>();
    }
    OfSource to;
    if (before || beside.defined() || context->needs_input_grad(0)) to.x = torch::empty_like(x);
    if (beside.defined()) to.beside = torch::empty_like(beside);
    const auto [of_conv, of_shortcut] =
        Backward(loops_of<TileConvLoops>(context->saved_data["loops"].toInt()), s, source, before,
                 weight, shortcut, d, to)
            .run();
    variable_list all(15);
    all[0] = to.x, all[1] = to.beside, all[2] = of_conv.weight, all[3] = of_conv.bias;
    if (context->saved_data["residual"].toBool()) all[4] = d.y;
    all[5] = of_shortcut.weight, all[6] = of_shortcut.bias;
    if (before) {
      const variable_list of_norm =
          before.buffers->gradients(norm.weight, norm.bias, norm.modulation);
      std::copy(of_norm.begin(), of_norm.end(), all.begin() + 7);
    }
    return all;
  }

 private:
  // An output that nothing was made of has no gradient.
  static torch::Tensor plain_gradient(const Shape& s, const torch::Tensor& g) {
    if (g.defined()) return g.to(torch::kBFloat16).contiguous(kChannelsLast);
    return torch::zeros({s.batch, s.out, s.height, s.width}, torch::dtype(torch::kBFloat16))
        .contiguous(kChannelsLast);
  }
  static Shape shape(const torch::Tensor& x, const torch::Tensor& weight) {
    return {x.size(0), x.size(2), x.size(3), weight.size(1), weight.size(0)};
  }
};

}  // namespace

bool has_tiles_for(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
  const auto is_master = [](const torch::Tensor& t) {
    return t.is_cpu() && t.scalar_type() == torch::kFloat;
  };
  if (!x.is_cpu() || !is_master(weight) || !is_master(bias) || x.numel() == 0 ||
      !at::autocast::is_autocast_enabled(torch::kCPU) ||
      at::autocast::get_autocast_dtype(torch::kCPU) != torch::kBFloat16 || !tile_loops()) {
    return false;
  }
  const int64_t in = weight.size(1), out = weight.size(0);
  return in % kPanel == 0 && out % kPanel == 0 &&
         at::get_num_threads() * 9 * in * out * int64_t{sizeof(float)} <= kMostBytes;
}

TileResults tile_conv3x3(const TileConvLoops& loops, const torch::Tensor& x, const Norm* norm,
                         const torch::Tensor& weight, const torch::Tensor& bias,
                         const TileOptions& options) {
  if (options.shortcut_weight.defined()) {  // its work is counted, its time is the other's
    RECORD_FUNCTION("ddpm::convolution", std::vector<c10::IValue>({x, options.shortcut_weight}));
  }
  RECORD_FUNCTION("ddpm::convolution", std::vector<c10::IValue>({x, weight}));
  const auto plain = [](const torch::Tensor& t) {
    return t.to(torch::kBFloat16).contiguous(kChannelsLast);
  };
  const auto optional_plain = [&](const torch::Tensor& t) {
    return t.defined() ? optional_of(plain(t)) : std::nullopt;
  };
  const Norm none;
  const Norm& n = norm ? *norm : none;
  const Modulation& m = n.modulation;
  const variable_list results = TileConvolution::apply(
      plain(x), optional_plain(options.beside), weight, bias, optional_plain(options.residual),
      optional_of(options.shortcut_weight), optional_of(options.shortcut_bias),
      optional_of(n.weight), optional_of(n.bias), optional_of(m.add), optional_of(m.scale),
      optional_of(m.shift), n.groups, n.eps, number_of(loops));
  return {results[0], results.size() > 1 ? results[1] : torch::Tensor()};
}

}  // namespace ddpm::kernels
