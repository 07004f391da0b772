#!/usr/bin/env python3
"""Compares what two builds of ddpm do with the same seeds, to the byte.

    compare_programs.py BEFORE AFTER [--work FOLDER] [--strict-messages]

BEFORE and AFTER are two programs built on this machine: results depend on the processor, so no file
of expected bytes could stand in for BEFORE. Each runs the same commands in a folder of its own:
training with two saves (fp32, bf16, with classes), a stop and a resume, sampling with many settings,
conversions, evaluation, and wrong inputs. Then every file, every result on stdout and every exit
status are compared. Times, speeds and dates are left out. A key of a config or a JSON object that
only AFTER has is listed and is no difference.

Prints a line per difference, and a summary. Exit status 1 if there is a difference.
Needs some two minutes on one core and 50 MB in the work folder (default: a temporary one).
"""

import argparse
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

CONFIG = """\
[data]
kind = "procedural"
size = 64
image_size = 16
holdout = 8
flip = true

[model]
channels = 8
channel_multipliers = [1, 2]
blocks = 1
attention_resolutions = [8]
groups = 4
dropout = 0.1

[diffusion]
schedule = "cosine"
timesteps = 100

[train]
steps = 6
batch_size = 4
log_every = 1
checkpoint_every = 3
sample_every = 6
sample_count = 4
sample_steps = 5
holdout_every = 3

[ema]
decay = [0.9, 0.99]
"""

TRAIN = "train --config c.toml --device cpu"
SAMPLE = "sample runs/plain --num 3 --batch 2 --steps 5 --device cpu --json"
# Commands of both programs, in order; each begins with a name. {other} is a run that BEFORE began.
STEPS = [
    ("train", f"{TRAIN} --out runs/plain"),
    ("train bf16", f"{TRAIN} --out runs/bf16 --set train.precision=bf16"),
    ("train classes", f"{TRAIN} --out runs/classes --set model.class_conditional=true --set diffusion.prediction=v"),
    ("train in parts", f"{TRAIN} --out runs/parts --set train.accumulate=2 --set optimizer.kind=adamw"
     " --set optimizer.decay=cosine --set optimizer.weight_decay=0.01"),
    ("train stopped", f"{TRAIN} --out runs/resumed --set train.steps=3"),
    ("train resumed", f"{TRAIN} --out runs/resumed"),
    ("train resumed by the other", f"{TRAIN} --out {{other}}"),
    ("dry run", f"{TRAIN} --out runs/none --dry-run"),
    ("init from", f"{TRAIN} --out runs/init --init-from runs/plain --set train.steps=2"),
    *[
        (f"sample {flags}", f"{SAMPLE} {flags}")
        for flags in (
            "", "--ddim", "--ddim --eta 0.5", "--sigma large", "--sigma hat", "--ddim --spacing trailing",
            "--spacing linspace", "--ddim --spacing quadratic", "--spacing openai", "--stepping diffusers",
            "--clip none", "--ddim --clip clip", "--weights raw", "--weights ema-2", "--seed 7",
            "--precision bf16", "--precision fp64", "--trajectory --ddim --seed 3",
            "--save-tensors x.safetensors --seed 5",
        )
    ],
    ("sample a class", "sample runs/classes --num 3 --steps 5 --ddim --class 1,2 --device cpu"),
    *[(f"convert to {to}", f"convert runs/plain/checkpoints out-{to} --to {to}")
      for to in ("diffusers", "safetensors", "torch", "torch-module", "ddpm")],
    ("convert raw", "convert runs/classes raw.safetensors --to safetensors --weights raw"),
    ("convert back", "convert out-diffusers back --to ddpm"),
    *[(f"sample {source}", f"sample {source} --num 2 --steps 4 --device cpu --json")
      for source in ("out-diffusers", "out-safetensors", "back")],
    ("info", "info runs/plain"),
    ("info of a folder", "info out-diffusers"),
    ("data", "data --config c.toml --json --out data.png"),
    ("noise", "noise --config c.toml --out noise.png"),
    ("likelihood", "eval likelihood --ckpt runs/plain --reference c.toml --num 4 --calls 3 --device cpu --json"),
    ("eval", "eval --ckpt runs/plain --reference c.toml --num 56 --steps 3 --ddim --device cpu --json --cache cache"),
]
WRONG = [
    "", "trian", "train", "train --config no.toml", f"{TRAIN} --set train.steps=0", f"{TRAIN} --set train.stops=1",
    f"{TRAIN} --set model.groups=3", f"{TRAIN} --set model.attention_resolutions=[5]",
    f"{TRAIN} --set data.holdout=64 --out runs/x", f"{TRAIN} --set diffusion.schedule=cosin",
    f"{TRAIN} --out runs/plain --set model.channels=12", f"{TRAIN} --out runs/plain --set run.seed=4",
    f"{TRAIN} --device cuda:77 --out runs/x", "sample no", "sample runs/plain --steps 2000",
    "sample runs/plain --eta 2", "sample runs/plain --ddpm --eta 0.5", "sample runs/plain --class 1",
    "sample runs/plain --weights ema-9", "sample runs/plain --sigma learned", "convert runs/plain out-torch --to torch",
    "convert c.toml x --to ddpm", "info c.toml", "eval --samples no --config c.toml", "data no.zip",
]
TIMED = {"dry run"}  # all that it prints depends on the machine's load
STAMP = re.compile(r"\[20\d\d-[^]]*\] ")
IGNORED = re.compile(r"(^|/)(log\.txt|tb/.*|MANIFEST|data\.index|report\.html|cache/.*|.*\.lock)$")
CHANGING = re.compile(r"seconds|_wait|_per_s|images_per|saved_at|time|memory|eta_|version|speed|host|started|path|peak")


