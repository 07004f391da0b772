#!/usr/bin/env python3
"""Writes tests/fuzz/corpus: small valid inputs from which the fuzzers start (scripts/fuzz.sh).

    scripts/make_fuzz_corpus.py      needs Pillow and NumPy

Formats with examples in tests/golden or configs (torch files, safetensors, TOML, diffusers) are not repeated.
"""
import gzip
import io
import pathlib
import struct
import tarfile
import zipfile

import numpy as np
from PIL import Image

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fuzz" / "corpus"


def write(reader, name, data):
    path = CORPUS / reader / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def encoded(image, **how):
    out = io.BytesIO()
    image.save(out, **how)
    return out.getvalue()


def images(rng):
    for mode, channels in (("L", 1), ("RGB", 3), ("RGBA", 4)):
        pixels = rng.integers(0, 256, (5, 7, channels), dtype=np.uint8)
        image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels, mode)
        write("image", f"{mode}.png", encoded(image, format="PNG"))
        write("image", f"{mode}.tga", encoded(image, format="TGA"))
        write("image", f"{mode}.webp", encoded(image, format="WEBP", lossless=channels == 4))
        if channels < 4:
            write("image", f"{mode}.jpg", encoded(image, format="JPEG"))
            write("image", f"{mode}-progressive.jpg", encoded(image, format="JPEG", progressive=True))
            write("image", f"{mode}.bmp", encoded(image, format="BMP"))
            write("image", f"{mode}.pnm", encoded(image, format="PPM"))
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation
    write("image", "exif.jpg", encoded(image.convert("RGB"), format="JPEG", exif=turned))
    deep = Image.fromarray(rng.integers(0, 65536, (4, 3), dtype=np.uint16).astype(np.uint16))
    write("image", "16-bit.png", encoded(deep, format="PNG"))
    write("image", "palette.png", encoded(image.convert("P"), format="PNG"))


def arrays(rng):
    for kind in ("u1", "<i2", ">i4", "<f2", "<f4", ">f8", "?"):
        out = io.BytesIO()
        np.save(out, rng.integers(0, 2, (2, 3, 4)).astype(kind))
        write("npy", kind.strip("<>?") + ("-big" if ">" in kind else "") + ".npy", out.getvalue())
    out = io.BytesIO()
    np.save(out, np.asfortranarray(rng.integers(0, 9, (3, 2))))
    write("npy", "fortran.npy", out.getvalue())
    out = io.BytesIO()
    np.savez(out, images=rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8), labels=np.array([0, 1]))
    write("npz", "labelled.npz", out.getvalue())


def data_sets(rng):
    pixels = rng.integers(0, 256, 3 * 2 * 2, dtype=np.uint8).tobytes()
    idx = struct.pack(">IIII", 0x803, 3, 2, 2) + pixels
    write("idx", "images", idx)
    write("idx", "images.gz", gzip.compress(idx, mtime=0))
    write("idx_labels", "labels", struct.pack(">II", 0x801, 3) + bytes([0, 2, 1]))
    write("cifar", "cifar10", b"\0" + b"\3" + b"\x40" * 3072)
    write("cifar", "cifar100", b"\2" + b"\3\x50" + b"\x40" * 3072)


def archives():
    for name, how in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", how) as archive:
            for member in ("a/1.txt", "b/2.txt"):
                archive.writestr(zipfile.ZipInfo(member), b"text " * 20, how)
        write("zip", name + ".zip", out.getvalue())
    for name, kind in (("pax", tarfile.PAX_FORMAT), ("gnu", tarfile.GNU_FORMAT)):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
            for member in ("a/1.txt", "b/" + 12 * "long-name-" + ".txt"):
                info = tarfile.TarInfo(member)
                info.size = 20
                archive.addfile(info, io.BytesIO(4 * b"text "))
        write("tar", name + ".tar", out.getvalue()[:6144])


def texts():
    for i, line in enumerate(('data.path=x', 'data.path="a b"', "train.steps=10", "ema.decay=[0.9, 0.99]")):
        write("override", str(i), line.encode())
    write("labels", "table.csv", b'file_name,label\na.png,cat\n"b, c.png","dog ""x"""\n')
    write("labels", "metadata.jsonl", b'{"file_name": "a.png", "label": 3}\n{"image": "b.png", "class": "cat"}\n')
    write("labels", "dataset.json", b'{"labels": [["00000/img00000000.png", 6], ["b.png", 0]]}')
    write("manifest", "head", b"ddpm-checkpoint 1\nstep 12\nfile 10 0000abcd model.safetensors\n")
    write("manifest", "other", b"ddpm-checkpoint 2\nstep 12\n")


def main():
    rng = np.random.default_rng(0)
    images(rng)
    arrays(rng)
    data_sets(rng)
    archives()
    texts()


if __name__ == "__main__":
    main()
