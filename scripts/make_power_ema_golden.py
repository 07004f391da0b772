#!/usr/bin/env python3
"""Writes tests/golden/power_ema.safetensors: power-function averages (Karras 2024, arXiv 2312.02696) in float64.

exponents [L]: gamma of `lengths` [L] by numpy's eigenvalues of the companion matrix.
For snapshots of the lengths 0.05 and 0.1 every 1/N of the training, N = 20 and 40: errors.N [T] and
coefficients.N [T,2N] of the best sum for the length targets[t] at the end. No formula of inner products is
used: the profiles are integrated over 20,000 cells, and the least squares are solved by an SVD.

Needs numpy and safetensors:  python3 scripts/make_power_ema_golden.py
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
LENGTHS = [0.001, 0.01, 0.05, 0.1, 0.15, 0.25, 0.28]
TARGETS = [0.02, 0.03, 0.04, 0.07, 0.15, 0.2, 0.25]
STORED = [0.05, 0.1]
CELLS = 20_000


def exponent(length):
    c = length**-2
    roots = np.roots([1, 7, 16 - c, 12 - c])
    return roots[np.abs(roots.imag) < 1e-9].real.max()


def profile(length, end):
    """The integrals of (g + 1) tau^g / end^(g + 1) on [0, end] over the cells of [0, 1], for unit cells of norm 1."""
    edges = np.minimum(np.linspace(0, 1, CELLS + 1) / end, 1)
    return np.diff(edges ** (exponent(length) + 1)) * np.sqrt(CELLS)


def main():
    tensors = {
        "lengths": np.array(LENGTHS),
        "exponents": np.array([exponent(length) for length in LENGTHS]),
        "targets": np.array(TARGETS),
    }
    for count in (20, 40):
        ends = [(length, (i + 1) / count) for length in STORED for i in range(count)]
        stored = np.stack([profile(*end) for end in ends], axis=1)
        errors, coefficients = [], []
        for target in TARGETS:
            wanted = profile(target, 1)
            x = np.linalg.lstsq(stored, wanted, rcond=None)[0]
            errors.append(np.linalg.norm(stored @ x - wanted) / np.linalg.norm(wanted))
            coefficients.append(x)
        tensors[f"errors.{count}"] = np.array(errors)
        tensors[f"coefficients.{count}"] = np.stack(coefficients)
    save_file(tensors, GOLDEN / "power_ema.safetensors")


if __name__ == "__main__":
    main()
