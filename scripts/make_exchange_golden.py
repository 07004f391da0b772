#!/usr/bin/env python3
"""Golden files of networks that other programs wrote, under tests/golden/exchange/, and their outputs.

  library, classes, shift    folders by diffusers' own save_pretrained: the library's defaults; class-conditional, DDIM,
                             v; scale_shift, residual resampling, learned variance
  google                     a folder as google/ddpm-* of 2022: files at the top, .bin, old names of the attention
  openai_shift.pt            networks of OpenAI's improved- and guided-diffusion, by an implementation of our own below:
  openai_conv.pt             scale-shift norm, residual resampling, learned sigma, classes, the older order of qkv; and
                             none of these, the newer order
  ddim.pth                   a list as ermongroup/ddim saves it: [raw weights under "module.", optimizer, epoch, step, average]
  weights_*.pt               one tensor w: 1 in the raw weights, 2 in the EMA weights, under the names that programs use
                             for the two
  NAME.safetensors           for each network: x, t (from 0), labels, eps (float32), eps64, time_features; for folders also
                             x_T, z and path.N, the results of diffusers' schedulers after 10 steps,
                             computed in float64: these random networks amplify rounding a thousandfold. Metadata
                             path.N is the scheduler as JSON with "eta"

Needs torch, numpy, safetensors and diffusers (0.42 was used):  python3 scripts/make_exchange_golden.py
"""

import json
import math
import pathlib
import shutil

import diffusers
import torch
import torch.nn.functional as F
from diffusers.schedulers import scheduling_ddpm
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "exchange"
STEPS = 10


