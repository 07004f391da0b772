#!/usr/bin/env python3
"""A PNG with texts of every kind, written by Pillow: tests/golden/png_texts.png (2 x 1, grey values 10 and 200)."""

import pathlib

from PIL import Image
from PIL.PngImagePlugin import PngInfo

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"


def main():
    texts = PngInfo()
    texts.add_text("Title", "caf\u00e9")  # tEXt, Latin-1
    texts.add_text("Long", "ab" * 300, zip=True)  # zTXt
    texts.add_itxt("Comment", "\u03b2 = 0.02", lang="en", tkey="Bemerkung")  # iTXt
    texts.add_itxt("ddpm", '{"image": 3}' * 50, zip=True)  # iTXt, compressed
    image = Image.new("L", (2, 1))
    image.putdata([10, 200])
    image.save(GOLDEN / "png_texts.png", pnginfo=texts)


if __name__ == "__main__":
    main()
