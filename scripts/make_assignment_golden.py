#!/usr/bin/env python3
"""Writes tests/golden/assignment.safetensors: linear assignments by scipy, in float64.

For each case NAME: cost.NAME [N,N], columns.NAME [N] of scipy.optimize.linear_sum_assignment, and
total.NAME [1]. The cases whose name begins with "ties" have several best assignments: only their
total is the same everywhere.

Needs numpy, scipy and safetensors:  python3 scripts/make_assignment_golden.py
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file
from scipy.optimize import linear_sum_assignment

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"


def cases(random):
    for size in (1, 2, 3, 8, 33, 100):
        yield f"normal{size}", random.normal(size=(size, size))
    images, noises = random.uniform(-1, 1, (48, 12)), random.normal(size=(48, 12))
    yield "distances", ((images[:, None] - noises[None]) ** 2).sum(-1)
    yield "large", 1e9 + 1e6 * random.normal(size=(20, 20))
    for size in (2, 7, 40):
        yield f"ties{size}", random.integers(-3, 4, (size, size)).astype(float)
    yield "ties_equal", np.full((9, 9), 2.5)
    yield "ties_rows", np.repeat(random.normal(size=(6, 12)), 2, axis=0)


def main():
    tensors = {}
    for name, cost in cases(np.random.default_rng(7)):
        rows, columns = linear_sum_assignment(cost)
        tensors[f"cost.{name}"] = np.ascontiguousarray(cost)
        tensors[f"columns.{name}"] = columns.astype(np.int64)
        tensors[f"total.{name}"] = cost[rows, columns].sum(keepdims=True)
    save_file(tensors, GOLDEN / "assignment.safetensors")


if __name__ == "__main__":
    main()
