#!/usr/bin/env python3
"""Golden NumPy files, written by NumPy itself: tests/golden/numpy_*.npz.

There are 3 images of 6 x 5 and 3 channels. Value (n, y, x, c) is (37 n + 11 y + 5 x + 83 c) mod 256.
"""

import io
import pathlib
import zipfile

import numpy as np
from numpy.lib import format as npy_format

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"


def images():
    n, y, x, c = np.ogrid[:3, :6, :5, :3]
    return ((37 * n + 11 * y + 5 * x + 83 * c) % 256).astype(np.uint8)


def npy_bytes(array, version=None):
    file = io.BytesIO()
    npy_format.write_array(file, array, version=version)
    return file.getvalue()


def main():
    nhwc = images()
    nchw = np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2))
    unit = nhwc.astype(np.float64) / 255
    arrays = {
        "u1": npy_bytes(nhwc),
        "u1_version2": npy_bytes(nhwc, (2, 0)),
        "u1_version3": npy_bytes(nhwc, (3, 0)),
        "u1_fortran": npy_bytes(np.asfortranarray(nhwc)),
        "u1_nchw": npy_bytes(nchw),
        "u1_nhw": npy_bytes(np.ascontiguousarray(nhwc[..., 0])),
        "b1": npy_bytes(nhwc >= 128),
        "f2": npy_bytes(unit.astype("<f2")),
        "f4": npy_bytes(unit.astype("<f4")),
        "f4_big": npy_bytes(unit.astype(">f4")),
        "f8_signed": npy_bytes(2 * unit - 1),
        "f8_fortran_big": npy_bytes(np.asfortranarray(nhwc.astype(">f8"))),
        "i1": npy_bytes((nhwc.astype(np.int64) - 128).astype(np.int8)),
        "i2_big": npy_bytes((nhwc.astype(np.int64) - 128).astype(">i2")),
        "i4": npy_bytes((nhwc.astype(np.int64) - 128).astype("<i4")),
        "i8_big": npy_bytes((nhwc.astype(np.int64) - 128).astype(">i8")),
        "u2": npy_bytes(nhwc.astype("<u2") * 257),
        "u4_big": npy_bytes(nhwc.astype(">u4") * 257),
        "u8": npy_bytes(nhwc.astype("<u8") * 257),
        "scalar": npy_bytes(np.array(7, np.int64)),
        "text": npy_bytes(np.array(["a", "bc"])),
        "complex": npy_bytes(np.array([1j])),
        "records": npy_bytes(np.zeros(2, [("x", "f4"), ("y", "i4")])),
    }
    with zipfile.ZipFile(GOLDEN / "numpy_arrays.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            info = zipfile.ZipInfo(name + ".npy", (2020, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    np.savez_compressed(GOLDEN / "numpy_images.npz", images=nhwc, labels=np.array([2, 0, 1], np.uint16))
    # As in the reference batches of guided diffusion: arr_0 and other arrays, stored.
    np.savez(GOLDEN / "numpy_batch.npz", nhwc, np.array([[1], [0], [1]], np.int32), mu=np.zeros(4), sigma=np.zeros((4, 4)))


if __name__ == "__main__":
    main()
