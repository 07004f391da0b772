#!/usr/bin/env python3
"""From the start of the process to the first network call: `ddpm sample` and diffusers, in turn on one machine.

    compare_startup.py CKPT FOLDER [--program build/release/ddpm] [--rounds 7]

FOLDER is the output of `ddpm convert CKPT FOLDER --to diffusers`.

    ddpm       the time of the full process for one image in one step, less `seconds` (the sampling alone) of --json.
               This includes writing images and ending the process
    diffusers  until from_pretrained returns, of the pipeline or of the network alone

Files are read once before, so that both find them in the page cache. Needs diffusers; the program does not use it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from arguments import path, positive, program

PIPELINE = "from diffusers import DDPMPipeline; DDPMPipeline.from_pretrained({folder!r})"
NETWORK = "from diffusers import UNet2DModel; UNet2DModel.from_pretrained({unet!r})"


def ours(arguments):
    with tempfile.TemporaryDirectory() as out:
        command = [arguments.program, "sample", "--ckpt", arguments.checkpoint, "--num", "1", "--steps", "1", "--ddim",
                   "--device", "cpu", "--out", os.path.join(out, "pictures"), "--json"]
        begin = time.time()
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return time.time() - begin - json.loads(line)["seconds"]


def theirs(code):
    begin = time.time()
    run = subprocess.run([sys.executable, "-c", code + "; import time; print(time.time())"], check=True,
                         capture_output=True, text=True)
    return float(run.stdout.split()[-1]) - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=path)
    parser.add_argument("folder", type=path)
    parser.add_argument("--program", type=program, default="build/release/ddpm")
    parser.add_argument("--rounds", type=positive, default=7)
    arguments = parser.parse_args()
    ways = {"ddpm": lambda: ours(arguments),
            "pipeline": lambda: theirs(PIPELINE.format(folder=arguments.folder)),
            "network": lambda: theirs(NETWORK.format(unet=os.path.join(arguments.folder, "unet")))}
    times = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, way in ways.items():
            seconds = way()
            if number > 0:  # the first round reads the files
                times[name].append(seconds)
        print({name: round(values[-1], 2) for name, values in times.items() if values}, flush=True)
    for name, values in times.items():
        ratios = [a / b for a, b in zip(times["ddpm"], values)]
        print(f"{name}: {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f}); ddpm takes "
              f"{statistics.median(ratios):.3f} of it ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
