#!/usr/bin/env python3
"""Writes tests/golden/unet_*.safetensors: small U-Nets of Ho et al. 2020, App. B, in float64.

An independent implementation to test ours against: plain functions over a dictionary of weights.
Group normalisation is computed by its formula, attention by einsum and an explicit softmax. Weights,
inputs and targets are random. Each file holds

    param/NAME  grad/NAME        every parameter and the loss's gradient (NAME as in diffusers)
    x t labels target            x, target: [B,C,H,W]; t: int64 [B], 0..T-1; labels: int64 [B]
    output loss grad_x           loss = mean((output - target)^2)
    time_features                float32 [B, channels]: the sinusoids, whose last bit another
                                 processor may round differently

and, as metadata, the network as a [model] section ("config") and its image ("image": C H W classes).

    python scripts/make_unet_golden.py [--out tests/golden] [--check-diffusers]

Needs torch, numpy and safetensors; --check-diffusers also diffusers, whose UNet2DModel must then
give the same output from the same weights.
"""

import argparse
import math
import pathlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from safetensors.torch import save_file


@dataclass
class Net:
    name: str
    image: tuple  # channels, height, width
    channels: int
    multipliers: tuple
    blocks: int
    attention: tuple  # resolutions of the shorter side
    groups: int
    mid_attention: bool = True
    head_channels: int = 0
    classes: int = 0
    same_padding: bool = True
    cosine_first: bool = False
    freq_shift: int = 1
    eps: float = 1e-6

    def toml(self):
        return "\n".join([
            "[model]",
            f"channels = {self.channels}",
            f"channel_multipliers = {list(self.multipliers)}",
            f"blocks = {self.blocks}",
            f"attention_resolutions = {list(self.attention)}",
            f"mid_attention = {str(self.mid_attention).lower()}",
            f"head_channels = {self.head_channels}",
            "dropout = 0.0",
            f"groups = {self.groups}",
            f"norm_eps = {self.eps}",
            f'downsample_padding = "{"same" if self.same_padding else "symmetric"}"',
            f'time_embedding = "{"cos_sin" if self.cosine_first else "sin_cos"}"',
            f"time_freq_shift = {float(self.freq_shift)}",
            f"class_conditional = {str(self.classes > 0).lower()}",
        ]) + "\n"


NETS = [
    # Ho's layout on a non-square image.
    Net("ho", (3, 8, 12), 8, (1, 2), 2, (4,), 4),
    # Every option the other way: several heads, attention at two levels, symmetric padding, the time
    # embedding in diffusers' order.
    Net("heads", (1, 8, 8), 8, (1, 2), 1, (8, 4), 4, head_channels=4, same_padding=False,
        cosine_first=True, freq_shift=0, eps=1e-5),
    # Three levels, class vectors.
    Net("classes", (3, 8, 4), 6, (1, 2, 2), 1, (2,), 3, classes=5),
    # A first level wider than the first convolution, an odd width, no attention in the middle.
    Net("wide", (1, 6, 4), 5, (2, 1), 1, (), 5, mid_attention=False),
]


class Weights(dict):
    """Parameters by name, created at their first use by the forward pass."""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, *shape):
        return torch.randn(*shape, dtype=torch.float64, generator=self.generator)

    def __call__(self, name, shape, scale, offset=0.0):
        if name not in self:
            self[name] = (offset + scale * self.draw(*shape)).requires_grad_()
        assert self[name].shape == torch.Size(shape), name
        return self[name]


def convolution(w, name, x, out, size=3, **options):
    inputs = x.shape[1]
    kernel = w(name + ".weight", (out, inputs, size, size), (inputs * size * size) ** -0.5)
    return F.conv2d(x, kernel, w(name + ".bias", (out,), 0.2), **options)


def affine(w, name, x, out):
    """x [..., in] -> [..., out]."""
    matrix = w(name + ".weight", (out, x.shape[-1]), x.shape[-1] ** -0.5)
    return torch.einsum("oi,...i->...o", matrix, x) + w(name + ".bias", (out,), 0.2)