def run(program, command, folder):
    """Runs a command; returns (exit status, stdout, stderr)."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100", "TERM": "dumb", "HOME": str(folder)}
    done = subprocess.run([program, *command.split()], cwd=folder, env=environment, capture_output=True, timeout=600)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def without_changing(value):
    """A JSON value without what differs from run to run."""
    if isinstance(value, dict):
        return {k: without_changing(v) for k, v in value.items() if not CHANGING.search(k)}
    return [without_changing(v) for v in value] if isinstance(value, list) else value


def without_texts(png):
    """A PNG without its text chunks, in which pictures say how they were made."""
    kept, at = png[:8], 8
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            kept += png[at : at + 12 + size]
        at += 12 + size
    return kept


def meaning(name, content):
    """What is compared of a file: parsed text, or a digest."""
    try:
        if name.endswith(".toml"):
            return tomllib.loads(content.decode())
        if name.endswith(".json"):
            return without_changing(json.loads(content))
        if name.endswith(".jsonl"):
            return [without_changing(json.loads(line)) for line in content.decode().splitlines()]
        if name.endswith(".png"):
            content = without_texts(content)
    except (ValueError, struct.error):
        pass
    return hashlib.sha256(content).hexdigest()


def result(stdout):
    """What is compared of a result: JSON, or text without its numbers of time and speed."""
    try:
        return without_changing(json.loads(stdout))
    except ValueError:
        return re.sub(r"[\d.,]+ ?(ms|s|min|h|images/s|MB/s|GB/s|steps/s)\b|20\d\d-\S+", "T", stdout)


def files(folder):
    """Every file of a folder by its relative name."""
    found = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: meaning(name, p.read_bytes()) for name, p in found.items() if not IGNORED.search(name)}


class Report:
    def __init__(self):
        self.compared = self.different = 0

    def differs(self, what, before, after):
        self.different += 1
        print(f"differs: {what}: {str(before)[:200]} -> {str(after)[:200]}")

    def compare(self, what, before, after):
        """Prints the first difference in each branch of two values."""
        if isinstance(before, dict) and isinstance(after, dict):
            for key in before:
                if key in after:
                    self.compare(f"{what} {key}", before[key], after[key])
                else:
                    self.differs(f"{what} {key}", before[key], "missing")
            for key in after.keys() - before.keys():
                print(f"new: {what} {key} = {str(after[key])[:100]}")
            return
        if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
            for i, pair in enumerate(zip(before, after)):
                self.compare(f"{what}[{i}]", *pair)
            return
        self.compared += 1
        if before != after:
            self.differs(what, before, after)


def prepare(work, name):
    folder = work / name
    folder.mkdir(parents=True)
    (folder / "c.toml").write_text(CONFIG)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--work", type=Path, help="folder to make; kept")
    parser.add_argument("--strict-messages", action="store_true", help="another text of an error is a difference")
    options = parser.parse_args()
    for program in (options.before, options.after):
        if not os.access(program, os.X_OK):
            sys.exit(f"{program}: is no program")
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary) / "compare"
        report = Report()
        programs = {"before": options.before.resolve(), "after": options.after.resolve()}
        folders = {name: prepare(work, name) for name in programs}
        for folder in folders.values():  # both go on with what BEFORE began
            run(programs["before"], f"{TRAIN} --out runs/other --set train.steps=3", folder)
        for title, command in STEPS + [(f"'{wrong}'", wrong) for wrong in WRONG]:
            wrong = title.startswith("'")
            done = {n: run(p, command.format(other="runs/other"), folders[n]) for n, p in programs.items()}
            before, after = done["before"], done["after"]
            report.compare(f"{title}: exit status", before[0], after[0])
            if not wrong and before[0] != 0:
                report.differs(f"{title}: fails", before[2][-300:], after[2][-300:])
            if title not in TIMED:
                report.compare(f"{title}: stdout", result(before[1]), result(after[1]))
            before, after = (STAMP.sub("", text[2]) for text in (before, after))
            if wrong and before != after:
                print(f"message changed: {title}\n  {before.strip()}\n  {after.strip()}")
                report.different += options.strict_messages
        report.compare("file", *(files(folders[name]) for name in ("before", "after")))
    print(f"{report.compared} values and files compared, {report.different} differ")
    sys.exit(report.different > 0)


if __name__ == "__main__":
    main()
