#!/usr/bin/env python3
"""Golden LMDB databases, written by Python's lmdb: tests/golden/lmdb/*/data.mdb.

  bedroom_lmdb/   keys "00", "01", "02": WebP, PNG and JPEG, 4x3, grey values 20 i
  church_lmdb/    keys "a/b" and "text": a PNG, and no image

usage: python3 scripts/make_lmdb_golden.py   (needs lmdb and Pillow)
"""

import io
import pathlib
import shutil

import lmdb
from PIL import Image

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "lmdb"


def image(i, kind):
    out = io.BytesIO()
    Image.new("RGB", (4, 3), (20 * i,) * 3).save(out, kind, lossless=True, quality=100)
    return out.getvalue()


def write(name, values):
    folder = GOLDEN / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 20) as env, env.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    (folder / "lock.mdb").unlink()


def main():
    write("bedroom_lmdb", {b"00": image(0, "WEBP"), b"01": image(1, "PNG"), b"02": image(2, "JPEG")})
    write("church_lmdb", {b"a/b": image(5, "PNG"), b"text": b"not an image"})


if __name__ == "__main__":
    main()