def randomise(parameters, seed):
    """Weights that keep values near 1; nothing is zero or one by default."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            if parameter.dim() > 1:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            else:
                parameter.copy_(noise * 0.1 + (parameter.mean() > 0.5))


def unet(seed, **options):
    common = dict(sample_size=8, block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2,
                  down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"))
    model = diffusers.UNet2DModel(**{**common, **options}).eval()
    for module in model.modules():  # so that randomise can recognise the scales
        if isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.ones_(module.weight)
        elif hasattr(module, "bias") and module.bias is not None:
            torch.nn.init.zeros_(module.bias)
    randomise(model.parameters(), seed)
    return model


def time_features(t, channels, cosine_first, shift):
    half = channels // 2
    angle = t.float()[:, None] * torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float32) / (half - shift))
    parts = [angle.sin(), angle.cos()]
    return torch.cat(parts[::-1] if cosine_first else parts, 1)


def inputs(channels, size, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    out = {"x": torch.randn(2, channels, *size, generator=generator), "t": torch.tensor([0, 863])}
    if classes:
        out["labels"] = torch.tensor([classes - 1, 0])
    return out


@torch.no_grad()
def outputs(model, out):
    """eps and eps64 of a network (x, t, labels) -> eps."""
    out["eps"] = model(out["x"], out["t"], out.get("labels"))
    out["eps64"] = model.double()(out["x"].double(), out["t"], out.get("labels"))
    model.float()
    return out


def in_float64(scheduler):
    """Products of a thousand numbers near 1, whose last digits float32 loses."""
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), 0)
    if hasattr(scheduler, "final_alpha_cumprod") and scheduler.final_alpha_cumprod != 1:
        scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    return scheduler


@torch.no_grad()
def path(model, scheduler, x, z, eta, labels):
    scheduler.set_timesteps(STEPS)
    for k, t in enumerate(scheduler.timesteps):
        eps = model(x, t, labels)
        if isinstance(scheduler, diffusers.DDIMScheduler):
            x = scheduler.step(eps, t, x, eta=eta, variance_noise=z[k] if eta > 0 else None).prev_sample
            continue
        scheduling_ddpm.randn_tensor = lambda *_, k=k, **__: z[k]
        x = scheduler.step(eps, t, x).prev_sample
    return x


def paths(model, schedulers, classes, seed):
    """schedulers: (scheduler, eta). Tensors and metadata."""
    size = model.config.sample_size
    size = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 3, *size, generator=generator)
    z = torch.randn(STEPS, 1, 3, *size, generator=generator)
    out, metadata, worst = {"x_T": x, "z": z}, {}, []
    labels = torch.tensor([1]) if classes else None
    network = lambda x, t, labels: model(x, t, class_labels=labels).sample  # noqa: E731
    for n, (scheduler, eta) in enumerate(schedulers):
        as_it_is = path(network, scheduler, x.clone(), z, eta, labels)
        model.double()
        out[f"path.{n}"] = path(network, in_float64(scheduler), x.double(), z.double(), eta, labels).float()
        model.float()
        worst.append((out[f"path.{n}"] - as_it_is).abs().max().item() / max(1, as_it_is.abs().max().item()))
        metadata[f"path.{n}"] = json.dumps({**json.loads(scheduler.to_json_string()), "eta": eta})
    print(f"{len(worst)} paths; computing them in float32 moves their ends by up to {max(worst):.1e}")
    assert max(worst) < 5e-4
    return out, metadata


def ddim(eta=0.0, **options):
    return diffusers.DDIMScheduler(**options), eta


def ddpm(**options):
    return diffusers.DDPMScheduler(**options), 0.0


def every_setting():
    for clip in ({"clip_sample": False}, {}, {"clip_sample_range": 0.5}):
        for spacing in ("leading", "trailing", "linspace"):
            for end in ({}, {"set_alpha_to_one": False}, {"steps_offset": 1}, {"steps_offset": 1, "set_alpha_to_one": False}):
                if spacing != "leading" and "steps_offset" in end:
                    continue
                for eta in (0.0, 0.7):
                    yield ddim(eta, timestep_spacing=spacing, **clip, **end)
        for spacing in ("leading", "trailing", "linspace"):
            for variance in ("fixed_small", "fixed_large", "fixed_small_log"):
                yield ddpm(timestep_spacing=spacing, variance_type=variance, **clip)
    for schedule in ("scaled_linear", "squaredcos_cap_v2"):
        yield ddim(beta_schedule=schedule)
        yield ddpm(beta_schedule=schedule)
    yield ddpm(beta_schedule="sigmoid")
    yield ddpm(steps_offset=1)
    yield ddpm(num_train_timesteps=20, trained_betas=[0.01 + 0.02 * i for i in range(20)])
    yield ddim(num_train_timesteps=100, beta_start=0.001, beta_end=0.05, prediction_type="sample")


def folder(name, model, scheduler, schedulers, seed):
    model.save_pretrained(GOLDEN / name / "unet")
    scheduler.save_pretrained(GOLDEN / name / "scheduler")
    classes = model.config.num_class_embeds or 0
    size = model.config.sample_size
    out = inputs(3, (size, size) if isinstance(size, int) else tuple(size), classes, seed)
    out["time_features"] = time_features(out["t"], 4, model.config.flip_sin_to_cos, model.config.freq_shift)
    outputs(Sample(model), out)
    more, metadata = paths(model, schedulers, classes, seed + 1)
    save_file({k: v.contiguous() for k, v in {**out, **more}.items()}, GOLDEN / f"{name}.safetensors", metadata)
    return model, out


class Sample(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, t, labels):
        return self.model(x, t, class_labels=labels).sample


# --- OpenAI's layout, as a plain function over a dictionary of weights that are created at their first use.
class Weights(dict):
    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype = torch.float32

    def __call__(self, name, *shape, offset=0.0):
        if name not in self:
            noise = torch.randn(*shape, generator=self.generator)
            self[name] = noise * noise[0].numel() ** -0.5 if len(shape) > 1 else offset + noise * 0.1
        assert self[name].shape == shape, name
        return self[name].to(self.dtype)


class OpenAI:
    def __init__(self, seed, channels=4, multipliers=(1, 2), blocks=1, attention=(1,), heads=2, groups=2, classes=0,
                 scale_shift=False, residual=False, learned=False, new_order=False):
        self.__dict__.update(locals())
        self.w = Weights(seed)

    def norm(self, name, x):
        scale = self.w(name + ".weight", x.shape[1], offset=1.0)
        return F.group_norm(x, self.groups, scale, self.w(name + ".bias", x.shape[1]), 1e-5)

    def conv(self, name, x, out, size=3, **options):
        weight = self.w(name + ".weight", out, x.shape[1], size, size)
        return F.conv2d(x, weight, self.w(name + ".bias", out), padding=size // 2, **options)

    def linear(self, name, x, out):
        return F.linear(x, self.w(name + ".weight", out, x.shape[-1]), self.w(name + ".bias", out))

    def block(self, name, x, emb, out, resample=None):
        h = F.silu(self.norm(name + ".in_layers.0", x))
        if resample:
            h, x = resample(h), resample(x)
        h = self.conv(name + ".in_layers.2", h, out)
        e = self.linear(name + ".emb_layers.1", F.silu(emb), 2 * out if self.scale_shift else out)[:, :, None, None]
        if self.scale_shift:
            h = self.norm(name + ".out_layers.0", h) * (1 + e[:, :out]) + e[:, out:]
        else:
            h = self.norm(name + ".out_layers.0", h + e)
        h = self.conv(name + ".out_layers.3", F.silu(h), out)
        return h + (self.conv(name + ".skip_connection", x, out, size=1) if x.shape[1] != out else x)

    def attend(self, name, x):
        batch, channels, height, width = x.shape
        d = channels // self.heads
        qkv = F.conv1d(self.norm(name + ".norm", x).flatten(2), self.w(name + ".qkv.weight", 3 * channels, channels, 1),
                       self.w(name + ".qkv.bias", 3 * channels))
        if self.new_order:
            q, k, v = qkv.reshape(batch, 3, self.heads, d, -1).unbind(1)
        else:
            q, k, v = qkv.reshape(batch, self.heads, 3, d, -1).unbind(2)
        mix = torch.softmax(torch.einsum("bhdn,bhdm->bhnm", q, k) / math.sqrt(d), -1)
        h = torch.einsum("bhnm,bhdm->bhdn", mix, v).reshape(batch, channels, -1)
        h = F.conv1d(h, self.w(name + ".proj_out.weight", channels, channels, 1), self.w(name + ".proj_out.bias", channels))
        return x + h.reshape(x.shape)

    def __call__(self, x, t, labels):
        width, last = 4 * self.channels, len(self.multipliers) - 1
        emb = self.linear("time_embed.0", time_features(t, self.channels, True, 0).to(x.dtype), width)
        emb = self.linear("time_embed.2", F.silu(emb), width)
        if self.classes:
            emb = emb + self.w("label_emb.weight", self.classes, width)[labels]
        down = lambda h: F.avg_pool2d(h, 2)  # noqa: E731
        up = lambda h: h.repeat_interleave(2, 2).repeat_interleave(2, 3)  # noqa: E731
        h = self.conv("input_blocks.0.0", x, self.channels)
        stack, n = [h], 1
        for level, multiplier in enumerate(self.multipliers):
            for _ in range(self.blocks):
                h = self.block(f"input_blocks.{n}.0", h, emb, self.channels * multiplier)
                if level in self.attention:
                    h = self.attend(f"input_blocks.{n}.1", h)
                stack.append(h)
                n += 1
            if level < last:
                name = f"input_blocks.{n}.0"
                h = (self.block(name, h, emb, h.shape[1], down) if self.residual else
                     self.conv(name + ".op", h, h.shape[1], stride=2))
                stack.append(h)
                n += 1
        h = self.block("middle_block.0", h, emb, h.shape[1])
        h = self.block("middle_block.2", self.attend("middle_block.1", h), emb, h.shape[1])
        n = 0
        for level in range(last, -1, -1):
            for i in range(self.blocks + 1):
                name, module = f"output_blocks.{n}", 1
                h = self.block(name + ".0", torch.cat([h, stack.pop()], 1), emb, self.channels * self.multipliers[level])
                if level in self.attention:
                    h, module = self.attend(name + ".1", h), 2
                if level and i == self.blocks:
                    name = f"{name}.{module}"
                    h = self.block(name, h, emb, h.shape[1], up) if self.residual else self.conv(name + ".conv", up(h), h.shape[1])
                n += 1
        return self.conv("out.2", F.silu(self.norm("out.0", h)), x.shape[1] * (2 if self.learned else 1))

    def double(self):
        self.w.dtype = torch.float64
        return self

    def float(self):
        self.w.dtype = torch.float32


def openai(name, **options):
    model = OpenAI(**options)
    out = inputs(3, (8, 8), model.classes, options["seed"] + 1)
    out["time_features"] = time_features(out["t"], 4, True, 0)
    outputs(model, out)
    torch.save(dict(model.w), GOLDEN / f"{name}.pt")
    save_file({k: v.contiguous() for k, v in out.items()}, GOLDEN / f"{name}.safetensors")


# --- the names of 2022, and of the ports of Ho's networks
def old_attention(state):
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        state = {key.replace(f".{new}.", f".{old}."): value for key, value in state.items()}
    return state


def ho_names(state, levels):
    out = {}
    for key, value in state.items():
        part = key.split(".")
        if part[0] in ("down_blocks", "up_blocks"):
            way = part[0][: -len("_blocks")]
            level = int(part[1]) if way == "down" else levels - 1 - int(part[1])
            kind = {"resnets": f"block.{part[3]}", "attentions": f"attn.{part[3]}", "downsamplers": "downsample",
                    "upsamplers": "upsample"}[part[2]]
            rest, attention = part[4:], part[2] == "attentions"
            head = f"{way}.{level}.{kind}"
        elif part[0] == "mid_block":
            attention, rest = part[1] == "attentions", part[3:]
            head = "mid.attn_1" if attention else f"mid.block_{int(part[2]) + 1}"
        else:
            head, rest, attention = {"conv_norm_out": "norm_out", "time_embedding": "temb.dense"}.get(part[0], part[0]), part[1:], False
            if head == "temb.dense":
                rest = [str(int(rest[0][-1]) - 1), *rest[1:]]
        if attention:
            rest = [{"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}[rest[0]], rest[-1]]
            if value.dim() == 2:
                value = value[:, :, None, None]
        rest = [{"time_emb_proj": "temb_proj", "conv_shortcut": "nin_shortcut"}.get(word, word) for word in rest]
        out[".".join([head, *rest])] = value.clone()
    return out


def named_weights():
    trained, averaged = {"w": torch.ones(1)}, {"w": torch.full((1,), 2.0)}
    for name, content in {"model_ema": {"model": trained, "ema": averaged, "step": 7},
                          "model_ema_state_dict": {"model": trained, "ema_state_dict": averaged},
                          "ema_state_dict": {"ema_state_dict": averaged}, "model": {"model": trained}, "plain": trained}.items():
        torch.save(content, GOLDEN / f"weights_{name}.pt")


def main():
    named_weights()
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    named_weights()
    folder("library", unet(1), diffusers.DDPMScheduler(), every_setting(), 10)
    end = dict(prediction_type="v_prediction", set_alpha_to_one=False, steps_offset=1, clip_sample=False)
    folder("classes", unet(2, sample_size=(8, 4), num_class_embeds=5, attention_head_dim=4,
                           down_block_types=("AttnDownBlock2D",) * 2, up_block_types=("AttnUpBlock2D",) * 2),
           diffusers.DDIMScheduler(**end),
           [ddim(**end), ddim(0.5, **end),
            ddim(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"),
            ddpm(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")], 20)
    folder("shift", unet(3, out_channels=6, resnet_time_scale_shift="scale_shift", attn_norm_num_groups=2,
                         downsample_type="resnet", upsample_type="resnet", attention_head_dim=4, layers_per_block=2,
                         block_out_channels=(4, 8, 8), down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D", "DownBlock2D"),
                         up_block_types=("ResnetUpsampleBlock2D", "AttnUpBlock2D", "UpBlock2D")),
           diffusers.DDPMScheduler(variance_type="learned_range"),
           [ddpm(variance_type="learned_range", timestep_spacing=s) for s in ("leading", "trailing", "linspace")], 30)

    google = dict(attention_head_dim=None, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-6)
    scheduler = diffusers.DDPMScheduler(variance_type="fixed_large")
    model, out = folder("google", unet(4, **google), scheduler, [(scheduler, 0.0)], 40)
    here = GOLDEN / "google"
    kept = ("_class_name act_fn attention_head_dim block_out_channels center_input_sample down_block_types downsample_padding "
            "flip_sin_to_cos freq_shift in_channels layers_per_block mid_block_scale_factor norm_eps norm_num_groups "
            "out_channels sample_size time_embedding_type up_block_types").split()
    config = json.loads((here / "unet/config.json").read_text())
    shutil.rmtree(here / "unet")
    shutil.rmtree(here / "scheduler")
    (here / "config.json").write_text(json.dumps({key: config[key] for key in kept}, indent=2))
    (here / "scheduler_config.json").write_text(json.dumps(
        {"_class_name": "DDPMScheduler", "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 1e-4, "clip_sample": True,
         "num_train_timesteps": 1000, "trained_betas": None, "variance_type": "fixed_large"}, indent=2))
    state = model.state_dict()
    torch.save(old_attention(state), here / "diffusion_pytorch_model.bin")
    ho = ho_names(state, 2)
    raw = {f"module.{key}": value * 0.5 for key, value in ho.items()}
    torch.save([raw, {"state": {}, "param_groups": [{"lr": 2e-4, "params": [0]}]}, 3, 17, ho], GOLDEN / "ddim.pth",
               _use_new_zipfile_serialization=False)

    openai("openai_shift", seed=5, classes=3, scale_shift=True, residual=True, learned=True, attention=(0, 1))
    openai("openai_conv", seed=6, blocks=2, new_order=True)


if __name__ == "__main__":
    main()
