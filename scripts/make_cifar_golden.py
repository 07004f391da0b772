#!/usr/bin/env python3
"""Small files like those of CIFAR's "Python version": tests/golden/cifar/*/.

  python2/   data_batch_1, data_batch_2 and batches.meta as the published ones are pickled: by Python 2, whose texts and
             bytes are the same. Two images and one
  python3/   train and meta (CIFAR-100) in protocol 4. Two images
  foreign/   data_batch_1 with an array of another type

Byte k of image i is (k + 7 i) mod 256; the labels are 9, 0 and 3, or 99 and 42.
usage: python3 scripts/make_cifar_golden.py   (needs numpy)
"""

import io
import pathlib
import pickle
import struct

import numpy as np

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "cifar"


class Python2Pickler(pickle._Pickler):
    """Protocol 2 with the operations that Python 2 has for its one type of text and bytes."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_text(self, text):
        data = text.encode("latin1") if isinstance(text, str) else text
        if len(data) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[bytes] = save_text
    dispatch[str] = save_text


def images(first, count, dtype=np.uint8):
    return ((np.arange(3072) + 7 * np.arange(first, first + count)[:, None]) % 256).astype(dtype)


def write(name, value, python2):
    path = GOLDEN / name
    path.parent.mkdir(parents=True, exist_ok=True)
    out = io.BytesIO()
    if python2:
        Python2Pickler(out, 2).dump(value)
        # The module's name when CIFAR was published.
        path.write_bytes(out.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    else:
        pickle.dump(value, out, 4)
        path.write_bytes(out.getvalue())


def main():
    for batch, first, labels in ((1, 0, [9, 0]), (2, 2, [3])):
        names = [f"image_{i}.png" for i in range(len(labels))]
        write(f"python2/data_batch_{batch}", {"batch_label": f"training batch {batch} of 2", "labels": labels,
                                              "data": images(first, len(labels)), "filenames": names}, True)
    write("python2/batches.meta", {"num_cases_per_batch": 2, "label_names": [f"name{i}" for i in range(10)],
                                   "num_vis": 3072}, True)
    write("python3/train", {"filenames": ["a", "b"], "fine_labels": [99, 42], "coarse_labels": [5, 5],
                            "data": images(0, 2)}, False)
    write("python3/meta", {"fine_label_names": [f"fine{i}" for i in range(100)]}, False)
    write("foreign/data_batch_1", {"labels": [0], "data": images(0, 1, np.float32)}, False)


if __name__ == "__main__":
    main()
