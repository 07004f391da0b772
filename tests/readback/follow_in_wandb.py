#!/usr/bin/env python3
"""scripts/log_to_wandb.py with a stand-in for the package wandb: what it logs of a run, once and again.

usage: follow_in_wandb.py
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

SCRIPT = pathlib.Path(__file__).resolve().parent.parent.parent / "scripts" / "log_to_wandb.py"
STAND_IN = '''
import json, os
_path = os.environ["STAND_IN_LOG"]
_entries = []
class Image:
    def __init__(self, path): self.path = path
class _Run:
    step = int(os.environ["STAND_IN_STEP"])
def init(**settings):
    _entries.append({"init": settings})
    return _Run()
def log(row, step):
    _entries.append({"step": step, "row": {k: os.path.basename(v.path) if isinstance(v, Image) else v
                                           for k, v in row.items()}})
def finish():
    json.dump(_entries, open(_path, "w"))
'''


def expect(condition, what):
    if not condition:
        raise SystemExit(f"follow_in_wandb.py: {what}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "wandb.py").write_text(STAND_IN)
        run = folder / "mine"
        (run / "samples").mkdir(parents=True)

        def call(next_step, *flags, expected=0):
            log = folder / "log.json"
            environment = {**os.environ, "PYTHONPATH": str(folder), "STAND_IN_LOG": str(log),
                           "STAND_IN_STEP": str(next_step)}
            done = subprocess.run([sys.executable, SCRIPT, run, "--project", "p", *flags], env=environment,
                                  capture_output=True, text=True)
            expect(done.returncode == expected, f"status {done.returncode}: {done.stderr}")
            return done.stderr if expected else (json.loads(log.read_text()), done.stderr)

        expect("config.toml" in call(0, expected=1), "a folder without a config is named")
        (run / "config.toml").write_text("[train]\nsteps = 9\n")
        rows = ['{"step":3,"loss":0.5}', "{damaged", '{"step":6,"loss":0.25}', '{"step":9,"lo']
        (run / "metrics.jsonl").write_text("\n".join(rows))
        for name in ("step-000000006-ema.png", "step-000000006-raw.png", "else.png"):
            (run / "samples" / name).write_bytes(b"")
        entries, text = call(0, "--name", "n")
        first = entries[0]["init"]
        expect(first["project"] == "p" and first["name"] == "n" and first["resume"] == "allow", f"init: {first}")
        if sys.version_info >= (3, 11):
            expect(first["config"] == {"train": {"steps": 9}}, f"config: {first['config']}")
        expect(entries[1:] == [{"step": 3, "row": {"loss": 0.5}},
                               {"step": 6, "row": {"loss": 0.25, "samples/ema": "step-000000006-ema.png",
                                                   "samples/raw": "step-000000006-raw.png"}}], f"{entries[1:]}")
        expect("damaged line" in text, "a damaged line is named")

        (run / "metrics.jsonl").write_text("\n".join([rows[0], rows[2], '{"step":9,"loss":0.125}', ""]))
        again, _ = call(7)  # W&B has the steps up to 6
        expect(again[1:] == [{"step": 9, "row": {"loss": 0.125}}], f"again: {again[1:]}")
        expect(again[0]["init"]["id"] == first["id"], "the same folder is the same run in W&B")
    print("what a run has is logged once, in the order of steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
