#!/usr/bin/env python3
"""Golden files of more networks of other programs, under tests/golden/ports/. See make_exchange_golden.py, whose helpers it uses.

  w86.pt          a network in the layout of w86763777's pytorch-ddpm, by an implementation of our own below: raw and EMA weights
  tqch.pt         the same of tqch's ddpm-torch; its raw weights under "module."
  NAME.safetensors  x, t (from 0), eps (float32) and eps64 of the EMA weights
  lucidrains.pt   a checkpoint of denoising-diffusion-pytorch's Trainer, of a tiny network (values left out: zeros)
  unet_ema.json   the config that diffusers' EMAModel saves with the EMA weights
  wrapped_*.pt    a network (values left out) under the names of torch.compile, DataParallel, Lightning and ema-pytorch

Needs torch, numpy, safetensors, diffusers, denoising-diffusion-pytorch 2.3 and ema-pytorch:
python3 scripts/make_exchange_ports_golden.py
"""

import json
import math
import pathlib
import shutil
import tempfile

import diffusers
import torch
import torch.nn.functional as F
from diffusers.training_utils import EMAModel
from make_exchange_golden import Weights, inputs, outputs, unet
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "ports"


class HoNetwork:
    """Ho's network as a function of a dict of weights; a subclass defines the names and the computation of its parts."""

    channels, multipliers, blocks, attention, groups, eps = 4, (1, 2), 1, (1,), 2, 1e-6

    def __init__(self, seed):
        self.w = Weights(seed)

    def norm(self, name, x):
        return F.group_norm(x, self.groups, self.w(name + ".weight", x.shape[1], offset=1.0),
                            self.w(name + ".bias", x.shape[1]), self.eps)

    def conv(self, name, x, out, size=3, **options):
        weight = self.w(name + ".weight", out, x.shape[1], size, size)
        return F.conv2d(x, weight, self.w(name + ".bias", out), **{"padding": size // 2, **options})

    def linear(self, name, x, out):
        return F.linear(x, self.w(name + ".weight", out, x.shape[-1]), self.w(name + ".bias", out))

    def mixed(self, q, k, v):
        batch, channels, height, width = q.shape
        q, k, v = (part.flatten(2) for part in (q, k, v))
        weights = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(channels), -1)
        return (v @ weights.transpose(1, 2)).reshape(batch, channels, height, width)

    def residual(self, parts, x, emb, out):
        """parts: the names of norm, conv, projection, norm, conv, shortcut."""
        h = self.conv(parts[1], F.silu(self.norm(parts[0], x)), out)
        h = h + self.linear(parts[2], F.silu(emb), out)[:, :, None, None]
        h = self.conv(parts[4], F.silu(self.norm(parts[3], h)), out)
        return h + (self.conv(parts[5], x, out, size=1) if x.shape[1] != out else x)

    def __call__(self, x, t, labels=None):
        emb = self.time(t, x.dtype)
        last = len(self.multipliers) - 1
        stack = [self.conv(self.first, x, self.channels)]
        for level, multiplier in enumerate(self.multipliers):
            for i in range(self.blocks):
                stack.append(self.block("down", level, i, stack[-1], emb, multiplier * self.channels))
            if level < last:
                stack.append(self.down(level, stack[-1]))
        h = self.middle(stack[-1], emb)
        for level in range(last, -1, -1):
            for i in range(self.blocks + 1):
                h = self.block("up", level, i, torch.cat([h, stack.pop()], 1), emb, self.multipliers[level] * self.channels)
            if level:
                h = self.up(level, h.repeat_interleave(2, 2).repeat_interleave(2, 3))
        return self.conv(self.end[1], F.silu(self.norm(self.end[0], h)), x.shape[1])

    def double(self):
        self.w.dtype = torch.float64
        return self

    def float(self):
        self.w.dtype = torch.float32


class W86(HoNetwork):
    """One list of blocks per direction; time features from a table of alternating sines and cosines; padding 1."""

    first, end, eps = "head", ("tail.0", "tail.2"), 1e-5

    def position(self, way, level, i):
        each = self.blocks + (1 if way == "down" else 2)
        return each * level + i if way == "down" else each * (len(self.multipliers) - 1 - level) + i

    def time(self, t, dtype):
        half = self.channels // 2
        angle = torch.arange(1000.0)[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)
        self.w["time_embedding.timembedding.0.weight"] = table = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        h = self.linear("time_embedding.timembedding.1", table[t].to(dtype), 4 * self.channels)
        return self.linear("time_embedding.timembedding.3", F.silu(h), 4 * self.channels)

    def one(self, name, x, emb, out, attention):
        parts = [f"{name}.{part}" for part in ("block1.0", "block1.2", "temb_proj.1", "block2.0", "block2.3", "shortcut")]
        h = self.residual(parts, x, emb, out)
        if not attention:
            return h
        n = self.norm(name + ".attn.group_norm", h)
        q, k, v = (self.conv(f"{name}.attn.proj_{part}", n, out, size=1) for part in "qkv")
        return h + self.conv(name + ".attn.proj", self.mixed(q, k, v), out, size=1)

    def block(self, way, level, i, x, emb, out):
        return self.one(f"{way}blocks.{self.position(way, level, i)}", x, emb, out, level in self.attention)

    def down(self, level, x):
        return self.conv(f"downblocks.{self.position('down', level, self.blocks)}.main", x, x.shape[1], stride=2)

    def up(self, level, x):
        return self.conv(f"upblocks.{self.position('up', level, self.blocks + 1)}.main", x, x.shape[1])

    def middle(self, x, emb):
        return self.one("middleblocks.1", self.one("middleblocks.0", x, emb, x.shape[1], True), emb, x.shape[1], False)


class Tqch(HoNetwork):
    """One dict of levels per direction; blocks of a level with attention are pairs; one product for q, k and v."""

    first, end = "in_conv", ("out_conv.0", "out_conv.2")

    def time(self, t, dtype):
        half = self.channels // 2
        angle = t.float()[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / (half - 1))
        h = self.linear("embed.0", torch.cat([angle.sin(), angle.cos()], 1).to(dtype), 4 * self.channels)
        return self.linear("embed.2", F.silu(h), 4 * self.channels)

    def one(self, name, x, emb, out):
        return self.residual([f"{name}.{part}" for part in ("norm1", "conv1", "fc", "norm2", "conv2", "skip")], x, emb, out)

    def attend(self, name, h):
        q, k, v = self.conv(name + ".project_in", self.norm(name + ".norm", h), 3 * h.shape[1], size=1).chunk(3, 1)
        return h + self.conv(name + ".project_out", self.mixed(q, k, v), h.shape[1], size=1)

    def block(self, way, level, i, x, emb, out):
        name = f"{way}samples.level_{level}.{i}"
        if level not in self.attention:
            return self.one(name, x, emb, out)
        return self.attend(name + ".1", self.one(name + ".0", x, emb, out))

    def down(self, level, x):
        return self.conv(f"downsamples.level_{level}.{self.blocks}.1", F.pad(x, (0, 1, 0, 1)), x.shape[1], stride=2, padding=0)

    def up(self, level, x):
        return self.conv(f"upsamples.level_{level}.{self.blocks + 1}.1", x, x.shape[1])

    def middle(self, x, emb):
        h = self.attend("middle.1", self.one("middle.0", x, emb, x.shape[1]))
        return self.one("middle.2", h, emb, x.shape[1])


def port(name, model, checkpoint):
    out = inputs(3, (8, 8), 0, 50)
    outputs(model, out)
    averaged = dict(model.w)
    raw = {key: value if "timembedding.0" in key else value * 0.5 for key, value in averaged.items()}
    torch.save(checkpoint(raw, averaged), GOLDEN / f"{name}.pt", _use_new_zipfile_serialization=False)
    save_file({k: v.contiguous() for k, v in out.items()}, GOLDEN / f"{name}.safetensors")


ZEROS = {dtype: torch.zeros((), dtype=dtype) for dtype in (torch.float32, torch.float64, torch.int64, torch.bool)}


def without_values(state):
    """All tensors share one number."""
    if isinstance(state, torch.Tensor):
        return ZEROS[state.dtype].expand(state.shape)
    return {key: without_values(value) for key, value in state.items()} if isinstance(state, dict) else state


def lucidrains():
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    diffusion = GaussianDiffusion(Unet(dim=8, dim_mults=(1, 2)), image_size=8, timesteps=10)
    ema = EMA(diffusion)
    torch.save(without_values({"step": 7, "model": diffusion.state_dict(), "opt": {}, "ema": ema.state_dict(), "scaler": None,
                               "version": "2.3.4"}), GOLDEN / "lucidrains.pt")


def ema_config():
    model = unet(7)
    with tempfile.TemporaryDirectory() as folder:
        EMAModel(model.parameters(), decay=0.999, use_ema_warmup=True, model_cls=diffusers.UNet2DModel,
                 model_config=model.config).save_pretrained(folder)
        config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    (GOLDEN / "unet_ema.json").write_text(json.dumps(config, indent=2) + "\n")


def wrapped():
    names = list(unet(1).state_dict().items())
    state = {key: without_values(value) for key, value in names}

    def under(prefix, values=state):
        return {prefix + key: value for key, value in values.items()}

    files = {
        "compiled": under("_orig_mod."),
        "parallel_compiled": {"model": under("module._orig_mod.")},
        "compiled_parts": {key.replace(".resnets.", ".resnets._orig_mod."): value for key, value in state.items()},
        "lightning": {"epoch": 3, "state_dict": {**under("model.unet."), "betas": torch.zeros(3)}, "loops": {}},
        "ema_pytorch": {"step": 3, "model": under("model."),
                        "ema": {**under("online_model.model."), **under("ema_model.model."), "initted": torch.tensor(True),
                                "step": torch.tensor(3)}},
        "unknown": {"model": {f"wrapper.inner.{n}.weight": torch.zeros(1) for n in range(3)}},
    }
    for name, content in files.items():
        torch.save(content, GOLDEN / f"wrapped_{name}.pt")


def main():
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    port("w86", W86(8), lambda raw, averaged: {"net_model": raw, "ema_model": averaged, "sched": {"last_epoch": 3},
                                               "optim": {"state": {}}, "step": 3, "x_T": torch.zeros(2, 3, 8, 8)})
    port("tqch", Tqch(9), lambda raw, averaged: {"model": {f"module.{k}": v for k, v in raw.items()}, "optimizer": {"state": {}},
                                                 "ema": {"decay": 0.9999, "shadow": averaged, "num_updates": 3},
                                                 "scheduler": None, "epoch": 3})
    lucidrains()
    ema_config()
    wrapped()


if __name__ == "__main__":
    main()
