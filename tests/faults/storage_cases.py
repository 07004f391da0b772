"""Faults of one process and of its disk."""

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

from harness import (FILES, SAVED_AND_STOPPED, Process, Watch, checkpoint_of, expect, manifest_text, read_manifest,
                     steps_of, verify)


def random_kills(bench, count):
    """SIGKILL at a random moment, most of them while steps and saves follow one another."""
    steps, keep = 30, 3
    reference = bench.reference(steps)
    draw = random.Random(1)
    killed = finished = published = rounds = 0
    watch = None
    while killed < count:
        if watch is None:
            rounds += 1
            watch = Watch(bench.new_run(f"killed-{rounds}"), reference, keep if rounds % 2 else None)
        settings = (f"train.keep_last={keep}",) if watch.keep else ()
        process = bench.start(watch.run, steps, *settings)
        if draw.random() < 0.85:
            process.wait_for("network:")
        time.sleep(draw.uniform(0.0, 1.2))
        process.send(signal.SIGKILL)
        status = process.wait()
        expect(status in (0, -signal.SIGKILL), f"ended with {status}: {process.err[-500:]}")
        killed += status != 0
        if status != 0:
            watch.look(process.err)
            continue
        watch.look(process.err)
        expect(max(watch.seen) == steps, "finished without its last checkpoint")
        finished, published, watch = finished + 1, published + watch.published, None
    if watch:
        settings = (f"train.keep_last={keep}",) if watch.keep else ()
        watch.look(bench.finish(watch.run, steps, *settings))
        finished, published = finished + 1, published + watch.published
    return (f"{killed} kills: 0 published checkpoints lost, 0 of {published} seen invalid; {finished} of {finished} "
            f"runs, and every checkpoint seen, bit-equal to the uninterrupted run")


def recorded_calls(bench):
    """What the second save of a run with keep_last = 1 calls: (call, path, result)."""
    log = bench.folder / "calls"
    if not log.exists():
        process = bench.start(bench.new_run("recorded"), 2, "train.keep_last=1", log=log)
        expect(process.wait() == 0, process.err[-500:])
    calls = [line.split(" ") for line in log.read_text().splitlines()]
    return [(call, os.path.relpath(path, bench.folder) if path.startswith("/") else path, result)
            for save, call, path, result in calls if save == "2"]


def order_of_calls(bench, _):
    """A power failure cannot be had here; that what survives one is ordered as it must be can be seen."""
    calls = recorded_calls(bench)
    expect(all(result == "ok" or len(set(result.split("/"))) == 1 for _, _, result in calls), "a call failed")
    draft = next(path for call, path, _ in calls if call == "mkdir")
    folder = "recorded/checkpoints"
    expected = [("mkdir", draft)]
    for name in FILES:
        expected += [("open", f"{draft}/{name}"), ("write", f"{draft}/{name}"), ("fsync", f"{draft}/{name}"),
                     ("close", f"{draft}/{name}")]
    doomed = draft.replace(".tmp-step-000000002", ".del-step-000000001")
    expected += [("opendir", draft), ("fsyncdir", draft), ("rename", f"{folder}/step-000000002"),
                 ("opendir", folder), ("fsyncdir", folder),  # published
                 ("rename", doomed), ("opendir", folder), ("fsyncdir", folder)]
    seen = []
    for call, path, _ in calls:
        if not (call == "write" and seen and seen[-1] == ("write", path)):  # many writes of a file: one
            seen.append((call, path))
    removals = seen[len(expected):]
    expect(seen[:len(expected)] == expected, f"another order: {seen}")
    expect(removals[-1] == ("rmdir", doomed) and all(call == "unlink" for call, _ in removals[:-1]) and
           len(removals) == len(FILES) + 1, f"other removals: {removals}")
    return (f"{len(calls)} calls of a save: each of {len(FILES)} files written, synced and closed, MANIFEST last; then "
            "its folder synced, renamed, checkpoints/ synced; only then the old one renamed, checkpoints/ synced, deleted")


