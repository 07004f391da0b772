"""Ranks that are lost while the others go on (run.on_lost_rank = "shrink")."""

import json
import os
import random
import re
import signal
import time

from harness import (SAVED_AND_STOPPED, Failure, Process, checkpoint_of, expect, float64_tensors,
                     free_port, steps_of, verify)
from rank_cases import torchrun

STEPS = 120
LOG_EVERY, SAVE_EVERY, SAMPLE_EVERY = 5, 20, 30
# Images of a batch, by ranks at the start: what is left of them divides it unevenly too.
BATCH = {2: 20, 3: 21, 4: 20}
SETTINGS = ("model.dropout=0", "train.precision=fp64", "train.accumulate=1", f"train.log_every={LOG_EVERY}",
            f"train.sample_every={SAMPLE_EVERY}", "train.sample_count=2", "train.sample_steps=3", "train.loss_bins=2")
TOLERANCE = 1e-9  # 1e-16 a sum in float64, which Adam's divisions and the steps make larger; other noise: above 1e-4


# When ranks are killed: after a step divisible by the first number and up to so many seconds; with these settings.
MOMENTS = [(LOG_EVERY, 0.2, ()),  # at any time
           (SAMPLE_EVERY, 1.0, ("train.sample_count=40", "train.sample_steps=20")),  # while rank 0 samples
           (SAVE_EVERY, 0.1, ())]  # while rank 0 saves


def settings_of(ranks):
    return SETTINGS + (f"train.batch_size={BATCH[ranks]}",)


def reference_of(bench, ranks):
    """A run of a single process with the same batches."""
    run = bench.folder / f"unshrunk-{BATCH[ranks]}"
    if not run.exists():
        bench.finish(run, STEPS, *settings_of(ranks), every=SAVE_EVERY)
    return run


def largest_difference(one_file, other_file):
    largest = 0.0
    one, other = float64_tensors(one_file), float64_tensors(other_file)
    expect(sorted(one) == sorted(other) and one, f"{other_file}: other tensors")
    for key, values in one.items():
        if key.endswith("to_k.bias"):
            continue  # its gradient is 0: Adam makes whole steps of rounding errors alone
        pairs = list(zip(values, other[key]))
        scale = max(max(abs(x), abs(y)) for x, y in pairs)
        if scale > 1e-9:
            largest = max(largest, max(abs(x - y) for x, y in pairs) / max(scale, 1e-3))
    return largest


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def same_end(bench, run, ranks):
    """That the run ended where the unshrunk one did: weights, averages, losses, every line and picture once."""
    reference = reference_of(bench, ranks)
    largest = max(largest_difference(checkpoint_of(reference, STEPS) / name, checkpoint_of(run, STEPS) / name)
                  for name in ("model.safetensors", "ema.safetensors", "ema-2.safetensors", "optimizer.safetensors"))
    expect(largest < TOLERANCE, f"{run}: differs from the unshrunk run by {largest:.2g}")
    one, other = (lines_of(folder / "metrics.jsonl") for folder in (reference, run))
    expect([line["step"] for line in one] == [line["step"] for line in other],
           f"{run}: lines of metrics at {[line['step'] for line in other]}")
    for a, b in zip(one, other):
        for key in ("images", "loss", "grad_norm", "lr", "skipped", "holdout_loss", "holdout_loss_ema"):
            same = key not in a and key not in b or abs(a[key] - b[key]) <= 1e-8 * abs(a[key])
            expect(same, f"{run}: step {a['step']}: {key} is {b.get(key)}, unshrunk {a.get(key)}")
    for step in range(SAMPLE_EVERY, STEPS + 1, SAMPLE_EVERY):
        for weights in ("raw", "ema", "ema-2"):
            expect((run / "samples" / f"step-{step:09}-{weights}.png").exists(), f"{run}: no samples of step {step}")
    return largest


def check_folder(run):
    """Every published checkpoint is whole, and nothing of an interrupted save is left."""
    for step in steps_of(run):
        verify(checkpoint_of(run, step))
    left = [name for name in os.listdir(run / "checkpoints") if not name.startswith("step-")]
    expect(not left, f"{run}: left behind: {left}")


