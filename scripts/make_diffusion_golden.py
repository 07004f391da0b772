#!/usr/bin/env python3
"""Writes tests/golden/diffusion_*.safetensors: reference numbers for the schedule and the samplers.

  diffusion_schedules  tables of each schedule, by numpy in extended precision, from the papers' formulas
  diffusion_plans      timesteps, by diffusers' set_timesteps and by the formulas of DDIM's code
  diffusion_samplers   the results of diffusers' DDIMScheduler and DDPMScheduler for a fixed network and noise

Needs numpy, torch, safetensors and diffusers (0.42 was used):  python3 scripts/make_diffusion_golden.py
"""

import math
import pathlib

import diffusers
import numpy as np
import torch
from diffusers.schedulers import scheduling_ddpm
from safetensors.numpy import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
LONG = np.longdouble


def betas(kind, steps, low, high, s=0.008):
    if kind == "linear":
        return np.linspace(LONG(low), LONG(high), steps)
    if kind == "quadratic":
        return np.linspace(LONG(low) ** LONG(0.5), LONG(high) ** LONG(0.5), steps) ** 2
    if kind == "constant":
        return np.full(steps, LONG(high))
    if kind == "sigmoid":
        x = np.linspace(LONG(-6), LONG(6), steps) if steps > 1 else np.array([LONG(-6)])
        return 1 / (1 + np.exp(-x)) * (LONG(high) - LONG(low)) + LONG(low)
    pi = LONG("3.14159265358979323846264338327950288")
    f = np.cos((np.arange(steps + 1, dtype=LONG) / steps + LONG(s)) / (1 + LONG(s)) * pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], LONG(0.999))


def zero_terminal_snr(beta):
    """Lin 2024, Algorithm 1."""
    root = np.sqrt(np.cumprod(1 - beta))
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    abar = root**2
    return 1 - abar / np.concatenate([[LONG(1)], abar[:-1]])


def schedules():
    cases = {
        "linear_1000": ("linear", 1000, 1e-4, 0.02),
        "linear_250_weak": ("linear", 250, 1e-4, 0.01),
        "linear_1": ("linear", 1, 1e-4, 0.02),
        "linear_2": ("linear", 2, 1e-4, 0.02),
        "cosine_100": ("cosine", 100, 1e-4, 0.02),
        "cosine_1": ("cosine", 1, 1e-4, 0.02),
        "quadratic_100": ("quadratic", 100, 1e-4, 0.02),
        "sigmoid_100": ("sigmoid", 100, 1e-4, 0.02),
        "constant_100": ("constant", 100, 1e-4, 0.02),
    }
    out = {}
    for kind, steps in (("linear", 1000), ("linear", 2), ("cosine", 100)):
        cases[f"zero_{kind}_{steps}"] = (kind, steps, 1e-4, 0.02)
    for name, (kind, steps, low, high) in cases.items():
        beta = betas(kind, steps, low, high)
        if name.startswith("zero_"):
            beta = zero_terminal_snr(beta)
        abar = np.cumprod(1 - beta)
        before = np.concatenate([[LONG(1)], abar[:-1]])
        table = {
            "beta": beta,
            "alpha_bar": abar,
            "posterior_variance": beta * (1 - before) / (1 - abar),
            "posterior_mean_x0": np.sqrt(before) * beta / (1 - abar),
            "posterior_mean_xt": np.sqrt(1 - beta) * (1 - before) / (1 - abar),
            "snr": abar / (1 - abar),
        }
        out.update({f"{name}.{key}": value.astype(np.float64) for key, value in table.items()})
    save_file(out, GOLDEN / "diffusion_schedules.safetensors")


