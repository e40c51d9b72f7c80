#!/usr/bin/python3
"""What load-levelling costs a program that is started: posix_spawn of /bin/true and the wait for its end, in turn by somebody
who is not enabled, by somebody who is, and of a program that is on the list. Beside it, for comparison, what it would
cost if each had a library put before it (LD_PRELOAD), of one page, that does nothing: ssid has none.

usage: bench_exec.py [--rounds N]        SSID_LAB: name of the lab (default: bench)"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import observe  # noqa: E402
from lab import Lab  # noqa: E402

LISTED, LIBRARY = "/root/listed", "/root/nothing.so"
KINDS = ("not enabled", "enabled", "on the list", "with a library")
STOPWATCH = f"""
import ctypes, json, os, statistics, sys, time
kernel = ctypes.CDLL(None)
SLACK, PLAIN, MARKED = 29, 50000, 50417  # prctl(PR_SET_TIMERSLACK); loadlevel/tracker/inherited_mark.h
KINDS = [(PLAIN, "/bin/true", {{}}), (MARKED, "/bin/true", {{}}), (PLAIN, "{LISTED}", {{}}), (PLAIN, "/bin/true", {{"LD_PRELOAD": "{LIBRARY}"}})]
times = [[] for _ in KINDS]
for _ in range(int(sys.argv[1])):
    for (slack, program, environment), taken in zip(KINDS, times):
        kernel.prctl(SLACK, slack)
        start = time.perf_counter()
        os.waitpid(os.posix_spawn(program, ["true"], environment), 0)
        taken.append(time.perf_counter() - start)
print(json.dumps([statistics.median(taken) * 1e6 for taken in times]))
"""


def make_library(lab):
    with tempfile.TemporaryDirectory() as directory:
        built = Path(directory) / "nothing.so"
        command = ["gcc", "-shared", "-nostdlib", "-O2", "-Wl,-z,noseparate-code", "-x", "c", "-", "-o", str(built)]
        subprocess.run(command, input="int ssi_nothing(void) { return 0; }", text=True, check=True)
        lab.path(1, LIBRARY).write_bytes(built.read_bytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3000)
    options = parser.parse_args()
    lab = Lab(1, name=os.environ.get("SSID_LAB", "bench"))
    lab.up()
    try:
        observe.wait_for_loads(lab)
        lab.run(1, ["cp", "/bin/true", LISTED])
        make_library(lab)
        lab.run(1, ["loadlevel", "add", LISTED])
        said = lab.run(1, ["python3", "-c", STOPWATCH, str(options.rounds)], timeout=600).stdout
    finally:
        lab.down()
    medians = json.loads(said)
    rows = [[kind, f"{us:.0f}", f"{100 * (us / medians[0] - 1):+.1f}%"] for kind, us in zip(KINDS, medians)]
    print(observe.table(["posix_spawn of /bin/true", "median us", "more"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
