#!/usr/bin/env python3
"""Samples by `import ddpm` and by `ddpm sample`: the same numbers for several methods, classes and batches; wrong input
raises one line of the right kind; Ctrl-C stops.

usage: use_python_module.py DDPM_PROGRAM LIBDDPM

Ends with status 77 (skipped) where no Python has torch 2.11; scripts/setup.sh installs one into the cache folder.
"""

import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

from checks import CACHE, SKIPPED, TINY

PACKAGE = TINY.parent.parent / "python"
PYTHON = pathlib.Path(CACHE) / "torch-2.11.0" / "bin" / "python"


def start_over():
    if PYTHON.exists() and "DDPM_CHECKS" not in os.environ:
        os.execve(PYTHON, [PYTHON, *sys.argv], {**os.environ, "DDPM_CHECKS": "1"})
    print(f"skipped: {PYTHON} does not exist (scripts/setup.sh installs it)")
    return SKIPPED


def samples_in(path, torch):
    """The tensor "samples" of a safetensors file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    entry = json.loads(data[8 : 8 + size])["samples"]
    begin, end = entry["data_offsets"]
    values = torch.frombuffer(bytearray(data[8 + size + begin : 8 + size + end]), dtype=torch.float32)
    return values.reshape(entry["shape"])


def expect(condition, what):
    if not condition:
        raise SystemExit(f"use_python_module.py: {what}")


def raises(kind, part, call):
    try:
        call()
    except kind as error:
        expect(part in str(error) and "\n" not in str(error), f"{str(error)!r} should be one line with {part!r}")
        return
    raise SystemExit(f"use_python_module.py: no {kind.__name__} with {part!r}")


def same_samples(ddpm, run, folder, torch):
    runs = folder / "run"
    model = ddpm.load(runs)
    expect(model.shape == (1, 8, 8) and model.facts["weights"] == "ema", f"facts: {model.facts}")
    cases = [
        ({}, []),
        ({"method": "ddim", "steps": 5}, ["--ddim", "--steps", "5"]),
        ({"method": "ddim", "steps": 5, "eta": 0.5}, ["--ddim", "--steps", "5", "--eta", "0.5"]),
        ({"method": "auto", "steps": 6}, ["--method", "auto", "--steps", "6"]),
        ({"method": "heun", "steps": 7, "spacing": "trailing"},
         ["--method", "heun", "--steps", "7", "--spacing", "trailing"]),
        ({"steps_at": [19, 8, 3]}, ["--steps-at", "19,8,3"]),
        ({"guidance": 2.0, "steps": 4}, ["--guidance", "2", "--steps", "4"]),
    ]
    for number, (settings, flags) in enumerate(cases):
        tensors = folder / f"{number}.safetensors"
        run("sample", "--ckpt", runs, "--num", 5, "--seed", 3, "--class", "1,0", "--save-tensors", tensors,
            "--out", folder / f"out{number}", *flags)
        expected = samples_in(tensors, torch)
        found = model.sample(5, seed=3, batch=3, classes=[1, 0], **settings)
        expect(found.dtype == torch.float32 and torch.equal(found, expected), f"{settings}: other samples")
        others = model.sample(5, seed=3, batch=2, classes=[1, 0], **settings)
        expect((others - expected).abs().max() < 1e-3, f"{settings}: another batch changes more than rounding")
    part = model.sample(2, seed=3, first=3, classes=[0, 1], method="ddim", steps=5)
    expect(part.shape == (2, 1, 8, 8), "first: another shape")
    whole = model.sample(5, seed=3, classes=[0, 1], method="ddim", steps=5)
    expect((part - whole[3:]).abs().max() < 1e-3, "images 3 and 4 alone differ from those of a larger set")
    pictures = model.sample(3, seed=3, to="numpy", steps=4)
    expect(pictures.shape == (3, 8, 8) and str(pictures.dtype) == "uint8", f"numpy: {pictures.shape}")
    raw = ddpm.load(runs, weights="raw").sample(1, steps=4)
    expect(not torch.equal(raw, model.sample(1, steps=4)), "raw and ema weights draw the same")
    return model


def takes_vectors(ddpm, run, folder, torch):
    table = folder / "vectors.csv"
    table.write_text("id,smiling,age\n" + "".join(f"{i},{i % 2},{i / 2}\n" for i in range(50)))
    runs = folder / "with_vectors"
    run("train", "--config", TINY, "--out", runs, "--set", "train.steps=4", "--set", f"data.vectors={table}",
        "--set", "model.vector_conditional=true")
    model = ddpm.load(runs)
    expect(model.facts["vectors"]["names"] == ["smiling", "age"], f"facts: {model.facts['vectors']}")
    for flags, vectors in ((["--vector", "1,-2.5"], [[1, -2.5]]), ([], None)):
        tensors = folder / "vectors.safetensors"
        run("sample", "--ckpt", runs, "--num", 3, "--steps", "5", "--save-tensors", tensors, "--out",
            folder / f"vectors{len(flags)}", *flags)
        found = model.sample(3, vectors=vectors, steps=5)
        expect(torch.equal(found, samples_in(tensors, torch)), f"{flags}: other samples")
    raises(ddpm.UsageError, "its columns are smiling, age", lambda: model.sample(1, vectors=[[1, 2, 3]]))
    raises(ddpm.UsageError, "NaN", lambda: model.sample(1, vectors=[[1, float("nan")]]))


def errors(ddpm, model, folder):
    raises(ddpm.IoError, "nowhere", lambda: ddpm.load(folder / "nowhere"))
    raises(OSError, "nowhere", lambda: ddpm.load(folder / "nowhere"))
    raises(ddpm.UsageError, "cuda:97", lambda: ddpm.load(folder / "run", device="cuda:97"))
    raises(ddpm.UsageError, "ema-7", lambda: ddpm.load(folder / "run", weights="ema-7"))
    raises(ValueError, "stepz", lambda: model.sample(1, stepz=4))
    raises(ddpm.UsageError, "sample.method", lambda: model.sample(1, method="foo"))
    raises(ddpm.UsageError, "eta", lambda: model.sample(1, method="ddpm", eta=0.5))
    raises(ddpm.UsageError, "analytic", lambda: model.sample(1, sigma="analytic"))
    raises(ddpm.UsageError, "classes x", lambda: model.sample(1, classes="x"))
    raises(ddpm.UsageError, "num = 0", lambda: model.sample(0))
    raises(ddpm.UsageError, "torch", lambda: model.sample(1, to="jax"))


def stops(model):
    class Enough(BaseException):
        pass

    seen = []

    def progress(done, total):
        seen.append((done, total))
        raise Enough

    begin = time.monotonic()
    try:
        model.sample(100000, batch=10, progress=progress)
    except Enough:
        pass
    expect(len(seen) == 1 and seen[0][1] == 100000 * 20, f"progress: {seen}")
    expect(time.monotonic() - begin < 60, "a stop should take a step, not the whole sampling")
    model.sample(1, steps=2)  # and it works again


def main(program, library):
    os.environ["DDPM_LIBRARY"] = library
    sys.path.insert(0, str(PACKAGE))
    try:
        import torch
    except ImportError:
        return start_over()
    if torch.__version__.split("+")[0] != "2.11.0":
        return start_over()
    import ddpm

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def run(*flags):
            done = subprocess.run([program, *map(str, flags)], cwd=folder, capture_output=True, text=True)
            expect(done.returncode == 0, f"{flags}: {done.stderr}")

        run("train", "--config", TINY, "--out", folder / "run", "--set", "train.steps=4", "--set",
            "model.class_conditional=true", "--set", "train.label_dropout=0.1")
        model = same_samples(ddpm, run, folder, torch)
        takes_vectors(ddpm, run, folder, torch)
        errors(ddpm, model, folder)
        stops(model)
    print("import ddpm: the samples are those of ddpm sample")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
