#!/usr/bin/env python3
"""Golden tar archives, written by Python's tarfile: tests/golden/tar/*.tar.

  gnu.tar, pax.tar, ustar.tar   the same files in three formats: "./a.txt" (7 bytes), "sub/empty", a name of 150
                                characters of directories, a folder and a link, which are no files
  shard-000.tar, shard-001.tar  a WebDataset: 000000.png + .cls and so on. Image i is 4x3 with the value 20 i + x + 10 y
  text.tar                      the same with class names in .cls
  twice.tar                     "a.txt" twice; the later one counts

usage: python3 scripts/make_tar_golden.py   (needs Pillow)
"""

import io
import pathlib
import tarfile

from PIL import Image

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "tar"


def add(archive, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def png(i):
    image = Image.new("L", (4, 3))
    image.putdata([20 * i + x + 10 * y for y in range(3) for x in range(4)])
    out = io.BytesIO()
    image.save(out, "png")
    return out.getvalue()


def plain(name, kind):
    with tarfile.open(GOLDEN / name, "w", format=kind) as archive:
        add(archive, "./a.txt", b"content")
        add(archive, "sub/empty", b"")
        long_name = "/".join(["directory-number-%02d" % i for i in range(8)]) + "/file.bin"
        add(archive, long_name, bytes(range(256)) * 3)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "a.txt"
        archive.addfile(link)


def shard(name, images, label):
    with tarfile.open(GOLDEN / name, "w") as archive:
        for i in images:
            add(archive, f"{i:06}.png", png(i))
            add(archive, f"{i:06}.cls", label(i))
            add(archive, f"{i:06}.json", b"{}")


def main():
    GOLDEN.mkdir(exist_ok=True)
    plain("gnu.tar", tarfile.GNU_FORMAT)
    plain("pax.tar", tarfile.PAX_FORMAT)
    plain("ustar.tar", tarfile.USTAR_FORMAT)
    shard("shard-000.tar", (0, 1, 2), lambda i: b"%d\n" % (i % 2))
    shard("shard-001.tar", (3, 4), lambda i: b"%d" % (i % 2))
    with tarfile.open(GOLDEN / "text.tar", "w") as archive:
        for i, label in enumerate((b"dog", b"cat", b"dog")):
            add(archive, f"{i}.png", png(i))
            add(archive, f"{i}.cls", label)
    with tarfile.open(GOLDEN / "twice.tar", "w") as archive:
        add(archive, "a.txt", b"first")
        add(archive, "a.txt", b"second")


if __name__ == "__main__":
    main()
