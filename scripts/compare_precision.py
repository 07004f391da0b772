#!/usr/bin/env python3
"""Compares training in bf16 with training in fp32: losses and distances of runs of one config.

    compare_precision.py --config configs/quickstart.toml --steps 2200 --num 2000 --out runs/precision
                         [--set data.path=FOLDER]... [--sample-steps 50] [--seed 0] [--other-seed 1] [--window 100]
                         [--program build/release/ddpm]

Trains three times below --out; an interrupted run is resumed:

    fp32
    bf16          with the same seed, so with the same images, time steps and noise
    fp32          with another seed: the difference between two equally good runs

Prints the training loss by windows of steps:

    +-            of a loss: the standard error of the window's mean, from ten parts of the window
    +-            of bf16 - fp32: the standard error of the mean of the parts' differences, in which the noise that
                  both runs share cancels

It also prints the result of `ddpm eval` for images sampled from each by DDIM, against the training images of the first
run. The verdict calls bf16 within the noise if its difference from fp32 is at most that of the other seed, or at most
two standard errors. Needs only Python's standard library.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys

from arguments import config_file, positive, program

PARTS = 10  # of a window


def output_of(command):
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)}: ended with status {run.returncode}")
    return run.stdout


def train(arguments, name, precision, seed):
    """Trains or resumes; returns the loss of each part of a window: [the mean over window / PARTS steps]."""
    folder = os.path.join(arguments.out, name)
    every = arguments.window // PARTS
    command = [arguments.program, "train", "--config", arguments.config, "--out", folder]
    for value in arguments.overrides + [f"train.steps={arguments.steps}", f"train.log_every={every}",
                                        f"train.precision={precision}", f"run.seed={seed}"]:
        command += ["--set", value]
    output_of(command)
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    losses = {line["step"]: line["loss"] for line in lines}
    holdout = [line["holdout_loss"] for line in lines if "holdout_loss" in line]
    steps = range(every, arguments.steps + 1, every)
    if any(losses.get(step) is None for step in steps):
        sys.exit(f"{folder}/metrics.jsonl: steps are missing; was the folder used for something else? use another --out")
    return [losses[step] for step in steps], holdout[-1] if holdout else None


def mean_of(values):
    """The mean and its standard error."""
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


def differences(a, b):
    return [x - y for x, y in zip(a, b)]


def windows(values):
    return [values[i:i + PARTS] for i in range(0, len(values) - len(values) % PARTS, PARTS)]


def print_losses(arguments, fp32, bf16, other):
    print(f"| steps | fp32 | bf16 | bf16 - fp32 | fp32, seed {arguments.other_seed}, - fp32 |")
    print("| --- | --- | --- | --- | --- |")
    rows = zip(windows(fp32), windows(bf16), windows(other))
    for i, (a, b, c) in enumerate(rows):
        cell = lambda values, sign="": "{:{}.5f} +- {:.5f}".format(mean_of(values)[0], sign, mean_of(values)[1])
        print(f"| {i * arguments.window + 1} to {(i + 1) * arguments.window} | {cell(a)} | {cell(b)} "
              f"| {cell(differences(b, a), '+')} | {cell(differences(c, a), '+')} |")


def evaluate(arguments, name, precision):
    """The result of `ddpm eval` for images of a run, sampled in this precision."""
    command = [arguments.program, "eval", "--ckpt", os.path.join(arguments.out, name), "--num", str(arguments.num), "--ddim",
               "--steps", str(arguments.sample_steps), "--precision", precision, "--json", "--reference",
               os.path.join(arguments.out, "fp32", "config.toml")]
    return json.loads(output_of(command))


def print_distances(rows):
    """rows: {title: what evaluate returned}."""
    keys = [k for k in ("frechet", "kernel", "precision", "recall") if all(r.get(k) is not None for r in rows.values())]
    print("| trained, sampled in | " + " | ".join(keys) + " |")
    print("| --- " * (1 + len(keys)) + "|")
    for title, found in rows.items():
        print(f"| {title} | " + " | ".join(f"{found[k]:.4g} +- {found[k + '_error']:.2g}" for k in keys) + " |")


def verdict(what, difference, error, yardstick):
    """Prints whether a difference is within the noise, and returns it."""
    within = abs(difference) <= max(abs(yardstick), 2 * error)
    print(f"{what}: bf16 - fp32 is {difference:+.4g}, its standard error {error:.2g}; another seed makes {yardstick:+.4g}: "
          + ("within the noise" if within else "NOT within the noise"))
    return within


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=config_file, required=True)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="SECTION.KEY=VALUE")
    parser.add_argument("--steps", type=positive, required=True, help="training steps")
    parser.add_argument("--num", type=positive, required=True, help="images to sample from each run")
    parser.add_argument("--sample-steps", type=positive, default=50, help="network calls per image (DDIM)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--other-seed", type=int, default=1)
    parser.add_argument("--window", type=positive, default=100, help="steps; a multiple of 10")
    parser.add_argument("--out", required=True, help="folder of the runs")
    parser.add_argument("--program", type=program, default="build/release/ddpm")
    arguments = parser.parse_args()
    if arguments.window % PARTS != 0 or arguments.steps < 2 * arguments.window:
        parser.error(f"--window must be a multiple of {PARTS}, and --steps at least two windows")
    return arguments


def main():
    arguments = parse_arguments()
    fp32, fp32_holdout = train(arguments, "fp32", "fp32", arguments.seed)
    bf16, bf16_holdout = train(arguments, "bf16", "bf16", arguments.seed)
    name = f"fp32-seed-{arguments.other_seed}"
    other, other_holdout = train(arguments, name, "fp32", arguments.other_seed)
    print_losses(arguments, fp32, bf16, other)

    rows = {"fp32, fp32": evaluate(arguments, "fp32", "fp32"), "bf16, fp32": evaluate(arguments, "bf16", "fp32"),
            "bf16, bf16": evaluate(arguments, "bf16", "bf16"),
            f"fp32 (seed {arguments.other_seed}), fp32": evaluate(arguments, name, "fp32")}
    print()
    print_distances(rows)
    print(rows["fp32, fp32"]["protocol_line"] + "\n")

    half = len(windows(fp32)) // 2 * PARTS  # only the end counts: the second half of the windows
    difference, error = mean_of(differences(bf16[half:], fp32[half:]))
    yardstick = mean_of(differences(other[half:], fp32[half:]))[0]
    within = [verdict("loss, second half", difference, error, yardstick)]
    if fp32_holdout is not None:
        within.append(verdict("held-out loss, last", bf16_holdout - fp32_holdout, 0.0, other_holdout - fp32_holdout))
    first, _, sampled, seed = (found["frechet"] for found in rows.values())
    errors = [found["frechet_error"] for found in rows.values()]
    within.append(verdict("Frechet distance, all in bf16", sampled - first, math.hypot(errors[0], errors[2]), seed - first))
    print("verdict: training in bf16 " + ("differs from fp32 by no more than noise" if all(within) else
                                         "differs from fp32 by more than noise"))


if __name__ == "__main__":
    main()
