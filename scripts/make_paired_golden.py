#!/usr/bin/env python3
"""Golden PSNR and SSIM, by scikit-image: tests/golden/eval_paired.json.

    pip install numpy scikit-image; scripts/make_paired_golden.py

Value (n, c, y, x) of the first images is (37 n + 91 c + 11 y + 5 x + x y) mod 256; the second ones are
(first * (3 - n) / 3 + 29 n + ((17 x + 7 y + 3 c) mod 23) floored) mod 256. tests/eval/paired_test.cpp repeats them.
SSIM is that of Wang 2004: a Gaussian window, 11 x 11 with deviation 1.5, population covariances, the mean over the
windows within the image and over channels.
"""

import json
import pathlib

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"


def pairs(channels, height, width):
    n, c, y, x = np.ogrid[:3, :channels, :height, :width]
    first = (37 * n + 91 * c + 11 * y + 5 * x + x * y) % 256
    second = (first * (3 - n) // 3 + 29 * n + (17 * x + 7 * y + 3 * c) % 23) % 256
    return first.astype(np.uint8), second.astype(np.uint8)


def main():
    cases = []
    for shape in [(1, 11, 11), (3, 16, 24), (3, 32, 32)]:
        first, second = pairs(*shape)
        cases.append({
            "shape": shape,
            "psnr": [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(first, second)],
            "ssim": [
                structural_similarity(a, b, data_range=255, channel_axis=0, gaussian_weights=True, sigma=1.5,
                                      use_sample_covariance=False)
                for a, b in zip(first, second)
            ],
        })
    (GOLDEN / "eval_paired.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
