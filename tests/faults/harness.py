"""What the fault-injection cases share: the program as a process, runs and their checkpoints read without it."""

import hashlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time

PATIENCE_S = 240  # for what takes a second on an idle machine
SAVED_AND_STOPPED = 75
TENSOR_FILES = ("model.safetensors", "ema.safetensors", "ema-2.safetensors", "optimizer.safetensors")
FILES = TENSOR_FILES + ("model.toml", "config.toml", "state.json", "MANIFEST")
# A network that trains a step in milliseconds, with what a resume could forget. The learning rate does not depend on
# train.steps, so that one uninterrupted run is the reference of shorter ones too.
CONFIG = """[data]
kind = "procedural"
size = 50
image_size = 8
channels = 1
flip = true
holdout = 5
[model]
channels = 4
channel_multipliers = [1, 1]
blocks = 1
attention_resolutions = [4]
groups = 4
dropout = 0.1
[diffusion]
timesteps = 20
[train]
batch_size = 8
accumulate = 2
log_every = 3
holdout_every = 7
keep_last = 100000
[optimizer]
lr = 1e-3
warmup_steps = 5
[ema]
decay = [0.99, 0.9]
[sample]
num = 4
batch = 3
"""


class Failure(Exception):
    """The program broke a promise."""


def expect(holds, what):
    if not holds:
        raise Failure(what)


# ---- The checkpoint's format, read by other code than the program's (docs/checkpoints.md)


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C (RFC 3720)


def manifest_text(step, files):
    """files: (name, size, crc) of each."""
    lines = f"ddpm-checkpoint 1\nstep {step}\n" + "".join(f"file {size} {crc:08x} {name}\n" for name, size, crc in files)
    return lines + f"crc32c {crc32c(lines.encode()):08x}\n"


def read_manifest(checkpoint):
    """Step and (name, size, crc) of each file. Raises Failure where it is damaged."""
    text = (checkpoint / "MANIFEST").read_text()
    files = [(name, int(size), int(crc, 16))
             for size, crc, name in re.findall(r"^file (\d+) ([0-9a-f]{8}) (.+)$", text, re.M)]
    step = int(re.search(r"^step (\d+)$", text, re.M).group(1))
    expect(text == manifest_text(step, files), f"{checkpoint}: MANIFEST is damaged")
    return step, files


def verify(checkpoint):
    expect((checkpoint / "MANIFEST").exists(), f"{checkpoint}: published without a MANIFEST")
    step, files = read_manifest(checkpoint)
    expect(checkpoint.name == f"step-{step:09}", f"{checkpoint}: is that of step {step}")
    for name, size, crc in files:
        data = (checkpoint / name).read_bytes()
        expect(len(data) == size and crc32c(data) == crc, f"{checkpoint}: {name} is damaged")
    expect(sorted(os.listdir(checkpoint)) == sorted(FILES), f"{checkpoint}: not the files of a checkpoint")


def fingerprint(checkpoint):
    digest = hashlib.sha256()
    for name in TENSOR_FILES:
        digest.update((checkpoint / name).read_bytes())
    return digest.hexdigest()