def chosen_boundaries(calls, thorough):
    """Places in `calls`, from 1. Thorough: all but the inner writes of a file; else one of each kind and place."""
    chosen = []
    for i, (call, path, _) in enumerate(calls):
        inner = call == "write" and 0 < i < len(calls) - 1 and calls[i - 1][:2] == calls[i + 1][:2] == (call, path)
        name = path.rsplit("/", 1)[1]
        plain = name in FILES and name not in ("optimizer.safetensors", "MANIFEST")
        if not inner and (thorough or not plain):
            chosen.append(i + 1)
        elif inner and thorough and i % 97 == 0:
            chosen.append(i + 1)
    return chosen


def kill_at_every_call(bench, count):
    """count: how many boundaries; 0: all. Each life saves once, replaces the checkpoint before, and is killed at it."""
    calls = recorded_calls(bench)
    boundaries = [(nth, kind) for nth in chosen_boundaries(calls, count == 0) for kind in ("kill", "killed")]
    if count:
        boundaries = random.Random(2).sample(boundaries, count)
    steps = 30
    reference = bench.reference(steps)
    lives = rounds = 0
    watch = None
    for nth, kind in boundaries:
        if watch is None or max(watch.seen, default=0) >= steps - 1:
            rounds += 1
            watch = Watch(bench.new_run(f"boundary-{rounds}"), reference, keep=1)
            watch.look(bench.finish(watch.run, 1, "train.keep_last=1"))
        process = bench.start(watch.run, steps, "train.keep_last=1", plan=f"1:*:*:{nth}:{kind}")
        status = process.wait()
        expect(status == -signal.SIGKILL, f"call {nth}: not killed but {status}: {process.err[-500:]}")
        watch.look(process.err)
        lives += 1
    watch.look(bench.finish(watch.run, steps, "train.keep_last=1"))
    leftovers = [name for name in os.listdir(watch.run / "checkpoints") if name.startswith(".")]
    expect(not leftovers, f"leftovers stay: {leftovers}")
    return f"{lives} kills before or after {len({nth for nth, _ in boundaries})} of {len(calls)} calls: 0 lost, 0 invalid"


def error_plan(thorough):
    """Faults of every second save: (call, name, kind, does the save fail)."""
    kinds = [errno.ENOSPC, errno.EIO, errno.EDQUOT]
    plan = []
    for i, name in enumerate(FILES):
        for j, call in enumerate(("open", "write", "fsync", "close")):
            for kind in kinds if thorough else kinds[(i + j) % 3:][:1]:
                plan.append((call, name, str(kind), True))
        plan += [("write", name, "short", False), ("write", name, "full", True)]
    for call, name in (("mkdir", ".tmp-step*"), ("fsyncdir", ".tmp-step*"), ("rename", "step-*"),
                       ("fsyncdir", "checkpoints")):
        plan += [(call, name, str(kind), True) for kind in (kinds if thorough else kinds[:1])]
    plan += [("rename", ".del-step*", str(errno.EIO), False), ("unlink", "model.toml", str(errno.EIO), False),
             ("rmdir", ".del-step*", str(errno.EIO), False)]
    return plan


def errors_of_the_disk(bench, thorough):
    """A fault in every second save of one run; it must go on, say so, and keep every other checkpoint."""
    plan = error_plan(thorough)
    steps = 2 * len(plan) + 1
    reference = bench.reference(steps)
    faults = ";".join(f"{2 * i + 2}:{call}:{name}:1:{kind}" for i, (call, name, kind, _) in enumerate(plan))
    run = bench.new_run("errors")
    keep = 20
    watch = Watch(run, reference, keep)
    process = bench.start(run, steps, f"train.keep_last={keep}", plan=faults, log=bench.folder / "error-calls")
    status = process.wait(1200)
    expect(status == 0, f"a run with failing saves ended with {status}: {process.err[-500:]}")
    text = process.err
    watch.look(text)
    failed = {int(step) for step in re.findall(r"step (\d+): the checkpoint could not be saved: .*cannot ", text)}
    must_fail = {2 * i + 2 for i, entry in enumerate(plan) if entry[3]}
    expect(failed == must_fail, f"other saves failed than should: {sorted(failed ^ must_fail)}")
    happened = {int(line.split()[0]) for line in (bench.folder / "error-calls").read_text().splitlines()
                if re.search(r" (5|28|122)$", line) or len(set(line.rsplit(" ", 1)[1].split("/"))) == 2}
    missing = [plan[i] for i in range(len(plan)) if 2 * i + 2 not in happened]
    expect(not missing, f"these faults did not happen: {missing}")
    whole = set(range(1, steps + 1)) - failed
    watch.look(bench.finish(run, steps))
    return (f"{len(plan)} faults (ENOSPC, EIO, EDQUOT, short writes; every file, folder and call), each in a save of its "
            f"own: {len(failed)} saves failed, each with a message and at no cost to the run; the "
            f"other {len(whole)} succeeded, the newest {keep} are there; bit-equal to the uninterrupted run")


