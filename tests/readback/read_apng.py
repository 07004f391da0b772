#!/usr/bin/env python3
"""Samples and interpolates with --animate, and reads the animated PNGs back with Pillow: the same frames as the pictures
that the program wrote as ordinary PNGs, each for its time, without end; and the still image is the finished one.

usage: read_apng.py DDPM_PROGRAM

Ends with status 77 (skipped) where Pillow is not installed; scripts/test.sh installs it into the cache folder.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from checks import TINY, skip_or_start_over


def frames_of(image):
    """The still image, if it is none of the frames, and then the frames: (duration in ms or None, pixels)."""
    found = []
    for k in range(image.n_frames):
        image.seek(k)
        found.append((image.info.get("duration"), image.convert("RGB").tobytes()))
    return found


def enlarged(image, size):
    return image.convert("RGB").resize(size, 0).tobytes()  # nearest


def main(program):
    try:
        from PIL import Image
    except ImportError:
        return skip_or_start_over("Pillow")

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run = lambda *flags: subprocess.run([program, *flags], cwd=folder, check=True, capture_output=True)
        run("train", "--config", str(TINY), "--out", "run", "--set", "train.steps=4", "--set", "data.channels=3")
        run("sample", "--ckpt", "run", "--ddim", "--steps", "5", "--num", "6", "--out", "p", "--animate", "--trajectory")
        run("interpolate", "--ckpt", "run", "--ddim", "--steps", "5", "--between", "0,3", "--frames", "4", "--out", "q",
            "--animate")

        grid = Image.open(folder / "p-grid.png").convert("RGB")
        denoising = Image.open(folder / "p-animation.png")
        assert denoising.format == "PNG" and denoising.is_animated and denoising.size == grid.size
        assert denoising.default_image, "the still image is a frame"
        assert denoising.info["loop"] == 0, "ends"
        assert denoising.convert("RGB").tobytes() == grid.tobytes(), "the still image is not the finished grid"
        frames = frames_of(denoising)[1:]
        assert [duration for duration, _ in frames] == [100, 100, 100, 100, 2000], frames
        assert frames[-1][1] == grid.tobytes(), "the last frame is not the finished grid"
        assert len({pixels for _, pixels in frames}) >= 3, "frames repeat"
        # The first image's x0 estimates are the first row of the trajectory: cells of 8x8 between 2 pixels, 8 times as large.
        trajectory = Image.open(folder / "p-trajectory.png").convert("RGB")
        for k, (_, pixels) in enumerate(frames):
            frame = Image.frombytes("RGB", grid.size, pixels)
            cell = (16, 16, 80, 80)
            assert frame.crop(cell).tobytes() == trajectory.crop((80 * k + 16, 16, 80 * k + 80, 80)).tobytes(), k

        way = Image.open(folder / "q-animation.png")
        assert not way.default_image and way.info["loop"] == 0
        images = [enlarged(Image.open(folder / f"q/{k:06}.png"), way.size) for k in (0, 1, 2, 3, 2, 1)]
        assert [pixels for _, pixels in frames_of(way)] == images, "not forth and back"
        assert [duration for duration, _ in frames_of(way)] == [600, 100, 100, 600, 100, 100]
    print("Pillow reads the frames, their times and the still images")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