def float64_tensors(path):
    """The tensors of a safetensors file of float64, by name, as tuples of numbers."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F64":
            continue
        begin, end = entry["data_offsets"]
        tensors[name] = struct.unpack(f"<{(end - begin) // 8}d", data[8 + length + begin:8 + length + end])
    return tensors


def steps_of(run):
    """Published steps, oldest first."""
    folder = run / "checkpoints"
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(name[5:]) for name in names if re.fullmatch(r"step-\d{9,}", name))


def checkpoint_of(run, step):
    return run / "checkpoints" / f"step-{step:09}"


# ---- Processes


class Process:
    """`ddpm`, or another program, as a process of its own, on one CPU thread."""

    count = 0

    def __init__(self, words, folder, environment=None):
        Process.count += 1
        self.path = folder / f"err-{Process.count}"
        with open(self.path, "wb") as err:
            self.child = subprocess.Popen([str(word) for word in words], cwd=folder, stdout=subprocess.DEVNULL,
                                          stderr=err, start_new_session=True,
                                          env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})})

    @property
    def err(self):
        return self.path.read_text(errors="replace")

    def wait_for(self, text):
        """Until it has written `text`; False where it ended without."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            ended = self.child.poll() is not None
            if text in self.err:
                return True
            if ended:
                return False
            time.sleep(0.01)
        raise Failure(f"'{text}' did not come in {PATIENCE_S} s: {self.err[-500:]}")

    def send(self, number):
        if self.child.poll() is None:
            self.child.send_signal(number)

    def wait(self, seconds=PATIENCE_S):
        """Its exit status, or minus the signal that ended it."""
        try:
            status = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise Failure(f"still runs after {seconds} s: {self.err[-500:]}") from None
        return status

    def end(self):
        """With all that it started."""
        try:
            os.killpg(self.child.pid, signal.SIGCONT)
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Bench:
    """The program, a working folder, the uninterrupted runs to compare with."""

    def __init__(self, program, shim, folder):
        self.program, self.shim, self.folder = program, shim, folder
        self.references = {}  # of so many ranks: step -> fingerprint
        (folder / "tiny.toml").write_text(CONFIG)

    def words(self, run, steps, *settings, every=1):
        settings = (f"train.steps={steps}", f"train.checkpoint_every={every}") + settings
        words = [self.program, "train", "--config", "tiny.toml", "--out", os.path.relpath(run, self.folder)]
        for setting in settings:
            words += ["--set", setting]
        return words

    def start(self, run, steps, *settings, every=1, plan=None, log=None):
        environment = {}
        if plan or log:
            environment = {"LD_PRELOAD": str(self.shim), "FAULT_PLAN": plan or ""}
        if log:
            environment["FAULT_LOG"] = str(log)
        return Process(self.words(run, steps, *settings, every=every), self.folder, environment)

    def start_ranks(self, ranks, run, steps, *settings, every=1, plan=None):
        port = free_port()
        faults = {"LD_PRELOAD": str(self.shim), "FAULT_PLAN": plan} if plan else {}
        return [Process(self.words(run, steps, *settings, every=every), self.folder, {
            "RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **faults}) for rank in range(ranks)]

    def finish(self, run, steps, *settings, ranks=1, every=1):
        """Runs to the end, which must be reached."""
        processes = ([self.start(run, steps, *settings, every=every)] if ranks == 1 else
                     self.start_ranks(ranks, run, steps, *settings, every=every))
        for process in processes:
            status = process.wait()
            expect(status == 0, f"ended with {status}: {process.err[-500:]}")
        return processes[0].err

    def new_run(self, name):
        run = self.folder / name
        expect(not run.exists(), f"{run} is used twice")
        return run

    def reference(self, steps, ranks=1):
        """step -> fingerprint of an uninterrupted run of `ranks` processes."""
        known = self.references.get(ranks, {})
        if steps not in known:
            run = self.folder / f"whole-{ranks}-{steps}"
            self.finish(run, steps, ranks=ranks)
            known = {step: fingerprint(checkpoint_of(run, step)) for step in steps_of(run)}
            expect(sorted(known) == list(range(1, steps + 1)), "the reference lacks steps")
            self.references[ranks] = known
        return known


class Watch:
    """Looks at a run between the lives of its processes: what is published stays, is intact, and is bit for bit that
    of the uninterrupted run."""

    def __init__(self, run, reference, keep=None):
        self.run, self.reference, self.keep = run, reference, keep
        self.seen = {}  # step -> fingerprint
        self.published = 0

    def look(self, messages=""):
        steps = steps_of(self.run)
        acknowledged = {int(step) for step in re.findall(r"step (\d+): saved", messages)}
        known = sorted(acknowledged | set(self.seen))
        must = known if self.keep is None else known[-self.keep:]
        lost = sorted(set(must) - set(steps))
        if self.keep is not None:  # what was published but not reported as such counts among those to keep
            lost = lost[len(set(steps) - set(known)):]
        expect(not lost, f"{self.run}: published and lost: {lost} (there are {steps})")
        for step in steps:
            checkpoint = checkpoint_of(self.run, step)
            if step not in self.seen:
                verify(checkpoint)
                self.published += 1
            now = fingerprint(checkpoint)
            expect(self.seen.get(step, now) == now, f"{checkpoint}: has changed")
            expect(now == self.reference[step], f"{checkpoint}: differs from the uninterrupted run")
            self.seen[step] = now
        return steps
