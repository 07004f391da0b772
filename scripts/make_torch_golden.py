#!/usr/bin/env python3
"""Golden files of torch.save, written by torch itself, and ours read back by it.

    make_torch_golden.py               writes tests/golden/torch_*.pt
    make_torch_golden.py --check FILE  reads FILE, written by us, and compares it with the same tensors

  torch_zip.pt      every kind of value that can be read: see content()
  torch_legacy.pt   the same in the format before torch 1.6
  torch_call.pt     a pickle that would run a shell command
  torch_object.pt   a dict with an object of another package (numpy's scalar) in it
  torch_objects.pt, torch_objects_legacy.pt  weights and objects of many kinds: see objects()
  torch_array.pt    a weight that is a numpy array
  torch_script.pt   a TorchScript program

A FILE to check comes from the tests: DDPM_KEEP_TEST_FILES=FOLDER build/release/io_test leaves torch_written.pt
in FOLDER. Needs torch and numpy.
"""

import argparse
import collections
import datetime
import fractions
import os
import pathlib
import random

import numpy
import torch
from golden_numbers import numbers

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
TYPES = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64,
    "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8, "bool": torch.bool,
}


def tensors():
    return {name: numbers(dtype) for name, dtype in TYPES.items()}


def content():
    base = numbers(torch.float32)
    linear = torch.nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0]]))
        linear.bias.fill_(3.0)
    return [
        tensors(),
        {"base": base, "transposed": base.permute(2, 0, 1), "slice": base[1, :, ::2],
         "expanded": torch.tensor([7.0]).expand(4), "scalar": torch.tensor(1.5), "empty": torch.zeros(0, 4)},
        linear.state_dict(),  # an OrderedDict with attributes
        torch.nn.Parameter(torch.tensor([4.0, 5.0])),
        {"none": None, "true": True, "false": False, "int": -7, "long": 1 << 40, "real": 0.1, "text": "grün",
         "tuple": (1, "a"), "size": torch.Size([2, 3]), "nested": {"list": [[], {}, [1.5]]}, 5: "five"},
    ]


class Call:
    def __reduce__(self):
        return os.system, ("touch /tmp/this-must-not-run",)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(2, 1)


def objects(legacy):
    weight = torch.tensor([[1.0, 2.0]])
    tagged = torch.tensor([3.0])
    tagged.note = "a tensor with an attribute"
    parameter = torch.nn.Parameter(torch.tensor([4.0]))
    parameter.note = "the same"
    defaults = collections.defaultdict(list)
    defaults["weight"] = weight
    complex_numbers = {} if legacy else {"complex": torch.tensor([1 + 2j])}  # the old format holds no size
    return {
        "state_dict": collections.OrderedDict(weight=weight, tagged=tagged, parameter=parameter), "defaults": defaults,
        "loss": numpy.float64(0.5), "array": numpy.arange(3), "args": argparse.Namespace(lr=1e-3, nested=argparse.Namespace(a=1)),
        "path": pathlib.PurePosixPath("/a/b"), "when": datetime.datetime(2020, 1, 2), "counter": collections.Counter("aab"),
        "set": {1, 2}, "frozen": frozenset([3]), "number": 1 << 100, "fraction": fractions.Fraction(1, 3), "bytes": b"\x00\xff",
        "random": numpy.random.default_rng(0).bit_generator.state, "python_random": random.Random(0).getstate(),
        "device": torch.device("cpu"), "dtype": torch.float32, "function": os.path.join, "class": Net, "module": Net(),
        "keys": {(1, 2): 3, 1.5: 4, None: 5, "kept": 6}, **complex_numbers,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", type=pathlib.Path)
    options = parser.parse_args()
    if options.check:
        found = torch.load(options.check, weights_only=True)
        expected = tensors() | {"transposed": numbers(torch.float32).permute(2, 0, 1)}
        assert list(found) == list(expected), list(found)
        for name, value in expected.items():
            assert found[name].dtype == value.dtype and torch.equal(found[name], value), name
        print(f"{options.check}: {len(found)} tensors agree")
        return
    torch.save(content(), GOLDEN / "torch_zip.pt")
    torch.save(content(), GOLDEN / "torch_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"weights": torch.zeros(2), "x": Call()}, GOLDEN / "torch_call.pt")
    torch.save({"weights": torch.zeros(2), "loss": numpy.float64(0.5)}, GOLDEN / "torch_object.pt")
    torch.save(objects(False), GOLDEN / "torch_objects.pt")
    torch.save(objects(True), GOLDEN / "torch_objects_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"conv.weight": numpy.zeros((2, 2), numpy.float32), "conv.bias": torch.zeros(2)}, GOLDEN / "torch_array.pt")
    torch.jit.script(torch.nn.Identity()).save(GOLDEN / "torch_script.pt")


if __name__ == "__main__":
    main()