def full_disk(bench, _):
    """A small disk that another fills to its last byte while the run writes checkpoints, metrics and pictures."""
    if os.geteuid() != 0:
        return "skipped: only root can mount a small disk"
    steps = 60
    reference = bench.reference(steps)
    disk = bench.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=True)
    try:
        run = disk / "run"
        process = bench.start(run, steps, "train.keep_last=3", "train.log_every=1", "train.sample_every=5",
                              "train.sample_count=4", "train.sample_steps=5", every=10)
        expect(process.wait_for("step 10: saved"), process.err[-500:])
        with open(disk / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(512))
            except OSError:
                pass
        failed = process.wait_for("could not be saved")
        (disk / "filler").unlink()
        status = process.wait()
        expect(failed and status == 0, f"ended with {status}: {process.err[-700:]}")
        warned = process.err.count("(training continues without it)")
        expect(warned > 0, "nothing is said of the metrics")
        steps_left = Watch(run, reference, keep=3).look(process.err)
        expect(steps_left[-1] == steps, f"there are {steps_left}")
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        expect(lines[-1]["step"] == steps, "metrics.jsonl ends early")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
    failures = process.err.count("could not be saved")
    return (f"the run went on, with {warned} warnings for lines and pictures and {failures} failed save(s); its end is "
            "bit-equal")


def three_failures_in_a_row(bench, _):
    reference = bench.reference(30)
    for kind in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
        run = bench.new_run(f"row-{kind}")
        watch = Watch(run, reference)
        plan = ";".join(f"{save}:write:ema.safetensors:1:{kind}" for save in (2, 3, *range(5, 30)))
        process = bench.start(run, 30, plan=plan)
        status = process.wait()
        # On a busy machine the next save in the background may fail before the third is looked at.
        told = re.search(r"\b[34] saves in a row failed", process.err)
        expect(status == 1 and told, f"status {status}: {process.err[-500:]}")
        expect(watch.look(process.err) == [1, 4], f"published: {steps_of(run)}")
        watch.look(bench.finish(run, 30))
        run = bench.new_run(f"last-{kind}")
        process = bench.start(run, 30, every=29, plan=f"2:fsync:state.json:1:{kind}")
        expect(process.wait() == 1 and "its last checkpoint could not be saved" in process.err, process.err[-500:])
    return "two failures are survived; the third in a row, or that of the last save, ends the run with status 1"


