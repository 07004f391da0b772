#include "augment_pipe.h"

#include "ddpm/base/rng.h"
#include "ddpm/base/shape.h"
#include "ddpm/kernels/elementwise.h"

#include <cmath>
#include <vector>

namespace ddpm::train {
namespace {

torch::Tensor column(const torch::Tensor& parameters, AugmentColumn which) {
  return parameters.select(1, static_cast<int64_t>(which));
}

// `count` numbers per sample, uniform in (0, 1): float64 [B,count].
torch::Tensor uniform_rows(uint64_t seed, const torch::Tensor& ids, int64_t count) {
  constexpr int64_t kParts = int64_t{1} << 30;
  constexpr int64_t kPerId = 16;
  TORCH_CHECK(count <= kPerId, "too many numbers per sample");
  const torch::Tensor rows =
      (ids.unsqueeze(1) * kPerId + torch::arange(count, ids.options()).unsqueeze(0)).view({-1});
  const torch::Tensor drawn = torch::empty_like(rows);
  kernels::fill_uniform_int_(drawn, rng_key(seed, Purpose::kAugmentation), rows, 1, kParts);
  return ((drawn.to(torch::kDouble) - 0.5) / static_cast<double>(kParts)).view({-1, count});
}

// A batch of 2x2 matrices, each element [B].
struct Matrices {
  torch::Tensor xx, xy, yx, yy;
};

Matrices product(const Matrices& a, const Matrices& b) {
  return {a.xx * b.xx + a.xy * b.yx, a.xx * b.xy + a.xy * b.yy, a.yx * b.xx + a.yy * b.yx,
          a.yx * b.xy + a.yy * b.yy};
}

Matrices diagonal(const torch::Tensor& x, const torch::Tensor& y) {
  return {x, torch::zeros_like(x), torch::zeros_like(x), y};
}

// By `angle` from the x axis to the y axis, which points down.
Matrices rotation(const torch::Tensor& angle) {
  const torch::Tensor c = angle.cos(), s = angle.sin();
  return {c, -s, s, c};
}

// From a vector of the transformed image to the image's own: the inverse of Table 6's factors, the
// last of them first.
Matrices inverse_of(const torch::Tensor& a) {
  const auto of = [&](AugmentColumn which) { return column(a, which); };
  const torch::Tensor axis = of(AugmentColumn::kStretchAxis);
  const torch::Tensor stretch = (of(AugmentColumn::kStretch) * -kAugmentLogScale).exp2();
  const torch::Tensor scale = (of(AugmentColumn::kScale) * -kAugmentLogScale).exp2();
  Matrices m = product(rotation(axis), product(diagonal(stretch, 1 / stretch), rotation(-axis)));
  m = product(rotation(-of(AugmentColumn::kRotation)), m);
  return product(diagonal((1 - 2 * of(AugmentColumn::kFlipX)) * scale,
                          (1 - 2 * of(AugmentColumn::kFlipY)) * scale),
                 m);
}

// W of Keys 1981, Eq. 4, with a = -1/2.
torch::Tensor cubic_weight(const torch::Tensor& distance) {
  const torch::Tensor s = distance.abs();
  const torch::Tensor near = (1.5 * s - 2.5) * s * s + 1;
  const torch::Tensor far = ((-0.5 * s + 2.5) * s - 4) * s + 2;
  return torch::where(s < 1, near, torch::where(s < 2, far, torch::zeros_like(s)));
}

// Index i of an axis of `size` pixels that goes on as its own mirror image about its last pixels.
torch::Tensor mirrored(const torch::Tensor& i, int64_t size) {
  if (size == 1) return torch::zeros_like(i);
  return (size - 1) - (i.remainder(2 * (size - 1)) - (size - 1)).abs();
}

// The pixels along one axis that make up each pixel of the result.
struct Taps {
  std::vector<torch::Tensor> index;   // int64 [B H W] each
  std::vector<torch::Tensor> weight;  // [B H W,1] each, of sum 1
};

// position: [B,H,W], in pixels of the axis; width: [B,1,1], 1 to 2.
Taps taps_at(const torch::Tensor& position, const torch::Tensor& width, int64_t size,
             torch::Dtype dtype) {
  constexpr int64_t kFirst = -3, kLast = 4;  // twice the four pixels of a width of 1
  const torch::Tensor base = position.floor();
  Taps taps;
  torch::Tensor sum = torch::zeros_like(position);
  for (int64_t k = kFirst; k <= kLast; ++k) {
    const torch::Tensor pixel = base + k;
    taps.weight.push_back(cubic_weight((pixel - position) / width));
    sum += taps.weight.back();
    taps.index.push_back(mirrored(pixel.to(torch::kLong), size).view({-1}));
  }
  for (torch::Tensor& weight : taps.weight) weight = (weight / sum).to(dtype).view({-1, 1});
  return taps;
}

// How far apart two pixels of the result are along an axis of the image, at least 1.
torch::Tensor width_of(const torch::Tensor& by_x, const torch::Tensor& by_y) {
  return (by_x.square() + by_y.square()).sqrt().clamp(1.0, 2.0).view({-1, 1, 1});
}

}  // namespace

torch::Tensor draw_augmentation(uint64_t seed, double probability, const torch::Tensor& ids) {
  enum {
    kSwitches = 5,
    kNumbers = 9
  };  // of a_1, a_2, a_3, a_5, a_6 and a_7; then a_0, a_1, a_3, a_4
  const torch::Tensor u = uniform_rows(seed, ids, kNumbers);
  const torch::Tensor z =
      torch::empty({ids.size(0), 4}, torch::dtype(torch::kDouble).device(ids.device()));
  kernels::fill_normal_(z, rng_key(seed, Purpose::kAugmentationNormal), ids);
  const auto on = [&](int64_t k) { return u.select(1, k) < probability; };
  const auto coin = [&](int64_t k) { return (u.select(1, k) < 0.5).to(torch::kDouble); };
  const auto angle = [&](int64_t k) { return (2 * u.select(1, k) - 1) * M_PI; };
  const torch::Tensor values =
      torch::stack({coin(kSwitches), coin(kSwitches + 1), z.select(1, 0), angle(kSwitches + 2),
                    angle(kSwitches + 3), z.select(1, 1), z.select(1, 2), z.select(1, 3)},
                   1);
  const torch::Tensor all = torch::ones_like(on(0));
  return values *
         torch::stack({all, on(0), on(1), on(2), on(3), on(3), on(4), on(4)}, 1).to(values);
}

torch::Tensor augment_labels(const torch::Tensor& parameters) {
  const auto of = [&](AugmentColumn which) { return column(parameters, which); };
  const torch::Tensor angle = of(AugmentColumn::kRotation), axis = of(AugmentColumn::kStretchAxis);
  const torch::Tensor stretch = of(AugmentColumn::kStretch);
  return torch::stack(
      {of(AugmentColumn::kFlipX), of(AugmentColumn::kFlipY), of(AugmentColumn::kScale),
       angle.cos() - 1, angle.sin(), stretch * axis.cos(), stretch * axis.sin(),
       of(AugmentColumn::kTranslationX), of(AugmentColumn::kTranslationY)},
      1);
}

torch::Tensor augmented(const torch::Tensor& x, const torch::Tensor& parameters) {
  expect_shape(x, {-1, -1, -1, -1}, "x");
  expect_shape(parameters, {x.size(0), kAugmentColumns}, "parameters");
  const int64_t count = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  const torch::TensorOptions exact = torch::dtype(torch::kDouble).device(x.device());
  const double middle_x = 0.5 * static_cast<double>(width - 1),
               middle_y = 0.5 * static_cast<double>(height - 1);
  const auto each = [](const torch::Tensor& t) { return t.view({-1, 1, 1}); };  // per image
  const torch::Tensor shift_x =
      column(parameters, AugmentColumn::kTranslationX) * (kAugmentShift * width);
  const torch::Tensor shift_y =
      column(parameters, AugmentColumn::kTranslationY) * (kAugmentShift * height);
  const torch::Tensor from_x = torch::arange(width, exact).view({1, 1, -1}) - middle_x -
                               each(shift_x);  // of a pixel of the result, from the middle
  const torch::Tensor from_y =
      torch::arange(height, exact).view({1, -1, 1}) - middle_y - each(shift_y);
  const Matrices m = inverse_of(parameters);
  const Taps columns = taps_at(each(m.xx) * from_x + each(m.xy) * from_y + middle_x,
                               width_of(m.xx, m.xy), width, x.scalar_type());
  const Taps rows = taps_at(each(m.yx) * from_x + each(m.yy) * from_y + middle_y,
                            width_of(m.yx, m.yy), height, x.scalar_type());

  const torch::Tensor pixels = x.permute({0, 2, 3, 1}).reshape({count * height * width, channels});
  const torch::Tensor first =  // of its image, for each pixel
      (torch::arange(count, exact.dtype(torch::kLong)) * (height * width))
          .view({-1, 1})
          .expand({count, height * width})
          .reshape({-1});
  torch::Tensor sum = torch::zeros_like(pixels);
  for (size_t i = 0; i < rows.index.size(); ++i) {
    const torch::Tensor row = first + rows.index[i] * width;
    for (size_t k = 0; k < columns.index.size(); ++k)
      sum.addcmul_(pixels.index_select(0, row + columns.index[k]),
                   rows.weight[i] * columns.weight[k]);
  }
  return sum.clamp_(-1.0, 1.0).view({count, height, width, channels}).permute({0, 3, 1, 2});
}

}  // namespace ddpm::train
