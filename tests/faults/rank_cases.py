"""Faults of one of several processes."""

import os
import pathlib
import random
import re
import signal
import time

from harness import Failure, Process, Watch, checkpoint_of, expect, float64_tensors, steps_of

TIMEOUT_S = 8  # run.peer_timeout


def hit_one_rank(bench, ranks, target, number, reference, steps, moment):
    """Kills or stops a rank once step `moment` is saved; the others must end with an error, and a resume must reach
    the same end. Returns how long the others took."""
    name = signal.Signals(number).name
    run = bench.new_run(f"{name}-{target}-of-{ranks}")
    watch = Watch(run, reference)
    processes = bench.start_ranks(ranks, run, steps, f"run.peer_timeout={TIMEOUT_S}")
    expect(processes[0].wait_for(f"step {moment}: saved"), processes[0].err[-500:])
    processes[target].send(number)
    begin = time.monotonic()
    try:
        for rank, process in enumerate(processes):
            if rank == target:
                continue
            status = process.wait(TIMEOUT_S + 60)
            expect(status == 1, f"rank {rank} ended with {status}: {process.err[-500:]}")
            expect(f"rank {rank} of {ranks} waited up to {TIMEOUT_S} s for the other ranks" in process.err,
                   f"rank {rank} does not say why: {process.err[-500:]}")
        took = time.monotonic() - begin
    finally:
        for process in processes:
            process.end()
    watch.look(processes[0].err)
    text = bench.finish(run, steps, ranks=ranks)
    expect(re.search(r"resumed from \S+ \(step (\d+),", text) is not None, "began at step 0 again")
    watch.look(text)
    expect(max(watch.seen) == steps, "did not reach the end")
    return took


def lost_and_hung_ranks(bench, thorough):
    steps = 20
    draw = random.Random(5)
    times = {signal.SIGKILL: [], signal.SIGSTOP: []}
    targets = [(ranks, target) for ranks in (2, 4) for target in range(ranks)] if thorough else [(2, 1), (2, 0)]
    for i, (ranks, target) in enumerate(targets):
        reference = bench.reference(steps, ranks)
        for number in times if thorough else [list(times)[i % 2]]:
            times[number].append(hit_one_rank(bench, ranks, target, number, reference, steps, draw.randint(2, 12)))
    killed, stopped = times.values()
    return (f"{len(killed)} ranks killed: the others ended with an error after at most {max(killed):.1f} s; "
            f"{len(stopped)} ranks stopped: after at most {max(stopped):.1f} s (run.peer_timeout = {TIMEOUT_S}); "
            f"{len(killed) + len(stopped)} of {len(killed) + len(stopped)} resumed to the same bits")


def failures_of_two_ranks(bench, _):
    """Failures that do not follow one another must not add up, on any rank."""
    steps = 12
    run = bench.new_run("two-failing")
    reference = bench.reference(20, ranks=2)
    watch = Watch(run, reference)
    plan = ";".join(f"{save}:write:model.safetensors:1:28" for save in (2, 4, 5, 7, 9))
    processes = bench.start_ranks(2, run, steps, plan=plan)
    for process in processes:
        status = process.wait()
        expect(status == 0, f"failures that do not follow one another ended it with {status}: {process.err[-500:]}")
    expect(watch.look(processes[0].err) == [1, 3, 6, 8, 10, 11, 12], f"published: {steps_of(run)}")
    return "5 failed saves, never 3 in a row, of a run of 2 processes: it went on"


def torchrun():
    cache = os.environ.get("DDPM_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ddpm")
    path = pathlib.Path(cache) / "torch-2.11.0/bin/torchrun"
    return path if path.exists() else None


def start_torchrun(bench, ranks, run, steps, *settings, restarts=3, environment=None):
    words = [torchrun(), "--no-python", "--nnodes=1", f"--nproc-per-node={ranks}", "--rdzv-backend=c10d",
             "--rdzv-endpoint=localhost:0", "--local-addr=127.0.0.1", f"--max-restarts={restarts}"]
    return Process(words + bench.words(run, steps, *settings), bench.folder, environment)


