#!/usr/bin/env python3
"""Training step and forward of one network, here and in PyTorch, in turn on one machine.

    compare_pytorch.py [--program build/release/ddpm] [--config configs/bench_small.toml] [--rounds 5] [--repeats 3]
                       [--what eager,compile] [--compile-mode default] [--precision fp32,bf16] [--diffusers] [--json FILE]

Each round runs `ddpm bench --json` and then every PyTorch variant, so that what slows the machine down slows all; the
table gives the medians over the rounds, and the ratio of ours to the best of PyTorch. PyTorch's network is a plain
nn.Module of the same layers and as many parameters (that is checked), or diffusers' UNet2DModel; its training step is
what ours is: noise, forward, mean squared error, backward, clipping by the global norm, Adam (fused), EMA (foreach). It
runs in channels_last, and under autocast for bf16. Needs Python 3.11 and PyTorch; nothing of it is used by the program.
"""

import argparse
import copy
import json
import math
import statistics
import subprocess
import sys
import time
import tomllib

import torch
from torch import nn
from torch.nn import functional as F


class ResnetBlock(nn.Module):
    def __init__(self, channels_in, channels_out, time_channels, groups, eps):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in, eps)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.time = nn.Linear(time_channels, channels_out)
        self.norm2 = nn.GroupNorm(groups, channels_out, eps)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x))) + self.time(temb)[:, :, None, None]
        return self.conv2(F.silu(self.norm2(h))) + self.shortcut(x)


class Attention(nn.Module):
    def __init__(self, channels, groups, eps):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps)
        self.q, self.k, self.v, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x):
        b, c, height, width = x.shape
        h = self.norm(x).permute(0, 2, 3, 1).reshape(b, height * width, c)
        q, k, v = (layer(h).unsqueeze(1) for layer in (self.q, self.k, self.v))
        h = self.out(F.scaled_dot_product_attention(q, k, v).squeeze(1))
        return x + h.view(b, height, width, c).permute(0, 3, 1, 2)


class UNet(nn.Module):
    """Ho 2020, App. B, as include/ddpm/nn/unet.h."""

    def __init__(self, image_channels, size, channels, multipliers, blocks, attention, groups, eps):
        super().__init__()
        self.channels = channels
        time_channels = 4 * channels
        self.time1, self.time2 = nn.Linear(channels, time_channels), nn.Linear(time_channels, time_channels)
        self.conv_in = nn.Conv2d(image_channels, channels, 3, padding=1)
        block = lambda i, o: ResnetBlock(i, o, time_channels, groups, eps)
        attend = lambda level, c: Attention(c, groups, eps) if size >> level in attention else nn.Identity()
        skips, current = [channels], channels
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, m in enumerate(multipliers):
            stage = nn.ModuleList()
            for _ in range(blocks):
                stage.append(nn.ModuleList([block(current, channels * m), attend(level, channels * m)]))
                current = channels * m
                skips.append(current)
            if level + 1 < len(multipliers):
                stage.append(nn.Conv2d(current, current, 3, stride=2))
                skips.append(current)
            self.down.append(stage)
        self.mid1, self.mid2 = block(current, current), block(current, current)
        self.mid_attention = Attention(current, groups, eps)
        for level, m in reversed(list(enumerate(multipliers))):
            stage = nn.ModuleList()
            for _ in range(blocks + 1):
                stage.append(nn.ModuleList([block(current + skips.pop(), channels * m), attend(level, channels * m)]))
                current = channels * m
            if level > 0:
                stage.append(nn.Conv2d(current, current, 3, padding=1))
            self.up.append(stage)
        self.norm_out = nn.GroupNorm(groups, current, eps)
        self.conv_out = nn.Conv2d(current, image_channels, 3, padding=1)

    def forward(self, x, t):
        half = self.channels // 2
        angle = t[:, None].float() * torch.exp(torch.arange(half) * (-math.log(10000.0) / (half - 1)))[None]
        temb = F.silu(self.time2(F.silu(self.time1(torch.cat([angle.sin(), angle.cos()], 1)))))
        h = self.conv_in(x)
        skips = [h]
        for stage in self.down:
            for layer in stage:
                if isinstance(layer, nn.ModuleList):
                    h = layer[1](layer[0](h, temb))
                else:
                    h = layer(F.pad(h, (0, 1, 0, 1)))
                skips.append(h)
        h = self.mid2(self.mid_attention(self.mid1(h, temb)), temb)
        for stage in self.up:
            for layer in stage:
                if isinstance(layer, nn.ModuleList):
                    h = layer[1](layer[0](torch.cat([h, skips.pop()], 1), temb))
                else:
                    h = layer(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(h)))


