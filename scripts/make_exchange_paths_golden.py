#!/usr/bin/env python3
"""Writes tests/golden/diffusers_paths.safetensors: the ends of chains of diffusers' schedulers for flow matching and EDM.

  path.N   the end of a chain with a network of one line (see network()), in float64. Metadata path.N is the scheduler
           as JSON with "steps", the number of network calls
  x_T      the noise, N(0, I)

Only numbers of steps whose noise levels are those of whole timesteps.
Needs torch, safetensors and diffusers (0.42.1 was used):  python3 scripts/make_exchange_paths_golden.py
"""

import json
import pathlib

import torch
from diffusers import EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"


def network(x, t):
    return torch.cos(x + 0.3 * torch.sin(torch.as_tensor(t, dtype=torch.float64)))


def path(scheduler, x, count):
    scheduler.set_timesteps(count)
    edm = isinstance(scheduler, EDMEulerScheduler)
    if edm:
        x = x * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        shown = scheduler.scale_model_input(x, t) if edm else x
        x = scheduler.step(network(shown.double(), t), t, x).prev_sample.double()
    return x


def settings():
    """(scheduler, S)"""
    for count in (2, 4, 10, 28, 1000):
        yield FlowMatchEulerDiscreteScheduler(), count
        yield EDMEulerScheduler(), count
        yield EDMEulerScheduler(sigma_min=0.01, sigma_max=20.0, sigma_data=0.3), count
    for count in (2, 11, 51):
        yield FlowMatchEulerDiscreteScheduler(num_train_timesteps=101), count
        yield EDMEulerScheduler(num_train_timesteps=101), count


def main():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 4, 4, generator=generator, dtype=torch.float64)
    out, metadata = {"x_T": x}, {}
    for n, (scheduler, count) in enumerate(settings()):
        out[f"path.{n}"] = path(scheduler, x, count)
        config = json.loads(scheduler.to_json_string())
        del config["_diffusers_version"]
        metadata[f"path.{n}"] = json.dumps({**config, "steps": count})
    save_file(out, GOLDEN / "diffusers_paths.safetensors", metadata)


if __name__ == "__main__":
    main()
