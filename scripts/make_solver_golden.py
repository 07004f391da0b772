#!/usr/bin/env python3
"""Writes tests/golden/diffusion_solvers.safetensors: chains of diffusers' fast solvers in float64.

For every case "METHOD.PREDICTION.S": the timesteps (counted from 0) and the states x after each step, for a
fixed network, x_T and noise. diffusers casts to float32 in many places; here torch.float32 is replaced by
torch.float64 for the whole run, so that all arithmetic is float64. Learned from: DPMSolverMultistepScheduler,
UniPCMultistepScheduler, DEISMultistepScheduler, HeunDiscreteScheduler, EulerDiscreteScheduler, PNDMScheduler.

Needs numpy, torch, safetensors and diffusers (0.35.1 was used):  python3 scripts/make_solver_golden.py
"""

import math
import pathlib

import torch

torch.float32 = torch.float64
torch.set_default_dtype(torch.float64)

import diffusers  # noqa: E402  (after the replacement)
import numpy as np  # noqa: E402
from diffusers.schedulers import scheduling_dpmsolver_multistep  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


def network(x, t):
    """A smooth function of x and t, as in make_diffusion_golden.py."""
    return torch.cos(x + 0.01 * t) * (0.5 + 0.0005 * t) + 0.3 * x


def betas():
    return np.linspace(1e-4, 0.02, 1000, dtype=np.float64)


def scheduler_of(kind, **options):
    options = {"timestep_spacing": "linspace", **options}
    scheduler = kind(trained_betas=betas(), num_train_timesteps=1000, **options)
    scheduler.betas = torch.tensor(betas())
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    return scheduler


def exact_sigmas(scheduler, last=0.0):
    """sigma of each timestep in float64, and that of the end."""
    abar = scheduler.alphas_cumprod[scheduler.timesteps.long()]
    sigmas = ((1 - abar) / abar) ** 0.5
    scheduler.sigmas = torch.cat([sigmas, torch.tensor([last])])


def variance_preserving(scheduler, x, z, out):
    """A scheduler whose states are x_t."""
    exact_sigmas(scheduler)
    for k, t in enumerate(scheduler.timesteps.tolist()):
        scheduling_dpmsolver_multistep.randn_tensor = lambda *_, k=k, **__: z[k]
        x = scheduler.step(network(x, t), t, x).prev_sample
        out.append(x)


def pndm(scheduler, x, out):
    """The first step of PNDMScheduler has two calls; the state after the first of them is a guess."""
    for k, t in enumerate(scheduler.timesteps.tolist()):
        x = scheduler.step(network(x, t), t, x).prev_sample
        if k > 0:
            out.append(x)


def variance_exploding(scheduler, x, out):
    """A scheduler whose states are y = x_t / sqrt(alpha_bar); Heun's has two entries for each t but the first."""
    scheduler.timesteps = scheduler.timesteps.round()  # they are fractions, at which no network of ours is called
    distinct = list(dict.fromkeys(scheduler.timesteps.tolist()))
    abar = {t: scheduler.alphas_cumprod[int(t)].item() for t in distinct}
    sigma = {t: ((1 - a) / a) ** 0.5 for t, a in abar.items()}
    listed = scheduler.timesteps.tolist()
    scheduler.sigmas = torch.tensor([sigma[t] for t in listed] + [0.0])
    y = x / abar[distinct[0]] ** 0.5
    for k, t in enumerate(listed):
        scheduler._step_index = k
        y = scheduler.step(network(y * abar[t] ** 0.5, t), t, y).prev_sample
        last = k + 1 == len(listed)
        if last:
            out.append(y)
        elif len(distinct) == len(listed):  # Euler: y is at the next t
            out.append(y * abar[listed[k + 1]] ** 0.5)
        elif k % 2 == 1:  # Heun: the corrected y at this t
            out.append(y * abar[t] ** 0.5)


def levels(scheduler, timesteps):
    """a = sqrt(alpha_bar), n = sqrt(1 - alpha_bar) of each timestep, and of the finished image."""
    abar = [scheduler.alphas_cumprod[t].item() for t in timesteps] + [1.0]
    return [v**0.5 for v in abar], [(1 - v) ** 0.5 for v in abar]


def estimates(output, x, a, n, prediction):
    """x0_hat and eps_hat."""
    if prediction == "eps":
        return (x - n * output) / a, output
    if prediction == "x0":
        return output, (x - a * output) / n
    return a * x - n * output, n * x + a * output


def ipndm(scheduler, timesteps, x, prediction, out):
    """Zhang and Chen 2023, App. H: Adams and Bashforth's weights on dy/dsigma = eps, y = x / a."""
    weights = [[1.0], [1.5, -0.5], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]
    a, n = levels(scheduler, timesteps)
    past = []
    for k, t in enumerate(timesteps):
        past.insert(0, estimates(network(x, t), x, a[k], n[k], prediction)[1])
        past = past[:4]
        slope = sum(w * e for w, e in zip(weights[len(past) - 1], past, strict=True))
        x = a[k + 1] * (x / a[k] + (n[k + 1] / a[k + 1] - n[k] / a[k]) * slope)
        out.append(x)


