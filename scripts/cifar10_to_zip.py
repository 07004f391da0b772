#!/usr/bin/env python3
"""Turns CIFAR-10's binary version into train.zip and test.zip: PNG files in one folder per class.

    cifar10_to_zip.py cifar-10-binary.tar.gz OUTPUT_FOLDER

A record is one label byte and 3072 pixel bytes: 32x32 of red, then green, then blue (Krizhevsky 2009). The names
keep the order within the set: cat/00027.png is the 28th image.
"""

import argparse
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

SIDE = 32
PLANE = SIDE * SIDE
RECORD = 1 + 3 * PLANE
TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]
TEST = ["test_batch.bin"]


def png(planes):
    """An RGB PNG file of three 32x32 planes."""
    pixels = bytearray(3 * PLANE)
    for channel in range(3):
        pixels[channel::3] = planes[channel * PLANE : (channel + 1) * PLANE]
    stride = 3 * SIDE
    rows = b"".join(b"\0" + pixels[y * stride : (y + 1) * stride] for y in range(SIDE))  # 0: no filter

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b"")
    )


def convert(files, names, classes, target):
    """Writes the records of the named batches to a zip archive. An existing archive is always complete: it is renamed at the end."""
    partial = target.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        index = 0
        for name in names:
            batch = files[name]
            if len(batch) % RECORD:
                raise SystemExit(f"{name}: {len(batch)} bytes are not a multiple of the record size {RECORD}")
            for start in range(0, len(batch), RECORD):
                label = classes[batch[start]]
                entry = zipfile.ZipInfo(f"{label}/{index:05}.png")  # its fixed date makes the archive reproducible
                archive.writestr(entry, png(batch[start + 1 : start + RECORD]))
                index += 1
    os.replace(partial, target)
    print(f"{target}: {index} images")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    with tarfile.open(arguments.archive) as archive:
        files = {
            Path(member.name).name: archive.extractfile(member).read() for member in archive if member.isfile()
        }
    missing = [name for name in [*TRAIN, *TEST, "batches.meta.txt"] if name not in files]
    if missing:
        raise SystemExit(f"{arguments.archive}: has no {', '.join(missing)}")
    classes = files["batches.meta.txt"].decode().split()
    convert(files, TRAIN, classes, arguments.output / "train.zip")
    convert(files, TEST, classes, arguments.output / "test.zip")


if __name__ == "__main__":
    main()