def network_of(config, use_diffusers):
    model, data = config["model"], config["data"]
    size, multipliers = data["image_size"], model["channel_multipliers"]
    attention, groups = model.get("attention_resolutions", [16]), model.get("groups", 32)
    if not use_diffusers:
        return UNet(data["channels"], size, model["channels"], multipliers, model["blocks"], attention, groups, 1e-6)
    from diffusers import UNet2DModel

    levels = [size >> level in attention for level in range(len(multipliers))]
    net = UNet2DModel(
        sample_size=size, in_channels=data["channels"], out_channels=data["channels"], layers_per_block=model["blocks"],
        block_out_channels=[model["channels"] * m for m in multipliers], norm_num_groups=groups, norm_eps=1e-6,
        downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, attention_head_dim=None,
        down_block_types=["AttnDownBlock2D" if a else "DownBlock2D" for a in levels],
        up_block_types=["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(levels)])

    class Sample(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x, t):
            return self.net(x, t).sample

    return Sample()


class Variant:
    """One way of running PyTorch's network."""

    def __init__(self, name, net, config, compiled, precision, compile_mode):
        self.name = name
        self.net = copy.deepcopy(net).to(memory_format=torch.channels_last)
        self.run = torch.compile(self.net, mode=compile_mode) if compiled else self.net
        self.autocast = lambda: torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
        self.parameters = list(self.net.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.Adam(self.parameters, lr=2e-4, fused=True)
        data = config["data"]
        shape = (config["train"]["batch_size"], data["channels"], data["image_size"], data["image_size"])
        self.x0 = (torch.rand(shape) * 2 - 1).contiguous(memory_format=torch.channels_last)
        self.alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float()

    def train(self):
        self.net.train()
        t = torch.randint(0, 1000, (len(self.x0),))
        noise = torch.randn_like(self.x0)
        a = self.alpha_bar[t].view(-1, 1, 1, 1)
        with self.autocast():
            output = self.run(a.sqrt() * self.x0 + (1 - a).sqrt() * noise, t)
        loss = F.mse_loss(output.float(), noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - 0.9999)

    def forward(self):
        self.net.eval()
        with torch.no_grad(), self.autocast():
            self.run(self.x0, torch.ones(len(self.x0), dtype=torch.long))


def images_per_s(work, batch, repeats):
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return batch / statistics.median(times)


def run_ours(arguments, precision):
    command = [arguments.program, "bench", "--config", arguments.config, "--what", "train,forward", "--json", "--device",
               "cpu", "--warm-up", "1", "--repeats", str(arguments.repeats), "--set", f"train.precision={precision}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/ddpm")
    parser.add_argument("--config", default="configs/bench_small.toml")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--what", default="eager,compile")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--compile-mode", default="default", help="of torch.compile; max-autotune takes long")
    parser.add_argument("--diffusers", action="store_true", help="diffusers' UNet2DModel instead of a plain module")
    parser.add_argument("--json", help="also write every number here")
    arguments = parser.parse_args()
    with open(arguments.config, "rb") as file:
        config = tomllib.load(file)
    batch = config["train"]["batch_size"]
    net = network_of(config, arguments.diffusers)
    parameters = sum(p.numel() for p in net.parameters())
    precisions = arguments.precision.split(",")
    variants = [Variant(f"{what} {precision}", net, config, what == "compile", precision, arguments.compile_mode)
                for precision in precisions for what in arguments.what.split(",")]
    for variant in variants:  # compiles
        variant.train(), variant.forward()
    rates = {}
    add = lambda name, value: rates.setdefault(name, []).append(value)
    for number in range(arguments.rounds):
        for precision in precisions:
            ours = run_ours(arguments, precision)
            if ours["parameters"] != parameters:
                sys.exit(f"the networks differ: {ours['parameters']} parameters here, {parameters} in PyTorch")
            for part in ("train", "forward"):
                add((f"ddpm {precision}", part), ours[part]["images_per_s"])
            add((f"ddpm {precision}", "conv"), ours["conv_gflops"])
            add((f"ddpm {precision}", "conv_forward"), ours["conv_forward_gflops"])
        for variant in variants:
            add((variant.name, "train"), images_per_s(variant.train, batch, arguments.repeats))
            add((variant.name, "forward"), images_per_s(variant.forward, batch, arguments.repeats))
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)

    median = {key: statistics.median(values) for key, values in rates.items()}
    flops = {"train": 3 * ours["forward_gflop"], "forward": ours["forward_gflop"]}
    conv = {"train": median[(f"ddpm {precisions[0]}", "conv")], "forward": median[(f"ddpm {precisions[0]}", "conv_forward")]}
    kind = "diffusers UNet2DModel" if arguments.diffusers else "plain nn.Module"
    print(f"torch {torch.__version__} ({kind}), {torch.get_num_threads()} threads, batch {batch}, {parameters:,} parameters, "
          f"{arguments.rounds} rounds; oneDNN's 3x3 convolutions alone: {conv['train']:.0f} GFLOP/s with backward, "
          f"{conv['forward']:.0f} forward ({precisions[0]})")
    print(f"| | train images/s | share of the convolution rate | forward images/s | share |")
    print("| --- | --- | --- | --- | --- |")
    for name in dict.fromkeys(key[0] for key in rates):
        cells = []
        for part in ("train", "forward"):
            low, high = min(rates[(name, part)]), max(rates[(name, part)])
            cells.append(f"{median[(name, part)]:.1f} ({low:.1f} to {high:.1f})")
            cells.append(f"{median[(name, part)] * flops[part] / conv[part]:.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |")
    for precision in precisions:
        for part in ("train", "forward"):
            best = max((v.name for v in variants), key=lambda name: median[(name, part)])
            ratio = [a / b for a, b in zip(rates[(f"ddpm {precision}", part)], rates[(best, part)])]
            print(f"{part}: ddpm {precision} is {statistics.median(ratio):.2f} x the best of PyTorch ({best}); "
                  f"by round {', '.join(f'{r:.2f}' for r in ratio)}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({f"{name} / {part}": values for (name, part), values in rates.items()}, file, indent=1)


if __name__ == "__main__":
    main()
