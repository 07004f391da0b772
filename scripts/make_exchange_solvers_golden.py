#!/usr/bin/env python3
"""Writes tests/golden/diffusers_solvers.safetensors: the ends of chains of diffusers' fast solvers.

  path.N   the end of a chain with a network of one line (see network()), in float64. Metadata path.N is the scheduler
           as JSON with "steps", the number of network calls
  times.N  the timesteps of the chain, counted from 1
  x_T, z   the noise

EulerDiscreteScheduler and HeunDiscreteScheduler work on y = x_t / sqrt(alpha_bar): the chain begins at the y of x_T, and
its end is given as x_t. Karras sigmas are not timesteps; of these chains only the rounded timesteps are kept.

Needs torch, numpy, safetensors and diffusers (0.42.1 was used):  python3 scripts/make_exchange_solvers_golden.py
"""

import json
import math
import pathlib

import torch
from diffusers import (
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
SPACINGS = ("leading", "trailing", "linspace")


def network(x, t):
    return 0.3 * x + 0.1 * math.sin(t)


def calls_of(scheduler, count):
    """The timesteps that the network sees."""
    scheduler.set_timesteps(count)
    return len(scheduler.timesteps)


def path(scheduler, x, z, count):
    scheduler.set_timesteps(count)
    scaled = isinstance(scheduler, (EulerDiscreteScheduler, HeunDiscreteScheduler))
    if scaled:
        x = x * (1 + scheduler.sigmas[0].double() ** 2) ** 0.5
    for k, t in enumerate(scheduler.timesteps):
        output = network(scheduler.scale_model_input(x, t).double(), float(t))
        noise = {}
        if scheduler.config.get("algorithm_type") == "sde-dpmsolver++":
            noise = {"variance_noise": z[k]}
        x = scheduler.step(output, t, x, **noise).prev_sample.double()
    if scaled:
        x = x / (1 + scheduler.sigmas[-1].double() ** 2) ** 0.5
    return x


def multistep():
    for spacing in SPACINGS:
        for end in ("zero", "sigma_min"):
            both = {"timestep_spacing": spacing, "final_sigmas_type": end}
            for order in (1, 2, 3):
                yield DPMSolverMultistepScheduler(solver_order=order, **both)
                yield UniPCMultistepScheduler(solver_order=order, **both)
            yield DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", **both)
        for order in (1, 2, 3):
            yield DEISMultistepScheduler(solver_order=order, timestep_spacing=spacing)
    yield DPMSolverMultistepScheduler(timestep_spacing="leading", steps_offset=1)
    yield UniPCMultistepScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")


def settings():
    """(scheduler, S)"""
    for count in (1, 7, 13, 30):
        for scheduler in multistep():
            yield scheduler, count
        for spacing in ("leading", "trailing"):
            yield EulerDiscreteScheduler(timestep_spacing=spacing), count
            yield EulerDiscreteScheduler(timestep_spacing=spacing, final_sigmas_type="sigma_min"), count
            for clip in (False, True):
                yield HeunDiscreteScheduler(timestep_spacing=spacing, clip_sample=clip), count
    for count in (2, 7, 13, 30):
        for offset, to_one in ((0, True), (0, False), (1, False)):
            yield PNDMScheduler(skip_prk_steps=True, steps_offset=offset, set_alpha_to_one=to_one), count
    for top in (1.5, 100.0):
        limit = {"thresholding": True, "dynamic_thresholding_ratio": 0.7, "sample_max_value": top}
        for order in (1, 2, 3):
            yield DPMSolverMultistepScheduler(solver_order=order, **limit), 13
            yield UniPCMultistepScheduler(solver_order=order, **limit), 13
            yield DEISMultistepScheduler(solver_order=order, **limit), 13
    for count in (4, 10, 28):  # linspace has whole timesteps
        yield EulerDiscreteScheduler(), count
        yield HeunDiscreteScheduler(beta_start=1e-4, beta_end=0.02), count
        yield EulerDiscreteScheduler(prediction_type="v_prediction"), count


def own_sigmas():
    for count in (5, 10):
        yield DPMSolverMultistepScheduler(use_karras_sigmas=True), count
        yield UniPCMultistepScheduler(use_karras_sigmas=True), count
        yield DPMSolverMultistepScheduler(use_lu_lambdas=True), count


def written(scheduler):
    """Its config without keys that are null, false or infinite: these are the defaults."""
    config = json.loads(scheduler.to_json_string())
    del config["_diffusers_version"]
    return {key: value for key, value in config.items() if value not in (None, False, -math.inf, [])}


def main():
    out, metadata = {}, {}
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 2, 3, generator=generator, dtype=torch.float64)
    z = torch.randn(30, *x.shape, generator=generator, dtype=torch.float64)
    out |= {"x_T": x, "z": z}
    n = 0
    for with_path, listed in ((True, settings()), (False, own_sigmas())):
        for scheduler, count in listed:
            calls = calls_of(scheduler, count)
            times = list(dict.fromkeys((scheduler.timesteps + 1).long().tolist()))
            out[f"times.{n}"] = torch.tensor(times, dtype=torch.int16)
            if with_path:
                out[f"path.{n}"] = path(scheduler, x, z, count)
                assert torch.isfinite(out[f"path.{n}"]).all(), scheduler
            metadata[f"path.{n}"] = json.dumps({**written(scheduler), "steps": calls})
            n += 1
    save_file(out, GOLDEN / "diffusers_solvers.safetensors", metadata)


if __name__ == "__main__":
    main()
