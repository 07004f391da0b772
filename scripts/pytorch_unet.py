"""The network of a config in PyTorch, as a plain nn.Module or diffusers' UNet2DModel, and a training step of it.

For the compare_*.py scripts; the program does not use it. Needs PyTorch.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class ResnetBlock(nn.Module):
    def __init__(self, channels_in, channels_out, time_channels, groups, eps, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        self.norm1 = nn.GroupNorm(groups, channels_in, eps)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.time = nn.Linear(time_channels, channels_out)
        self.norm2 = nn.GroupNorm(groups, channels_out, eps)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x))) + self.time(temb)[:, :, None, None]
        h = F.dropout(F.silu(self.norm2(h)), self.dropout, self.training)
        return self.conv2(h) + self.shortcut(x)


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


class Block(nn.Module):
    """A residual block and the attention after it, if any: the unit that `recompute` computes again."""

    def __init__(self, resnet, attention):
        super().__init__()
        self.resnet, self.attention = resnet, attention
        self.recompute = False

    def forward(self, x, temb):
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self.run, x, temb, use_reentrant=False)
        return self.run(x, temb)

    def run(self, x, temb):
        return self.attention(self.resnet(x, temb))


class UNet(nn.Module):
    """Ho 2020, App. B, as in include/ddpm/nn/unet.h."""

    def __init__(self, image_channels, size, channels, multipliers, blocks, attention, groups, eps, mid_attention,
                 dropout=0.0):
        super().__init__()
        self.channels = channels
        time_channels = 4 * channels
        self.time1, self.time2 = nn.Linear(channels, time_channels), nn.Linear(time_channels, time_channels)
        self.conv_in = nn.Conv2d(image_channels, channels, 3, padding=1)

        def block(channels_in, channels_out, attend):
            resnet = ResnetBlock(channels_in, channels_out, time_channels, groups, eps, dropout)
            return Block(resnet, Attention(channels_out, groups, eps) if attend else nn.Identity())

        skips, current = [channels], channels
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, m in enumerate(multipliers):
            stage = nn.ModuleList()
            for _ in range(blocks):
                stage.append(block(current, channels * m, size >> level in attention))
                current = channels * m
                skips.append(current)
            if level + 1 < len(multipliers):
                stage.append(nn.Conv2d(current, current, 3, stride=2))
                skips.append(current)
            self.down.append(stage)
        self.mid1, self.mid2 = block(current, current, mid_attention), block(current, current, False)
        for level, m in reversed(list(enumerate(multipliers))):
            stage = nn.ModuleList()
            for _ in range(blocks + 1):
                stage.append(block(current + skips.pop(), channels * m, size >> level in attention))
                current = channels * m
            if level > 0:
                stage.append(nn.Conv2d(current, current, 3, padding=1))
            self.up.append(stage)
        self.norm_out = nn.GroupNorm(groups, current, eps)
        self.conv_out = nn.Conv2d(current, image_channels, 3, padding=1)

    def forward(self, x, t):
        half = self.channels // 2
        angle = t[:, None].float() * torch.exp(torch.arange(half, device=t.device) * (-math.log(10000.0) / (half - 1)))[None]
        temb = torch.cat([angle.sin(), angle.cos()], 1).to(self.time1.weight.dtype)
        temb = F.silu(self.time2(F.silu(self.time1(temb))))
        h = self.conv_in(x)
        skips = [h]
        for stage in self.down:
            for layer in stage:
                h = layer(h, temb) if isinstance(layer, Block) else layer(F.pad(h, (0, 1, 0, 1)))
                skips.append(h)
        h = self.mid2(self.mid1(h, temb), temb)
        for stage in self.up:
            for layer in stage:
                if isinstance(layer, Block):
                    h = layer(torch.cat([h, skips.pop()], 1), temb)
                else:
                    h = layer(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(h)))

    def set_recompute(self, recompute):
        for module in self.modules():
            if isinstance(module, Block):
                module.recompute = recompute


class Sample(nn.Module):
    """diffusers' network with its output as a tensor."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, t):
        return self.net(x, t, return_dict=False)[0]


def network_of(config, use_diffusers):
    """The network of a config's [model] and [data] (a dict, as tomllib reads it), float32."""
    model, data = config["model"], config["data"]
    size, multipliers = data["image_size"], model["channel_multipliers"]
    attention, groups = model.get("attention_resolutions", [16]), model.get("groups", 32)
    mid_attention = model.get("mid_attention", True)
    if not use_diffusers:
        return UNet(data["channels"], size, model["channels"], multipliers, model["blocks"], attention, groups, 1e-6,
                    mid_attention, model.get("dropout", 0.0))
    from diffusers import UNet2DModel

    levels = [size >> level in attention for level in range(len(multipliers))]
    return Sample(UNet2DModel(
        sample_size=size, in_channels=data["channels"], out_channels=data["channels"], layers_per_block=model["blocks"],
        block_out_channels=[model["channels"] * m for m in multipliers], norm_num_groups=groups, norm_eps=1e-6,
        downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, attention_head_dim=None, add_attention=mid_attention,
        down_block_types=["AttnDownBlock2D" if a else "DownBlock2D" for a in levels],
        up_block_types=["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(levels)]))


def images_of(config, device="cpu"):
    """A batch of noise in the place of images, channels_last."""
    data = config["data"]
    shape = (config["train"]["batch_size"], data["channels"], data["image_size"], data["image_size"])
    return (torch.rand(shape, device=device) * 2 - 1).contiguous(memory_format=torch.channels_last)


def autocast(precision, device="cpu"):
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


class TrainingStep:
    """The same as ours: noise, forward, mean squared error, backward, clipping by the global norm, Adam (fused), EMA.

    `net` is trained; `run` calls it (compiled, say).
    """

    def __init__(self, net, run, config, precision):
        self.net, self.run, self.precision = net, run, precision
        self.parameters = list(net.parameters())
        self.device = self.parameters[0].device.type
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.Adam(self.parameters, lr=2e-4, fused=True, capturable=self.device == "cuda")
        self.x0 = images_of(config, self.device)
        self.alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float().to(self.device)

    def __call__(self):
        t = torch.randint(0, 1000, (len(self.x0),), device=self.device)
        noise = torch.randn_like(self.x0)
        a = self.alpha_bar[t].view(-1, 1, 1, 1)
        with autocast(self.precision, self.device):
            output = self.run(a.sqrt() * self.x0 + (1 - a).sqrt() * noise, t)
        loss = F.mse_loss(output.float(), noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - 0.9999)