def normalise(w, name, net, x):
    """Wu and He 2018: mean 0 and variance 1 over a group of channels and all pixels of a sample."""
    batch, channels, height, width = x.shape
    grouped = x.reshape(batch, net.groups, -1)
    centred = grouped - grouped.mean(-1, keepdim=True)
    standard = centred / (centred.square().mean(-1, keepdim=True) + net.eps).sqrt()
    scale = w(name + ".weight", (channels,), 0.3, 1.0)
    shift = w(name + ".bias", (channels,), 0.3)
    return standard.reshape(x.shape) * scale[:, None, None] + shift[:, None, None]


def swish(x):
    return x / (1 + torch.exp(-x))


def time_features(net, t):
    """[B] -> [B, channels], in float32 as Ho computes it; a width that is odd ends in a zero."""
    half = net.channels // 2
    k = torch.arange(half, dtype=torch.float32)
    frequency = torch.exp(-math.log(10000.0) * k / (half - net.freq_shift))
    angle = t.float()[:, None] * frequency[None, :]
    parts = [angle.sin(), angle.cos()]
    if net.cosine_first:
        parts.reverse()
    parts.append(torch.zeros(len(t), net.channels % 2))
    return torch.cat(parts, 1)


def residual(w, name, net, x, time, out):
    h = convolution(w, name + ".conv1", swish(normalise(w, name + ".norm1", net, x)), out, padding=1)
    h = h + affine(w, name + ".time_emb_proj", swish(time), out)[:, :, None, None]
    h = convolution(w, name + ".conv2", swish(normalise(w, name + ".norm2", net, h)), out, padding=1)
    if x.shape[1] != out:
        x = convolution(w, name + ".conv_shortcut", x, out, size=1)
    return x + h