def worker(launcher, rank):
    """The process id of a rank that torchrun started."""
    for entry in pathlib.Path("/proc").iterdir():
        try:
            parent = int(re.search(r"^PPid:\s+(\d+)", (entry / "status").read_text(), re.M).group(1))
            if parent == launcher.child.pid and f"RANK={rank}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                return int(entry.name)
        except (OSError, AttributeError, ValueError):
            continue
    raise Failure(f"rank {rank} is not to be found")


def restarts_by_torchrun(bench, count):
    """A rank is killed; torchrun begins all anew, and they go on from the newest checkpoint. Half of the runs with the
    agent's store, half without."""
    if torchrun() is None:
        return "skipped: no torchrun below DDPM_CACHE or ~/.cache/ddpm"
    steps, draw = 20, random.Random(6)
    agent = {"True": 0, "False": 0}
    for i in range(count):
        ranks = 4 if i % 5 == 4 else 2
        reference = bench.reference(steps, ranks)
        run = bench.new_run(f"elastic-{i}")
        watch = Watch(run, reference)
        environment = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"} if i % 2 else {}
        launcher = start_torchrun(bench, ranks, run, steps, environment=environment)
        try:
            moment = draw.randint(1, 12)
            expect(launcher.wait_for(f"step {moment}: saved"), launcher.err[-1000:])
            pid = worker(launcher, draw.randrange(ranks))
            store = re.search(rb"TORCHELASTIC_USE_AGENT_STORE=(\w+)", pathlib.Path(f"/proc/{pid}/environ").read_bytes())
            agent[store.group(1).decode()] += 1
            os.kill(pid, signal.SIGKILL)
            status = launcher.wait()
        finally:
            launcher.end()
        text = launcher.err
        expect(status == 0, f"torchrun ended with {status}: {text[-1500:]}")
        watch.look(text)
        expect(text.count("starting at step 0") == 1, "began at step 0 again")
        resumed = [int(step) for step in re.findall(r"resumed from \S+ \(step (\d+),", text)]
        expect(len(resumed) == 1 and resumed[0] >= moment, f"saved step {moment}, but went on from {resumed}")
        expect(max(watch.seen) == steps, "did not reach the end")
    return (f"{count} of {count} went on from the newest checkpoint, none from step 0, to the same bits "
            f"({agent['True']} with the agent's store, {agent['False']} without)")


def changed_ranks_by_torchrun(bench, _):
    """The launcher and all it started are lost; another number of ranks goes on. float64, where the order of the sums
    shows at 1e-16, and no dropout, which draws by rank."""
    if torchrun() is None:
        return "skipped: no torchrun below DDPM_CACHE or ~/.cache/ddpm"
    steps, settings = 16, ("model.dropout=0", "train.precision=fp64")
    whole, run = bench.new_run("fp64-whole"), bench.new_run("fp64-changed")
    bench.finish(whole, steps, *settings)
    for ranks, moment in ((2, 4), (4, 9)):
        launcher = start_torchrun(bench, ranks, run, steps, *settings)
        found = launcher.wait_for(f"step {moment}: saved")
        launcher.end()
        for pid in [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit()]:
            try:
                if f"--out\0{run.name}\0".encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)  # torchrun gives each rank a session of its own
            except OSError:
                continue
        expect(found, launcher.err[-1000:])
    launcher = start_torchrun(bench, 2, run, steps, *settings)
    status = launcher.wait()
    launcher.end()
    resumed = re.search(r"resumed from \S+ \(step (\d+),", launcher.err)
    expect(status == 0 and resumed and int(resumed.group(1)) >= 9, f"ended with {status}: {launcher.err[-1500:]}")
    largest = 0.0
    for name in ("model.safetensors", "ema.safetensors"):
        one, other = (float64_tensors(checkpoint_of(folder, steps) / name) for folder in (whole, run))
        expect(sorted(one) == sorted(other) and one, "other tensors")
        for key, values in one.items():
            pairs = list(zip(values, other[key]))
            scale = max(max(abs(x), abs(y)) for x, y in pairs)
            if scale > 1e-9:  # else rounding errors alone: a bias that a norm takes away again has gradient 0
                largest = max(largest, max(abs(x - y) for x, y in pairs) / scale)
    expect(largest < 1e-10, f"weights differ by {largest:.2g}")
    return f"2, then 4, then 2 processes, each set killed with its launcher: weights agree with 1 process to {largest:.1g}"
