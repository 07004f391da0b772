#!/usr/bin/env python3
"""Golden safetensors files, written by the format's own Python package (pip install safetensors torch).

    make_safetensors_golden.py                 writes tests/golden/safetensors_*.safetensors
    make_safetensors_golden.py --check FILE    reads FILE, written by us, and compares it with the same content

A FILE to check comes from the tests: DDPM_KEEP_TEST_FILES=FOLDER build/release/io_test leaves
safetensors_rewritten.safetensors in FOLDER.
"""

import argparse
import pathlib
import sys

import torch
from golden_numbers import numbers
from safetensors import safe_open
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
METADATA = {"format": "pt", "note": 'grün "quoted"\nsecond line'}


def content():
    types = {
        "bool": torch.bool, "u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32,
        "i64": torch.int64, "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32,
        "f64": torch.float64,
    }
    tensors = {name: numbers(dtype) for name, dtype in types.items()}
    tensors["scalar"] = torch.tensor(1.5)
    tensors["empty"] = torch.zeros(0, 4)
    infinity = float("inf")
    tensors["special"] = torch.tensor([float("nan"), infinity, -infinity, -0.0, 1e-45, 3.4028234663852886e38])
    return tensors


def check(path):
    wrong = 0
    with safe_open(path, framework="pt") as file:
        if file.metadata() != METADATA:
            print(f"metadata: {file.metadata()}")
            wrong += 1
        expected = content()
        if set(file.keys()) != set(expected):
            print(f"names: {sorted(file.keys())}")
            wrong += 1
        for name, want in expected.items():
            have = file.get_tensor(name)
            same = have.dtype == want.dtype and have.shape == want.shape
            # Bit for bit, so that NaN and -0 count too.
            same = same and bytes(have.contiguous().reshape(-1).view(torch.uint8)) == bytes(
                want.contiguous().reshape(-1).view(torch.uint8))
            if not same:
                print(f"{name}: {have}\nexpected {want}")
                wrong += 1
    print(f"{path}: {'differs' if wrong else 'equal'}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="FILE", nargs="+", default=[])
    arguments = parser.parse_args()
    if arguments.check:
        sys.exit(1 if sum(check(path) for path in arguments.check) else 0)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    save_file(content(), GOLDEN / "safetensors_all_types.safetensors", METADATA)
    save_file({}, GOLDEN / "safetensors_no_tensors.safetensors")


if __name__ == "__main__":
    main()