def attention(w, name, net, x):
    """Vaswani et al. 2017, Eq. 1, over pixels; projections are 1x1 convolutions."""
    batch, channels, height, width = x.shape
    heads = channels // net.head_channels if net.head_channels else 1
    h = normalise(w, name + ".group_norm", net, x).permute(0, 2, 3, 1).reshape(batch, -1, channels)
    query, key, value = (
        affine(w, f"{name}.to_{letter}", h, channels).reshape(batch, -1, heads, channels // heads)
        for letter in "qkv")
    logits = torch.einsum("bnhd,bmhd->bhnm", query, key) / math.sqrt(channels / heads)
    weights = torch.exp(logits - logits.amax(-1, keepdim=True))
    weights = weights / weights.sum(-1, keepdim=True)
    mixed = torch.einsum("bhnm,bmhd->bnhd", weights, value).reshape(batch, -1, channels)
    out = affine(w, name + ".to_out.0", mixed, channels)
    return x + out.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def forward(w, net, x, t, labels):
    width = 4 * net.channels
    time = affine(w, "time_embedding.linear_1", time_features(net, t).double(), width)
    time = affine(w, "time_embedding.linear_2", swish(time), width)
    if net.classes:
        time = time + w("class_embedding.weight", (net.classes, width), 1.0)[labels]

    def attend(here, h):
        return min(h.shape[2:]) in net.attention

    levels = len(net.multipliers)
    h = convolution(w, "conv_in", x, net.channels, padding=1)
    stack = [h]
    for level, multiplier in enumerate(net.multipliers):
        here = f"down_blocks.{level}"
        for i in range(net.blocks):
            h = residual(w, f"{here}.resnets.{i}", net, h, time, net.channels * multiplier)
            if attend(here, h):
                h = attention(w, f"{here}.attentions.{i}", net, h)
            stack.append(h)
        if level < levels - 1:
            padded = F.pad(h, (0, 1, 0, 1) if net.same_padding else (1, 1, 1, 1))
            h = convolution(w, f"{here}.downsamplers.0.conv", padded, h.shape[1], stride=2)
            stack.append(h)

    h = residual(w, "mid_block.resnets.0", net, h, time, h.shape[1])
    if net.mid_attention:
        h = attention(w, "mid_block.attentions.0", net, h)
    h = residual(w, "mid_block.resnets.1", net, h, time, h.shape[1])

    for level, multiplier in enumerate(reversed(net.multipliers)):
        here = f"up_blocks.{level}"
        for i in range(net.blocks + 1):
            joined = torch.cat([h, stack.pop()], 1)
            h = residual(w, f"{here}.resnets.{i}", net, joined, time, net.channels * multiplier)
            if attend(here, h):
                h = attention(w, f"{here}.attentions.{i}", net, h)
        if level < levels - 1:
            doubled = h.repeat_interleave(2, 2).repeat_interleave(2, 3)
            h = convolution(w, f"{here}.upsamplers.0.conv", doubled, h.shape[1], padding=1)

    assert not stack
    return convolution(w, "conv_out", swish(normalise(w, "conv_norm_out", net, h)), x.shape[1],
                       padding=1)


def diffusers_output(net, weights, x, t, labels):
    from diffusers import UNet2DModel

    with_attention = [min(net.image[1:]) >> level in net.attention
                      for level in range(len(net.multipliers))]
    model = UNet2DModel(
        sample_size=net.image[1:], in_channels=net.image[0], out_channels=net.image[0],
        freq_shift=net.freq_shift, flip_sin_to_cos=net.cosine_first,
        block_out_channels=[net.channels * m for m in net.multipliers],
        down_block_types=["AttnDownBlock2D" if a else "DownBlock2D" for a in with_attention],
        up_block_types=["AttnUpBlock2D" if a else "UpBlock2D" for a in with_attention[::-1]],
        layers_per_block=net.blocks, downsample_padding=0 if net.same_padding else 1,
        add_attention=net.mid_attention, norm_num_groups=net.groups, norm_eps=net.eps,
        attention_head_dim=net.head_channels or None,
        num_class_embeds=net.classes or None).double().eval()
    model.load_state_dict(weights, strict=True)
    with torch.no_grad():
        return model(x, t, class_labels=labels if net.classes else None).sample


def make(net, seed):
    weights = Weights(seed)
    batch = 2
    x = weights.draw(batch, *net.image).requires_grad_()
    target = weights.draw(batch, *net.image)
    t = torch.tensor([7, 863])
    labels = torch.tensor([net.classes - 1, 1 % max(1, net.classes)]) if net.classes else None
    output = forward(weights, net, x, t, labels)
    loss = (output - target).square().mean()
    loss.backward()
    tensors = {"x": x, "t": t, "target": target, "output": output, "loss": loss, "grad_x": x.grad,
               "time_features": time_features(net, t)}
    if net.classes:
        tensors["labels"] = labels
    for name, value in weights.items():
        tensors["param/" + name] = value
        tensors["grad/" + name] = value.grad
    metadata = {"config": net.toml(), "image": " ".join(map(str, (*net.image, net.classes)))}
    return {k: v.detach().contiguous() for k, v in tensors.items()}, metadata


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    golden = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
    parser.add_argument("--out", type=pathlib.Path, default=golden)
    parser.add_argument("--check-diffusers", action="store_true")
    options = parser.parse_args()
    for number, net in enumerate(NETS):
        tensors, metadata = make(net, seed=100 + number)
        path = options.out / f"unet_{net.name}.safetensors"
        save_file(tensors, path, metadata)
        count = sum(v.numel() for k, v in tensors.items() if k.startswith("param/"))
        print(f"{path.name}: {count} parameters, {path.stat().st_size / 1e6:.2f} MB, "
              f"loss {tensors['loss'].item():.6f}")
        if not options.check_diffusers:
            continue
        if net.multipliers[0] != 1:
            print("  diffusers has no network whose first level is wider than its first convolution")
            continue
        weights = {k[len("param/"):]: v for k, v in tensors.items() if k.startswith("param/")}
        other = diffusers_output(net, weights, tensors["x"], tensors["t"], tensors.get("labels"))
        error = (other - tensors["output"]).abs().max() / tensors["output"].abs().max()
        print(f"  differs from diffusers' by {error:.1e} of the largest output")
        assert error < 1e-12


if __name__ == "__main__":
    main()
