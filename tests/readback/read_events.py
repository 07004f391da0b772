#!/usr/bin/env python3
"""Trains for a few steps and reads the event file back with PyPI's tensorboard: the same scalars as metrics.jsonl, at the
same steps, and the sample grids as pictures.

usage: read_events.py DDPM_PROGRAM

Ends with status 77 (skipped) where tensorboard is not installed; scripts/test.sh installs it into the cache folder.
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

from checks import TINY, skip_or_start_over

# metrics.jsonl's key -> the scalar's tag
TAGS = {
    "loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "lr": "train/lr",
    "images_per_s": "speed/images_per_s",
    "memory_mib": "speed/peak_memory_mib",
    "holdout_loss": "holdout/loss",
    "holdout_loss_ema": "holdout/loss_ema",
    "loss_q1": "train/loss_t_quartile_1",
    "loss_q4": "train/loss_t_quartile_4",
}
SETTINGS = ["train.checkpoint_every=6", "train.sample_every=6", "train.sample_count=4", "train.sample_steps=4"]


def main(program):
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        return skip_or_start_over("tensorboard")

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        train = [program, "train", "--config", str(TINY), "--out", "run"]
        for setting in SETTINGS:
            train += ["--set", setting]
        # Twice, so that the second event file begins in the middle.
        subprocess.run([*train, "--set", "train.steps=6"], cwd=folder, check=True, capture_output=True)
        subprocess.run(train, cwd=folder, check=True, capture_output=True)
        lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
        events = EventAccumulator(str(folder / "run/tb"), size_guidance={"scalars": 0, "images": 0})
        events.Reload()

    for key, tag in TAGS.items():
        expected = {line["step"]: line[key] for line in lines if line.get(key) is not None}
        found = {event.step: event.value for event in events.Scalars(tag)}
        assert found.keys() == expected.keys(), f"{tag}: steps {sorted(found)}, metrics.jsonl has {sorted(expected)}"
        for step, value in expected.items():
            assert math.isclose(found[step], value, rel_tol=1e-6), f"{tag} at {step}: {found[step]}, not {value}"
    for name in ("raw", "ema"):
        pictures = events.Images(f"samples/{name}")
        assert [picture.step for picture in pictures] == [6, 12], [picture.step for picture in pictures]
        for picture in pictures:
            assert picture.encoded_image_string.startswith(b"\x89PNG")
            assert (picture.width, picture.height) == (22, 22), (picture.width, picture.height)
    print(f"{len(TAGS)} scalars of {len(lines)} steps and 2 kinds of pictures agree")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
