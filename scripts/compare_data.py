#!/usr/bin/env python3
"""Decoding a folder of images, here and by torchvision, in turn on one machine.

    compare_data.py ZIP FOLDER [--program build/release/ddpm] [--threads 2] [--rounds 5] [--images 50000] [--batch 128]

ZIP holds the same images as FOLDER, which has one folder per class. Each round measures images per second:

    ddpm         `ddpm bench --what data` on ZIP and on FOLDER; it decodes every image again
    torchvision  ImageFolder with a DataLoader, one worker process per decoding thread of the program. Images become
                 uint8 tensors, without another transform, in the order of the files

At the end it prints the medians, and the ratios by round. Needs torchvision; the program does not use it.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

from arguments import path, positive, program

CONFIG = """
[data]
kind = "auto"
path = "{path}"
workers = {threads}
[model]
channels = 32
channel_multipliers = [1]
blocks = 1
attention_resolutions = []
mid_attention = false
[train]
batch_size = {batch}
"""


def ours(arguments, path):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(CONFIG.format(path=path, batch=arguments.batch, threads=arguments.threads))
        config.flush()
        command = [arguments.program, "bench", "--config", config.name, "--what", "data", "--json", "--device", "cpu",
                   "--repeats", "1", "--data-images", str(arguments.images)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["data"]["images_per_s"]


def theirs(arguments):
    from torch.utils.data import DataLoader, Subset  # here, so that --help needs no PyTorch
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    data = ImageFolder(arguments.folder, transform=PILToTensor())
    data = Subset(data, range(min(arguments.images, len(data)) // arguments.batch * arguments.batch))
    begin = time.perf_counter()  # includes starting the workers, as ours includes starting the threads
    count = sum(len(images) for images, _ in DataLoader(data, arguments.batch, num_workers=arguments.threads))
    return count / (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zip", type=path)
    parser.add_argument("folder", type=path)
    parser.add_argument("--program", type=program, default="build/release/ddpm")
    parser.add_argument("--threads", type=positive, default=os.cpu_count())
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--images", type=positive, default=50000)
    parser.add_argument("--batch", type=positive, default=128)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    rates = {"zip": [], "folder": [], "torchvision": []}
    for _ in range(arguments.rounds):
        rates["zip"].append(ours(arguments, arguments.zip))
        rates["folder"].append(ours(arguments, arguments.folder))
        rates["torchvision"].append(theirs(arguments))
        print({name: round(values[-1]) for name, values in rates.items()}, flush=True)
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(values, rates["torchvision"])]
        print(f"{name}: {statistics.median(values):,.0f} images/s, {statistics.median(ratios):.2f} x torchvision "
              f"({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
