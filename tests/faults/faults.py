#!/usr/bin/env python3
"""Breaks training runs and looks whether they keep what docs/reliability.md promises.

usage: faults.py [--long] [--only CASE] [--folder FOLDER] DDPM_PROGRAM

Prints a table of results. Ends with status 1 where a promise was broken, 77 (skipped) without a C compiler.
The bounded mode takes a minute or two; --long, what docs/reliability.md reports, about half an hour.
"""

import argparse
import datetime
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import lost_rank_cases
import rank_cases
import storage_cases
from harness import Bench, Failure

SKIPPED = 77
# Name, what is done, its extent in the bounded and in the long mode.
CASES = [
    ("order", storage_cases.order_of_calls, 1, 1),
    ("lock", storage_cases.second_process, 1, 1),
    ("errors", storage_cases.errors_of_the_disk, False, True),
    ("full-disk", storage_cases.full_disk, 1, 1),
    ("row", storage_cases.three_failures_in_a_row, 1, 1),
    ("damage", storage_cases.damage, 20, 500),
    ("boundaries", storage_cases.kill_at_every_call, 8, 0),
    ("kills", storage_cases.random_kills, 8, 200),
    ("signals", storage_cases.stop_signals, 5, 50),
    ("two-ranks", rank_cases.failures_of_two_ranks, 1, 1),
    ("ranks", rank_cases.lost_and_hung_ranks, False, True),
    ("lost-ranks", lost_rank_cases.random_losses, 2, 60),
    ("lost-store", lost_rank_cases.loss_of_the_store, 1, 10),
    ("few-ranks", lost_rank_cases.too_few_left, 1, 1),
    ("torchrun", rank_cases.restarts_by_torchrun, 1, 20),
    ("changed-ranks", rank_cases.changed_ranks_by_torchrun, 1, 1),
]
ONLY_LONG = ("full-disk", "changed-ranks", "few-ranks")


def build_shim(folder):
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        print("skipped: no C compiler (cc, or CC in the environment)")
        sys.exit(SKIPPED)
    source = pathlib.Path(__file__).with_name("fault_shim.c")
    shim = folder / "fault_shim.so"
    subprocess.run([compiler, "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return shim


def run_case(bench, name, case, extent):
    begin = time.monotonic()
    try:
        result, ok = case(bench, extent), True
    except Failure as failure:
        result, ok = f"FAILED: {failure}", False
    print(f"| {name} | {result} | {time.monotonic() - begin:.0f} s |", flush=True)
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--long", action="store_true", help="the extent that docs/reliability.md reports")
    parser.add_argument("--only", action="append", choices=[case[0] for case in CASES], help="this case; may repeat")
    parser.add_argument("--folder", help="where to make the working folder, whose disk is tested (default: the system's)")
    arguments = parser.parse_args()

    folder = pathlib.Path(tempfile.mkdtemp(prefix="ddpm-faults-", dir=arguments.folder))
    bench = Bench(pathlib.Path(arguments.program).resolve(), build_shim(folder), folder)
    bench.reference(300 if arguments.long else 120)
    print(f"{datetime.datetime.now():%Y-%m-%d %H:%M}, {folder}", flush=True)
    print("| case | result | took |\n| --- | --- | --- |", flush=True)
    cases = [case for case in CASES if not arguments.only or case[0] in arguments.only]
    if not arguments.long and not arguments.only:
        cases = [case for case in cases if case[0] not in ONLY_LONG]
    ok = [run_case(bench, name, case, long if arguments.long else bounded) for name, case, bounded, long in cases]
    if all(ok):
        shutil.rmtree(folder)
        return 0
    print(f"{ok.count(False)} of {len(ok)} cases failed; what they left is in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