def dpmpp_3m_sde(scheduler, timesteps, x, z, prediction, out):
    """DPM-Solver++ of order 3 for the SDE, by the variation of constants (Lu 2022, "DPM-Solver++", App. B):
    x_s = n_s/n_t e^-h x + a_s integral of 2 e^(-2 (lambda_s - lambda)) x0(lambda) + noise, where x0 is the
    polynomial through the last three. diffusers' own formula has a weight of the second difference that does not
    vanish with h."""
    a, n = levels(scheduler, timesteps)
    lam = [math.log(a[k] / n[k]) for k in range(len(timesteps))]
    past = []
    for k, t in enumerate(timesteps):
        past.insert(0, estimates(network(x, t), x, a[k], n[k], prediction)[0])
        left = len(timesteps) - k
        order = 1 if left == 1 else min(3, len(past), left if len(timesteps) < 15 else 3)
        if left == 1:
            out.append(past[0])
            return
        h = lam[k + 1] - lam[k]
        gain = 1 - math.exp(-2 * h)
        mean = n[k + 1] / n[k] * math.exp(-h) * x + a[k + 1] * gain * past[0]
        if order >= 2:
            d0 = (past[0] - past[1]) / ((lam[k] - lam[k - 1]) / h)
            first = d0
        if order == 2:
            mean = mean + 0.5 * a[k + 1] * gain * first
        if order == 3:
            r0, r1 = (lam[k] - lam[k - 1]) / h, (lam[k - 1] - lam[k - 2]) / h
            d1 = (past[1] - past[2]) / r1
            first = d0 + r0 / (r0 + r1) * (d0 - d1)
            second = (d0 - d1) / (r0 + r1)
            # x0 = past[0] + u first + u^2 second with u = (lambda - lambda_t) / h, integrated with the weight
            # 2 h e^(-2 h (1 - u)) by Gauss and Legendre.
            u, w = np.polynomial.legendre.leggauss(40)
            u, w = (u + 1) / 2, w / 2
            kernel = 2 * h * np.exp(-2 * h * (1 - u))
            mean = mean + a[k + 1] * ((w * kernel * u).sum() * first + (w * kernel * u**2).sum() * second)
        x = mean + n[k + 1] * gain**0.5 * z[k]
        out.append(x)


def cases():
    dpm = diffusers.DPMSolverMultistepScheduler
    for order in (1, 2, 3):
        yield f"dpmpp_{order}m", dpm, {"solver_order": order, "final_sigmas_type": "zero"}
        yield (
            f"dpmpp_{order}m_sde",
            dpm,
            {"solver_order": order, "final_sigmas_type": "zero", "algorithm_type": "sde-dpmsolver++"},
        )
    for order in (1, 2, 3):
        yield f"unipc_{order}", diffusers.UniPCMultistepScheduler, {"solver_order": order, "final_sigmas_type": "zero"}
        yield f"deis_{order}", diffusers.DEISMultistepScheduler, {"solver_order": order}
    yield "ipndm_4", dpm, {}  # by hand; only the timesteps are diffusers'
    yield "heun", diffusers.HeunDiscreteScheduler, {}
    yield "euler", diffusers.EulerDiscreteScheduler, {}
    # Its steps are floor(T / S) long, which only leading spacing has.
    leading = {"timestep_spacing": "leading", "set_alpha_to_one": True, "skip_prk_steps": True}
    yield "pndm", diffusers.PNDMScheduler, leading


def main():
    torch.manual_seed(0)
    x = torch.randn(2, 1, 3, 3)
    z = torch.randn(20, *x.shape)
    out = {"x_T": x.numpy(), "z": z.numpy()}
    for name, kind, options in cases():
        for steps in (5, 8, 20):
            for ours, theirs in PREDICTIONS.items():
                if ours == "x0" and name in ("heun", "euler"):
                    continue  # they compute it for another network convention
                if steps != 8 and ours == "x0":
                    continue
                if name == "pndm" and ours != "eps":
                    continue  # it adds up the outputs of several t as if they were eps
                scheduler = scheduler_of(kind, prediction_type=theirs, **options)
                scheduler.set_timesteps(steps)
                chain = []
                listed = [int(t) for t in scheduler.timesteps.tolist()]
                if name == "ipndm_4":
                    ipndm(scheduler, listed, x, ours, chain)
                elif name == "dpmpp_3m_sde":
                    dpmpp_3m_sde(scheduler, listed, x, z, ours, chain)
                elif name in ("heun", "euler"):
                    variance_exploding(scheduler, x, chain)
                elif name == "pndm":
                    pndm(scheduler, x, chain)
                else:
                    variance_preserving(scheduler, x, z, chain)
                key = f"{name}.{ours}.{steps}"
                times = list(dict.fromkeys(int(t) for t in scheduler.timesteps.tolist()))
                assert len(times) == steps and len(chain) == steps, (key, times)
                assert all(torch.isfinite(s).all() for s in chain[:-1]), key
                out[f"{key}.t"] = np.array(times, dtype=np.int64)
                out[f"{key}.x"] = torch.stack(chain).numpy()
    save_file(out, GOLDEN / "diffusion_solvers.safetensors")


if __name__ == "__main__":
    main()