def plans():
    """Counted from 0, as in the published code, in the order of use."""
    out = {}
    for total in (1000, 100):
        for steps in (1, 2, 5, 10, 20, 50, 100, 1000):
            if steps > total:
                continue
            for spacing in ("leading", "trailing", "linspace"):
                scheduler = diffusers.DDIMScheduler(
                    num_train_timesteps=total, timestep_spacing=spacing, steps_offset=0
                )
                scheduler.set_timesteps(steps)
                out[f"diffusers.{spacing}.{total}.{steps}"] = scheduler.timesteps.numpy().astype(np.int64)
            uniform = list(range(0, total, total // steps))
            out[f"ddim.leading.{total}.{steps}"] = np.array(uniform[::-1], np.int64)
            quad = [int(x) for x in np.linspace(0, np.sqrt(total * 0.8), steps) ** 2]
            if len(set(quad)) == steps:
                out[f"ddim.quadratic.{total}.{steps}"] = np.array(quad[::-1], np.int64)
    save_file(out, GOLDEN / "diffusion_plans.safetensors")


def network(x, t):
    return 0.3 * x + 0.1 * math.sin(t)


def in_float64(scheduler):
    """diffusers keeps its tables in float32; the same tables in float64 leave only real differences."""
    config = scheduler.config
    scheduler.betas = torch.linspace(
        config.beta_start, config.beta_end, config.num_train_timesteps, dtype=torch.float64
    )
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.final_alpha_cumprod = one
    scheduler.one = one
    return scheduler


def ddim_by_hand(timesteps, abar, x, z, eta, clip):
    """Song 2021, Eq. 12 with Eq. 16: for linspace, since diffusers jumps to t - T // S, not to the next t."""
    for k, t in enumerate(timesteps):
        last = k + 1 == len(timesteps)
        now, then = abar[t], 1.0 if last else abar[timesteps[k + 1]]
        eps = network(x, t)
        x0 = (x - (1 - now) ** 0.5 * eps) / now**0.5
        if clip != "none":
            x0 = x0.clamp(-1, 1)
        if clip == "rederive":
            eps = (x - now**0.5 * x0) / (1 - now) ** 0.5
        sigma = eta * ((1 - then) / (1 - now)) ** 0.5 * (1 - now / then) ** 0.5
        x = then**0.5 * x0 + (1 - then - sigma**2) ** 0.5 * eps + sigma * z[k]
    return x


def ddim(x, z, spacing, eta, clip, prediction):
    scheduler = in_float64(
        diffusers.DDIMScheduler(
            timestep_spacing=spacing,
            clip_sample=clip != "none",
            prediction_type=prediction,
            beta_start=1e-4,
            beta_end=0.02,
        )
    )
    scheduler.set_timesteps(len(z))
    timesteps = scheduler.timesteps.tolist()
    by_hand = ddim_by_hand(timesteps, scheduler.alphas_cumprod.tolist(), x, z, eta, clip)
    if spacing == "linspace":
        return by_hand
    for k, t in enumerate(timesteps):
        x = scheduler.step(
            network(x, t),
            t,
            x,
            eta=eta,
            use_clipped_model_output=clip == "rederive",
            variance_noise=z[k] if eta > 0 else None,
        ).prev_sample
    if prediction == "epsilon":
        assert torch.allclose(x, by_hand, rtol=1e-9, atol=1e-9), (spacing, eta, clip)
    return x


def ddpm(x, z, spacing, variance, clip):
    scheduler = in_float64(
        diffusers.DDPMScheduler(
            timestep_spacing=spacing,
            clip_sample=clip,
            variance_type=variance,
            beta_start=1e-4,
            beta_end=0.02,
        )
    )
    scheduler.set_timesteps(len(z))
    for k, t in enumerate(scheduler.timesteps.tolist()):
        # If the last step does not start at t = 0 (trailing), diffusers adds noise to the finished image
        # with fixed_large; Algorithm 2 adds none.
        noise = z[k] if k + 1 < len(z) else torch.zeros_like(x)
        scheduling_ddpm.randn_tensor = lambda *_, noise=noise, **__: noise
        x = scheduler.step(network(x, t), t, x).prev_sample
    return x


def samplers():
    torch.manual_seed(0)
    steps = 10
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    z = torch.randn(steps, *x.shape, dtype=torch.float64)
    out = {"x_T": x, "z": z}
    for spacing in ("leading", "trailing", "linspace"):
        for clip in ("none", "clip", "rederive"):
            for eta in (0.0, 0.5, 1.0):
                out[f"ddim.{spacing}.{clip}.{eta:g}.eps"] = ddim(x, z, spacing, eta, clip, "epsilon")
        for clip in ("none", "clip"):
            for variance in ("small", "large"):
                out[f"ddpm.{spacing}.{clip}.{variance}.eps"] = ddpm(
                    x, z, spacing, f"fixed_{variance}", clip == "clip"
                )
    for ours, theirs in (("v", "v_prediction"), ("x0", "sample")):
        out[f"ddim.trailing.rederive.0.5.{ours}"] = ddim(x, z, "trailing", 0.5, "rederive", theirs)
    save_file({k: v.numpy() for k, v in out.items()}, GOLDEN / "diffusion_samplers.safetensors")


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    schedules()
    plans()
    samplers()