def damaged_copies(checkpoint, folder, name, count, damage, draw):
    """`count` copies of a checkpoint as of the steps that follow, whose file `name` is damaged."""
    step, files = read_manifest(checkpoint)
    for i in range(count):
        copy = folder / f"step-{step + 1 + i:09}"
        copy.mkdir(parents=True)
        for other in FILES[:-1]:
            os.link(checkpoint / other, copy / other)
        (copy / "MANIFEST").write_text(manifest_text(step + 1 + i, files))
        data = bytearray((copy / name).read_bytes())
        if damage == "truncation":
            data = data[:draw.randrange(len(data))]
        else:
            bit = draw.randrange(8 * len(data))
            data[bit // 8] ^= 1 << (bit % 8)
        (copy / name).unlink()
        (copy / name).write_bytes(data)


def damage(bench, count):
    """A run whose newest `count` checkpoints are damaged: a resume must see each, and take the intact one before."""
    bench.reference(30)
    whole = next(bench.folder.glob("whole-1-*"))
    source = checkpoint_of(whole, 20)
    _, files = read_manifest(source)
    draw = random.Random(3)
    found = {"truncation": 0, "bit flip": 0}
    for name in FILES:
        for kind in found:
            run = bench.new_run(f"damaged-{name}-{kind.split()[0]}")
            folder = run / "checkpoints"
            shutil.copytree(source, folder / source.name)
            damaged_copies(folder / source.name, folder, name, count, kind, draw)
            text = bench.finish(run, 20)
            seen = {int(step) for step, problem in re.findall(r"step-(\d+) is damaged \((.*)\); using", text)
                    if name in problem}
            expect(seen == set(range(21, 21 + count)), f"{name}: {count - len(seen)} of {count} {kind}s not seen")
            expect(f"resumed from {run.name}/checkpoints/{source.name}" in text, f"no fall-back: {text[-500:]}")
            found[kind] += len(seen)
            shutil.rmtree(run)
    # That copies with a MANIFEST of their own are intact where nothing is damaged, and a named one is an error.
    control = bench.new_run("control") / "checkpoints"
    damaged_copies(source, control, "MANIFEST", 1, "truncation", draw)
    info = [bench.program, "info", control / "step-000000021"]
    expect(Process(info, bench.folder).wait() == 1, "`ddpm info` takes a damaged checkpoint")
    (control / "step-000000021/MANIFEST").write_text(manifest_text(21, files))
    verify(control / "step-000000021")
    expect(Process(info, bench.folder).wait() == 0, "`ddpm info` refuses an intact copy")
    total = count * len(FILES)
    return (f"{count} truncations and {count} bit flips of each of {len(FILES)} files: {found['truncation']} and "
            f"{found['bit flip']} of {total} named by a resume, which took the intact one before")


def stop_signals(bench, count):
    """SIGTERM at a random moment from the start on, sampling and held-out evaluation among the steps."""
    steps = 30
    settings = ("train.sample_every=3", "train.sample_count=8", "train.sample_steps=20", "train.holdout_every=2")
    reference = bench.reference(steps)
    draw = random.Random(4)
    saved = before_start = before_step = in_sampling = in_holdout = rounds = 0
    slowest, watch = 0.0, None
    while saved < count:
        if watch is None:
            rounds += 1
            watch = Watch(bench.new_run(f"stopped-{rounds}"), reference)
        had = len(steps_of(watch.run))
        process = bench.start(watch.run, steps, *settings, every=1000)
        if draw.random() < 0.9:
            process.wait_for("network:")
        time.sleep(draw.uniform(0.0, 1.5))
        begin = time.monotonic()
        process.send(signal.SIGTERM)
        status = process.wait()
        text, now = process.err, watch.look(process.err)
        # It had ended, or had nothing left to do but to end.
        if status == 0 or (status == -signal.SIGTERM and f"finished {steps} steps" in text):
            watch = None
            continue
        if status == -signal.SIGTERM:
            expect(len(now) == had, "saved, but killed")
            before_start += 1
            continue
        expect(status == SAVED_AND_STOPPED, f"ended with {status}: {text[-500:]}")
        if "before a step was taken" in text:
            expect(len(now) == had, "saved before a step")
            before_step += 1
            continue
        step = int(re.search(r"stopped by SIGTERM and saved at step (\d+)", text).group(1))
        expect(now[-1] == step and len(now) == had + 1, f"stopped at step {step}, but there are {now}")
        slowest = max(slowest, time.monotonic() - begin)
        saved += 1
        in_sampling += step % 3 == 0 and len(list((watch.run / "samples").glob(f"step-{step:09}-*"))) < 3
        in_holdout += step % 2 == 0 and f"step {step}: held-out" not in text
    if watch:
        watch.look(bench.finish(watch.run, steps, *settings, every=1000))
    return (f"{saved} of {saved} saved at a step boundary with status {SAVED_AND_STOPPED}, at most {slowest:.1f} s after "
            f"the signal ({in_sampling} of them broke off sampling, {in_holdout} the held-out loss); apart from these, "
            f"{before_step} came before a step and {before_start} before the program listened: nothing to save, nothing "
            "lost")


def second_process(bench, _):
    run = bench.new_run("twice")
    first = bench.start(run, 100000, every=100000)
    expect(first.wait_for("network:"), first.err[-500:])
    second = bench.start(run, 100000)
    status = second.wait()
    refused = status == 1 and f"is in use by process {first.child.pid} on " in second.err
    first.send(signal.SIGTERM)
    expect(refused, f"the second ended with {status}: {second.err[-500:]}")
    expect(first.wait() == SAVED_AND_STOPPED, "the first was disturbed")
    expect(len(steps_of(run)) == 1, "not one checkpoint")
    return "the second is refused and told who holds the run; the first goes on"