def check_events(run, ranks, lost, left):
    """The last event: who is lost, and how the batch is divided among those left."""
    events = lines_of(run / "events.jsonl")
    named = [who for event in events for who in event["lost"]]
    expect(sorted(int(who.split()[1]) for who in named) == sorted(lost), f"{run}: {named} are said to be lost, not {lost}")
    last = events[-1]
    expect(last["ranks"] == left == len(last["images"]), f"{run}: {last}")
    expect(sum(last["images"]) == BATCH[ranks], f"{run}: not the whole batch: {last}")
    expect(max(last["images"]) - min(last["images"]) <= 1, f"{run}: uneven: {last}")
    log = (run / "log.txt").read_text()
    for event in events:
        names = ", ".join(map(re.escape, event["lost"])) or "the connections broke, but nobody"
        said = rf"step {event['step']}: {names} (is|are) lost; the run goes on with {event['ranks']} ranks?, "
        expect(re.search(said, log), f"{run}: the log does not say {said}")
    return events


class Store:
    """A store that outlives the ranks, as torchrun's agent holds it."""

    count = 0

    def __init__(self, bench):
        python = torchrun().with_name("python")
        self.port = free_port()
        self.process = Process([python, "-c", "import sys, time, torch.distributed as d\n"
                                f"s = d.TCPStore('127.0.0.1', {self.port}, is_master=True, wait_for_workers=False)\n"
                                "print('ready', file=sys.stderr, flush=True)\ntime.sleep(1e6)"], bench.folder)
        expect(self.process.wait_for("ready"), self.process.err)

    def environment(self):
        Store.count += 1  # names of their own for each run
        return {"MASTER_PORT": str(self.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
                "TORCHELASTIC_RESTART_COUNT": str(Store.count)}


def start(bench, ranks, run, *settings, environment=None):
    port = free_port()
    words = bench.words(run, STEPS, *settings_of(ranks), "run.on_lost_rank=shrink", *settings, every=SAVE_EVERY)
    return [Process(words, bench.folder, {
        "RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **(environment or {})}) for rank in range(ranks)]


def wait_for_step(run, process, step):
    """Until metrics.jsonl has that step."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        try:
            if lines_of(run / "metrics.jsonl")[-1]["step"] >= step:
                return
        except (OSError, ValueError, IndexError):
            pass
        expect(process.child.poll() is None, f"ended early: {process.err[-500:]}")
        time.sleep(0.002)
    raise Failure(f"step {step} did not come: {process.err[-500:]}")


def kill(processes, targets, draw):
    """All at once, or at times that are also those at which the others agree on the former loss, or connect anew."""
    for target in targets:
        expect(processes[target].child.poll() is None, f"rank {target} ended too early: {processes[target].err[-500:]}")
        processes[target].send(signal.SIGKILL)
        time.sleep(draw.choice((0.0, 0.0, 0.3, 3.0, 5.0, 5.1, 5.2)))


def lose_some(bench, draw, index, store):
    """Kills one or more ranks at a random moment; the others must reach the end of the unshrunk run."""
    ranks = draw.choice((2, 3, 4))
    keeps_store = store is None  # rank 0 holds the store: it must live
    candidates = list(range(1 if keeps_store else 0, ranks))
    draw.shuffle(candidates)
    targets = candidates[:draw.randint(1, min(len(candidates), ranks - 1))]
    run = bench.new_run(f"shrunk-{index}")
    reference_of(bench, ranks)
    every, slow, settings = MOMENTS[index // 2 % 3]
    processes = start(bench, ranks, run, *settings, environment=None if keeps_store else store.environment())
    try:
        wait_for_step(run, processes[0], draw.randrange(every, STEPS - 40, every))
        time.sleep(draw.random() * slow)
        kill(processes, targets, draw)
        for rank, process in enumerate(processes):
            status = process.wait()
            expect(status == (-signal.SIGKILL if rank in targets else 0),
                   f"{run}: rank {rank} of {ranks} ended with {status} (killed: {targets}): {process.err[-800:]}")
    finally:
        for process in processes:
            process.end()
    check_folder(run)
    events = check_events(run, ranks, targets, ranks - len(targets))
    expect(events[-1]["written_by"] == min(set(range(ranks)) - set(targets)), f"{run}: {events[-1]}")
    for event in events:
        if any(who.startswith("rank 0 ") for who in event["lost"]):  # its last save may be lost with it
            saved = {event["step"], event["step"] + 1} & set(steps_of(run))
            expect(saved, f"{run}: the new rank 0 did not save at step {event['step']}")
    return same_end(bench, run, ranks), len(targets), 0 in targets


def random_losses(bench, count):
    draw = random.Random(7)
    store = Store(bench) if torchrun() is not None else None
    largest, killed, mains = 0.0, 0, 0
    try:
        for index in range(count):
            difference, targets, main = lose_some(bench, draw, index, store if index % 2 else None)
            largest, killed, mains = max(largest, difference), killed + targets, mains + main
    finally:
        if store is not None:
            store.process.end()
    return (f"{count} runs of 2 to 4 processes lost {killed} of them ({mains} times rank 0 too, with a store outside); "
            f"all went on and ended like the run of a single process, to {largest:.1g}; "
            "the same lines of metrics, pictures and whole checkpoints")


def loss_of_the_store(bench, count):
    """Rank 0 holds the store and is killed: the others save and stop; all ranks resume."""
    draw = random.Random(8)
    for index in range(count):
        ranks = draw.choice((2, 3, 4))
        run = bench.new_run(f"storeless-{index}")
        processes = start(bench, ranks, run)
        try:
            wait_for_step(run, processes[0], draw.randrange(LOG_EVERY, STEPS - 40, LOG_EVERY))
            time.sleep(draw.random() * 0.2)
            last = lines_of(run / "metrics.jsonl")[-1]["step"]
            processes[0].send(signal.SIGKILL)
            for rank, process in enumerate(processes[1:], 1):
                status = process.wait()
                expect(status == SAVED_AND_STOPPED, f"{run}: rank {rank} ended with {status}: {process.err[-800:]}")
                expect("rank 0, at which the ranks meet, is lost" in process.err, f"{run}: {process.err[-800:]}")
        finally:
            for process in processes:
                process.end()
        check_folder(run)
        expect(steps_of(run)[-1] >= last, f"{run}: step {last} is lost: {steps_of(run)}")
        finish_with_all(bench, run, ranks)
    return f"{count} times rank 0, which held the store: the others saved and ended with status 75; all resumed"


def finish_with_all(bench, run, ranks):
    text = bench.finish(run, STEPS, *settings_of(ranks), "run.on_lost_rank=shrink", ranks=ranks, every=SAVE_EVERY)
    expect(re.search(r"resumed from \S+ \(step (\d+),", text), f"{run}: began at step 0 again")
    check_folder(run)
    found = largest_difference(checkpoint_of(reference_of(bench, ranks), STEPS) / "model.safetensors",
                               checkpoint_of(run, STEPS) / "model.safetensors")
    expect(found < TOLERANCE, f"{run}: resumed, it differs from the unshrunk run by {found:.2g}")


def too_few_left(bench, _):
    """Fewer than run.min_ranks: saved, status 75; later all resume. And a hung rank is left behind."""
    run = bench.new_run("too-few")
    processes = start(bench, 3, run, "run.min_ranks=3")
    try:
        wait_for_step(run, processes[0], 15)
        processes[2].send(signal.SIGKILL)
        for process in processes[:2]:
            status = process.wait()
            expect(status == SAVED_AND_STOPPED, f"ended with {status}: {process.err[-800:]}")
        expect("2 ranks are left, fewer than run.min_ranks = 3; saved" in processes[0].err, processes[0].err[-800:])
    finally:
        for process in processes:
            process.end()
    check_folder(run)
    finish_with_all(bench, run, 3)

    run = bench.new_run("hung")
    processes = start(bench, 3, run, "run.peer_timeout=6")
    try:
        wait_for_step(run, processes[0], 15)
        processes[1].send(signal.SIGSTOP)
        wait_for_step(run, processes[0], 40)
        processes[1].send(signal.SIGCONT)
        expect([process.wait() for process in processes] == [0, 1, 0], "the hung rank was to end with 1, the others not")
        expect("go on without it" in processes[1].err, processes[1].err[-800:])
    finally:
        for process in processes:
            process.end()
    check_events(run, 3, [1], 2)
    largest = same_end(bench, run, 3)
    return ("with run.min_ranks = 3 the other two saved and ended with status 75, and all resumed; a stopped rank was "
            f"left behind after run.peer_timeout, and ended when it woke up; weights agree to {largest:.1g}")
