#!/usr/bin/env python3
"""Golden files of timesteps, under tests/golden: the timesteps of diffusers' schedulers, the targets of their steps, and
the ends of full paths.

  diffusers_steps.safetensors
    plan.SPACING.OFFSET.T  for each S in steps(T), one row t (counted from 1, in order of use) and one row "landing": the
                           index of the alpha_bar that DDIMScheduler's step lands at, counted from 1, or 0 for its final
                           alpha. Both int16, S after S.
    openai.T               the t of OpenAI's respacing
    path.N                 the end of a scheduler's path with a network of one line (see network()), in float64. Metadata
                           path.N is the scheduler as JSON with "eta" and "steps"
    x_T, z                 the noise

Needs torch, numpy, safetensors and diffusers (0.42.1 was used):  python3 scripts/make_exchange_steps_golden.py
"""

import json
import math
import pathlib

import diffusers
import numpy as np
import torch
from diffusers.schedulers import scheduling_ddpm
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
SOME = (1, 2, 3, 5, 7, 10, 13, 20, 25, 30, 33, 50, 61, 64, 99, 100, 121, 250, 300, 333)


def steps(total):
    return range(1, total + 1) if total <= 50 else SOME


class Spy:
    """alphas_cumprod that records which of its entries are read."""

    def __init__(self, values):
        self.values, self.asked = values, []

    def __getitem__(self, index):
        self.asked.append(int(index))
        return self.values[index]


def landings(scheduler, timesteps):
    """Counted from 1; 0: the final alpha. Raises IndexError as the scheduler does."""
    scheduler.alphas_cumprod = spy = Spy(scheduler.alphas_cumprod)
    found = []
    x = torch.zeros(1, 1, 1, 1)
    for t in timesteps:
        spy.asked.clear()
        scheduler.step(x, t, x)
        assert spy.asked[0] == t
        # step: t, then the previous one unless it is below 0; the same again for the variance.
        found.append(spy.asked[1] + 1 if len(spy.asked) == 4 else 0)
    return found


def plans(out):
    for total in (10, 50, 1000):
        for spacing, offset in (("leading", 0), ("leading", 1), ("trailing", 0), ("linspace", 0)):
            t, landing, skipped = [], [], []
            for count in steps(total):
                ddim, ddpm = (kind(num_train_timesteps=total, timestep_spacing=spacing, steps_offset=offset)
                              for kind in (diffusers.DDIMScheduler, diffusers.DDPMScheduler))
                ddim.set_timesteps(count)
                ddpm.set_timesteps(count)
                visited = ddim.timesteps.tolist()
                assert visited == ddpm.timesteps.tolist()
                if len(visited) == count + 1 and visited[-1] == -1:  # numpy's arange, one entry too long
                    visited.pop()
                assert len(visited) == count
                try:
                    lands = landings(ddim, visited)
                except IndexError:
                    skipped.append(count)  # the offset exceeds T: there is nothing to compare with
                    continue
                # DDPMScheduler lands at the next timestep.
                nexts = [ddpm.previous_timestep(step) for step in visited]
                assert [int(n) for n in nexts] == [*visited[1:], -1]
                t += [step + 1 for step in visited]
                landing += lands
            out[f"plan.{spacing}.{offset}.{total}"] = torch.tensor([t, landing], dtype=torch.int16)
            if skipped:
                print(f"{spacing}, offset {offset}, T = {total}: IndexError for S = {skipped}")


def openai_steps(total, count):
    """Evenly spaced from both ends; the distances are added up one by one."""
    taken, at = [], 0.0
    for _ in range(count):
        taken.append(round(at) + 1)
        at += 1 if count == 1 else (total - 1) / (count - 1)
    return taken[::-1]


def network(x, t):
    return 0.3 * x + 0.1 * math.sin(t)


def path(scheduler, x, z, eta, count):
    scheduler.set_timesteps(count)
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), 0)
    if hasattr(scheduler, "final_alpha_cumprod") and scheduler.final_alpha_cumprod != 1:
        scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    learned = scheduler.config.get("variance_type") == "learned_range"
    for k, t in enumerate(scheduler.timesteps):
        output = network(x, float(t))
        if isinstance(scheduler, diffusers.DDIMScheduler):
            x = scheduler.step(output, t, x, eta=eta, variance_noise=z[k] if eta > 0 else None).prev_sample
            continue
        if learned:
            output = torch.cat([output, (0.5 * x).clamp(-1, 1)], 1)
        scheduling_ddpm.randn_tensor = lambda *_, k=k, **__: z[k]
        x = scheduler.step(output, t, x).prev_sample
    return x


def settings():
    """(scheduler, eta, S)"""
    for count in (1, 7, 13, 30):
        for spacing in ("leading", "trailing", "linspace"):
            for end in ({}, {"set_alpha_to_one": False}):
                for eta in (0.0, 0.7):
                    yield diffusers.DDIMScheduler(timestep_spacing=spacing, **end), eta, count
            for variance in ("fixed_small", "fixed_large", "learned_range"):
                yield diffusers.DDPMScheduler(timestep_spacing=spacing, variance_type=variance), 0.0, count
        yield diffusers.DDIMScheduler(steps_offset=1, set_alpha_to_one=False), 0.7, count
        yield diffusers.DDPMScheduler(steps_offset=1, variance_type="fixed_large"), 0.0, count
    yield diffusers.DDIMScheduler(num_train_timesteps=20, steps_offset=1), 0.7, 13  # lands at alpha_bar_1
    for top in (1.0, 1.5, 100.0):
        limit = {"thresholding": True, "dynamic_thresholding_ratio": 0.7, "sample_max_value": top}
        yield diffusers.DDIMScheduler(**limit), 0.0, 13
        yield diffusers.DDPMScheduler(**limit), 0.0, 13


def main():
    out, metadata = {}, {}
    plans(out)
    for total in (50, 4000):
        out[f"openai.{total}"] = torch.tensor([t for count in steps(total) for t in openai_steps(total, count)],
                                              dtype=torch.int16)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 2, 3, generator=generator, dtype=torch.float64)
    z = torch.randn(30, *x.shape, generator=generator, dtype=torch.float64)
    out |= {"x_T": x, "z": z}
    for n, (scheduler, eta, count) in enumerate(settings()):
        out[f"path.{n}"] = path(scheduler, x, z, eta, count)
        metadata[f"path.{n}"] = json.dumps({**json.loads(scheduler.to_json_string()), "eta": eta, "steps": count})
    save_file(out, GOLDEN / "diffusers_steps.safetensors", metadata)


if __name__ == "__main__":
    main()
