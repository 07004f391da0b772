#!/usr/bin/env python3
"""Which training recipe is best on some images? Trains each for the same number of steps, with several seeds.

  scripts/compare_recipes.py --config configs/mnist.toml --set data.path=data/mnist --seeds 3 --steps 2000

Each run is measured by `ddpm eval` at --calls network calls with --methods, of which the best mean counts, and
by the bound of `ddpm eval likelihood`. Prints a Markdown table: means over the seeds, +- their standard deviation.
Runs and results stay in --out; a second call does what is missing.
"""

import argparse
import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys
import time

import arguments

# Whatever the config says: a recipe changes these, and no other one inherits them.
USUAL = {"train.loss": "simple", "train.loss_weight": "simple", "train.t_sampling": "uniform",
         "train.log_sigma_mean": "-1.2", "train.log_sigma_std": "1.2", "model.learned_variance": "false"}
COSINE_V = {"diffusion.schedule": "cosine", "diffusion.prediction": "v"}
LOG_NORMAL = {"train.t_sampling": "log_normal"}
RECIPES = {
    "simple": {"diffusion.schedule": "linear", "diffusion.prediction": "eps"},  # Ho 2020
    "cosine_v": COSINE_V,
    "min_snr": {**COSINE_V, "train.loss_weight": "min_snr"},
    "hybrid": {**COSINE_V, "model.learned_variance": "true", "train.loss": "hybrid"},
    "stratified": {**COSINE_V, "train.t_sampling": "stratified"},
    "edm": {"diffusion.schedule": "edm", "diffusion.prediction": "edm", **LOG_NORMAL},
    "flow": {"diffusion.schedule": "flow", "diffusion.prediction": "flow", **LOG_NORMAL,
             "train.log_sigma_mean": "0.0", "train.log_sigma_std": "1.0"},
    "flow_uniform": {"diffusion.schedule": "flow", "diffusion.prediction": "flow"},
}


def settings(pairs):
    return [word for key, value in pairs for word in ("--set", f"{key}={value}")]


def run(o, command, log):
    with open(log, "ab") as file:
        done = subprocess.run([o.program, *command, "--device", o.device], stdout=subprocess.PIPE, stderr=file)
    if done.returncode != 0:
        sys.exit(f"compare_recipes.py: ddpm {' '.join(command)}\n  ended with status {done.returncode}; see {log}")
    return done.stdout


def kept(file, make):
    """The JSON of a file, which is made first if it does not exist."""
    if not file.exists():
        result = make()
        file.with_suffix(".part").write_text(json.dumps(result))
        file.with_suffix(".part").rename(file)
    return json.loads(file.read_text())


def train(o, recipe, seed, folder):
    begin = time.monotonic()
    pairs = [("train.steps", o.steps), ("run.seed", seed), ("train.sample_every", 0),
             ("train.checkpoint_every", o.steps), *(USUAL | RECIPES[recipe]).items()]
    run(o, ["train", "--config", o.config, "--out", str(folder), "--resume", "auto", *settings(pairs), *o.set_words],
        folder.with_suffix(".log"))
    return {"seconds": time.monotonic() - begin}


def measure(o, folder, method, calls):
    command = ["eval", "--ckpt", str(folder), "--num", str(o.num), "--method", method, "--spacing", "trailing",
               "--steps", str(calls), "--batch", str(o.batch), "--json"]
    return json.loads(run(o, command, folder.with_suffix(".log")))


def bound(o, folder, recipe):
    command = ["eval", "likelihood", "--ckpt", str(folder), "--num", str(o.bound_num), "--split", "train",
               "--calls", "100", "--batch", str(o.batch), "--json"]
    if "model.learned_variance" in RECIPES[recipe]:
        command += ["--sigma", "learned"]
    return json.loads(run(o, command, folder.with_suffix(".log")))


def result_of(o, recipe, seed):
    folder = o.out / f"{recipe}-{seed}"
    found = {"train": kept(folder.with_suffix(".train.json"), lambda: train(o, recipe, seed, folder))["seconds"]}
    for calls in o.calls:
        for method in o.methods:
            file = o.out / f"{recipe}-{seed}-{method}-{calls}.json"
            found[calls, method] = kept(file, lambda: measure(o, folder, method, calls))
    if o.bound_num > 0:
        found["bound"] = kept(folder.with_suffix(".bound.json"), lambda: bound(o, folder, recipe))["bits_per_dim"]
    print(f"{recipe}, seed {seed}: done", file=sys.stderr)
    return found


def spread(values):
    mean = statistics.fmean(values)
    return f"{mean:.4g}" + (f" +- {statistics.stdev(values):.2g}" if len(values) > 1 else "")


def row(o, recipe, results):
    cells = [recipe]
    for calls in o.calls:
        means = {m: statistics.fmean(r[calls, m]["frechet"] for r in results) for m in o.methods}
        best = min(means, key=means.get)
        cells.append(f"{spread([r[calls, best]['frechet'] for r in results])} ({best})")
    if o.bound_num > 0:
        cells.append(spread([r["bound"] for r in results]))
    cells.append(f"{statistics.fmean(r['train'] for r in results):.0f} s")
    return "| " + " | ".join(cells) + " |"


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", type=arguments.program, default="build/release/ddpm")
    p.add_argument("--config", type=arguments.path, required=True)
    p.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="for every recipe")
    p.add_argument("--recipes", type=arguments.names(*RECIPES), default=list(RECIPES), help="default: all")
    p.add_argument("--seeds", type=arguments.positive, default=3)
    p.add_argument("--steps", type=arguments.positive, default=2000, help="of training (default: 2000)")
    p.add_argument("--num", type=arguments.positive, default=2000, help="images per measurement (default: 2000)")
    p.add_argument("--batch", type=arguments.positive, default=250, help="images at a time (default: 250)")
    p.add_argument("--calls", type=arguments.numbers, default=[10, 50], help="network calls (default: 10,50)")
    p.add_argument("--methods", default="ddim,unipc", help="default: ddim,unipc")
    p.add_argument("--bound-num", type=int, default=0, help="images for the bound in bits/dim (default: none)")
    p.add_argument("--jobs", type=arguments.positive, default=1, help="runs at a time, for a GPU (default: 1)")
    p.add_argument("--device", default="auto")
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/recipes"))
    o = p.parse_args()
    o.methods = o.methods.split(",")
    o.set_words = [word for pair in o.set for word in ("--set", pair)]
    return o


def main():
    o = parse()
    o.out.mkdir(parents=True, exist_ok=True)
    first = result_of(o, o.recipes[0], 0)  # alone: it trains the features that the others share
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        cells = {(r, s): pool.submit(result_of, o, r, s) for s in range(o.seeds) for r in o.recipes}
    heads = ["recipe", *(f"Frechet, {c} calls" for c in o.calls), *(["bits/dim"] if o.bound_num > 0 else []), "training"]
    print(f"{o.steps} steps, {o.seeds} seeds, {o.num} images;", first[o.calls[0], o.methods[0]]["protocol_line"])
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for recipe in o.recipes:
        print(row(o, recipe, [cells[recipe, s].result() for s in range(o.seeds)]))


if __name__ == "__main__":
    main()
