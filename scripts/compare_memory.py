#!/usr/bin/env python3
"""Peak memory of training steps of a config's network: plain, with train.recompute, and in PyTorch eager, on the CPU.

    compare_memory.py --config configs/celebahq256.toml --size 256 --channels 3 --batch 1
                      [--program build/release/ddpm] [--what plain,recompute,eager] [--precision fp32]

Each is a process of its own; what counts is the most memory it ever held (ru_maxrss), libraries included. Ours is
`ddpm train --dry-run` on procedural images, PyTorch's is the plain module of compare_pytorch.py, with its step, twice.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib


def config_text(arguments):
    """The config with procedural images of the size asked for, so that no data set is needed."""
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


def eager(arguments):
    import compare_pytorch

    with open(arguments.config, "rb") as file:
        config = tomllib.load(file)
    config["train"]["batch_size"] = arguments.batch
    net = compare_pytorch.network_of(config, False)
    variant = compare_pytorch.Variant("eager", net, config, False, arguments.precision, "default")
    net.to("meta")  # the variant has its own copy
    for _ in range(2):
        variant.train()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--channels", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--program", default="build/release/ddpm")
    parser.add_argument("--what", default="plain,recompute,eager")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return eager(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "config.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(config_text(arguments))
        ours = [arguments.program, "train", "--config", path, "--dry-run", "--device", "cpu", "--out", folder + "/run",
                "--set", f"train.batch_size={arguments.batch}", "--set", f"train.precision={arguments.precision}"]
        theirs = [sys.executable, __file__, "--child", "--config", path, "--size", "0", "--channels", "0", "--batch",
                  str(arguments.batch), "--precision", arguments.precision]
        commands = {"plain": ours, "recompute": ours + ["--set", "train.recompute=true"], "eager": theirs}
        for name in arguments.what.split(","):
            print(f"{os.path.basename(arguments.config)}, batch {arguments.batch}, {arguments.precision}, {name}: "
                  f"{peak_mib(commands[name]):,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
