#!/usr/bin/env python3
"""Logs a run to Weights & Biases: its config, the metrics of metrics.jsonl, and the sample grids.

    pip install wandb pillow && wandb login
    python3 scripts/log_to_wandb.py runs/mine --project NAME             # what there is
    python3 scripts/log_to_wandb.py runs/mine --project NAME --follow    # and what comes, until Ctrl-C

It only reads the run's folder, so it works while another process trains, and on another machine that sees the
folder. Run again, it adds what is new to the same W&B run. ddpm itself needs nothing of this. Without this script:
`wandb sync --sync-tensorboard runs/mine/tb` uploads the run's TensorBoard events once.
"""

import argparse
import hashlib
import json
import re
import sys
import time
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    tomllib = None

GRID = re.compile(r"step-(\d+)(?:-(.+))?\.png$")


def new_rows(path, after):
    """The rows of metrics.jsonl whose step is above `after`. A line that is still being written is left for later."""
    rows = []
    if not path.exists():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            row = json.loads(line)
            step = int(row.pop("step"))
        except (ValueError, KeyError, AttributeError, TypeError):
            print(f"{path}: a damaged line is passed over: {line[:60]}", file=sys.stderr)
            continue
        if step > after:
            rows.append((step, row))
            after = step
    return rows


def new_grids(folder, seen):
    """(step, name, path) of the sample grids that are not in `seen`, by step."""
    found = []
    for path in folder.glob("*.png"):
        match = GRID.search(path.name)
        if match and path.name not in seen:
            found.append((int(match.group(1)), match.group(2) or "samples", path))
    return sorted(found)


def config_of(run):
    path = run / "config.toml"
    if not path.exists():
        return {}
    if tomllib is None:
        return {"config.toml": path.read_text(encoding="utf-8")}
    return tomllib.loads(path.read_text(encoding="utf-8"))


def log_new(wandb, run, last, seen):
    """Logs what is new, in order of steps. Returns the last step."""
    entries = {}
    for step, row in new_rows(run / "metrics.jsonl", last):
        entries.setdefault(step, {}).update(row)
    for step, name, path in new_grids(run / "samples", seen):
        if step > last:
            entries.setdefault(step, {})[f"samples/{name}"] = wandb.Image(str(path))
        seen.add(path.name)
    for step in sorted(entries):
        wandb.log(entries[step], step=step)
    return max(entries, default=last)


def main():
    parser = argparse.ArgumentParser(description="Logs a run of ddpm to Weights & Biases.")
    parser.add_argument("run", type=Path, help="the run's folder, as runs/mine")
    parser.add_argument("--project", required=True, help="the project in W&B")
    parser.add_argument("--name", help="the run's name in W&B (default: the folder's)")
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--every", type=float, default=15, help="seconds between two looks (default: 15)")
    args = parser.parse_args()
    if not (args.run / "config.toml").exists():
        sys.exit(f"{args.run}: is no run's folder (it has no config.toml)")
    try:
        import wandb
    except ImportError:
        sys.exit("the Python package wandb is not installed: pip install wandb")

    folder = args.run.resolve()
    identity = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    session = wandb.init(project=args.project, name=args.name or folder.name, id=identity, resume="allow",
                         config=config_of(folder))
    # A run that goes on in W&B: its next step is the first that it does not have.
    last, seen = int(session.step or 0) - 1, set()
    try:
        last = log_new(wandb, folder, last, seen)
        while args.follow:
            time.sleep(args.every)
            last = log_new(wandb, folder, last, seen)
    except KeyboardInterrupt:
        pass
    wandb.finish()
    print(f"{args.run}: logged up to step {last}")


if __name__ == "__main__":
    main()
