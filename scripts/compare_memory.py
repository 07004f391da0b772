#!/usr/bin/env python3
"""Peak memory of training steps of a config's network, here and in PyTorch eager, on the CPU.

    compare_memory.py --config configs/celebahq256.toml --size 256 --channels 3 --batch 1,2,4 [--precision fp32,bf16]
                      [--what ddpm,ddpm-recompute,eager,eager-recompute] [--program build/release/ddpm]

Prints one row per precision and batch, one column per variant, and the ratios of ours to PyTorch's. Each number is a
process of its own: the maximum of its memory (ru_maxrss), libraries included.

    ddpm        `ddpm train --dry-run` on procedural images of --size and --channels
    eager       the plain module of pytorch_unet.py, with its training step, twice
    -recompute  train.recompute here, torch.utils.checkpoint around the same blocks in PyTorch
"""

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib

from arguments import config_file, names, numbers, positive, program

WAYS = ("ddpm", "ddpm-recompute", "eager", "eager-recompute")


def config_text(arguments):
    """The config with procedural images of the given size, so that no data set is needed."""
    with open(arguments.config, encoding="utf-8") as file:
        sections = file.read().split("\n[")
    kept = [s for s in sections if s.split("]")[0] in ("model", "train", "optimizer", "ema", "diffusion")]
    data = f'kind = "procedural"\nsize = 64\nimage_size = {arguments.size}\nchannels = {arguments.channels}\n'
    return f"[data]\n{data}\n[sample]\nbatch = 1\n" + "".join("\n[" + s for s in kept)


def peak_mib(command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}: failed")
    return usage.ru_maxrss / 1024


def eager(config_path, batch, precision, recompute):
    """The work of a child process."""
    from pytorch_unet import TrainingStep, network_of

    with open(config_path, "rb") as file:
        config = tomllib.load(file)
    config["train"]["batch_size"] = batch
    net = network_of(config, False).train()
    net.set_recompute(recompute)
    step = TrainingStep(net, net, config, precision)
    for _ in range(2):
        step()


def command_of(arguments, way, config, run, batch, precision):
    recompute = way.endswith("-recompute")
    if way.startswith("eager"):
        child = f"import compare_memory; compare_memory.eager({config!r}, {batch}, {precision!r}, {recompute})"
        return [sys.executable, "-c", f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); {child}"]
    return [arguments.program, "train", "--config", config, "--dry-run", "--device", "cpu", "--out", run,
            "--set", f"train.batch_size={batch}", "--set", f"train.precision={precision}",
            "--set", f"train.recompute={str(recompute).lower()}"]


def row_of(peaks):
    """MiB of each variant, and the ratios of ours to PyTorch's if both were measured."""
    cells = [f"{mib:,.0f}" for mib in peaks.values()]
    for way in peaks:
        theirs = way.replace("ddpm", "eager")
        if way != theirs and theirs in peaks:
            cells.append(f"{peaks[way] / peaks[theirs]:.2f}")
    return cells


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=config_file, required=True)
    parser.add_argument("--size", type=positive, required=True)
    parser.add_argument("--channels", type=positive, required=True)
    parser.add_argument("--batch", type=numbers, default="1", help="batch sizes, separated by commas")
    parser.add_argument("--precision", type=names("fp32", "bf16"), default="fp32", help="fp32, bf16 or both")
    parser.add_argument("--program", type=program, default="build/release/ddpm")
    parser.add_argument("--what", type=names(*WAYS), default=",".join(WAYS))
    arguments = parser.parse_args()
    ways = arguments.what
    pairs = [f"{way} / {theirs}" for way in ways if (theirs := way.replace("ddpm", "eager")) != way and theirs in ways]
    print(f"{os.path.basename(arguments.config)}, {arguments.size}x{arguments.size}x{arguments.channels}: peak memory, MiB\n")
    print("| precision, batch | " + " | ".join(ways + pairs) + " |")
    print("| --- " * (1 + len(ways) + len(pairs)) + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "config.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(config_text(arguments))
        for precision in arguments.precision:
            for batch in arguments.batch:
                peaks = {way: peak_mib(command_of(arguments, way, config, folder + "/run", batch, precision)) for way in ways}
                print(f"| {precision}, {batch} | " + " | ".join(row_of(peaks)) + " |", flush=True)


if __name__ == "__main__":
    main()
