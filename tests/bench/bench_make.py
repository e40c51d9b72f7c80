#!/usr/bin/python3
"""`make -j8` of a real C project on node 1: CRIU's own source, some 200 files, with code that is generated first. With the balancer off, so on
one node, with it on, over three nodes, and with it off again, for what the first build found cold: the faster one of the two counts. Prints how
long they take and the ratio, the load of the machine, what moved, and whether all objects and programs are the same. Exit status 1 if they are
not, or if a process of the build is left. Each node is half a CPU of this machine: three of them have room on two, and none is slower because
another works.

usage: bench_make.py        SSID_LAB: name of the lab (default: bench)"""

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import observe  # noqa: E402
from lab import Lab  # noqa: E402

PROJECT = "/root/project"
NODE = 0.5  # of a CPU
SOURCE = Path(__file__).resolve().parents[2] / ".ssid-dev" / "zdtm"  # fetched by ./dev
TARGET = ["env", "SOURCE_DATE_EPOCH=1", "make", "-j8", "criu"]  # it builds that date in


def unpack(root):
    """Anew for each build: no object of the one before is left."""
    tarballs = list(SOURCE.glob("criu_*.orig.tar.*"))
    if len(tarballs) != 1:
        raise SystemExit(f"bench_make.py: one source of criu is wanted below {SOURCE}: ./dev bench make")
    subprocess.run(["rm", "-rf", str(root)], check=True)
    root.mkdir(parents=True)
    subprocess.run(["tar", "-xf", str(tarballs[0]), "-C", str(root), "--strip-components=1"], check=True)


def build(lab, prefix):
    unpack(lab.path(1, PROJECT))
    start = time.monotonic()
    lab.run(1, [*prefix, *TARGET], cwd=PROJECT, timeout=1200)
    seconds = time.monotonic() - start
    made = ["-name", "*.o", "-o", "-name", "*.a", "-o", "-name", "*.so", "-o", "-path", "./criu/criu"]
    sums = lab.run(1, ["sh", "-c", 'find . -type f \\( "$@" \\) -exec sha256sum {} + | sort -k2', "find", *made], cwd=PROJECT).stdout
    return seconds, sums


def moves(lab):
    """How many moves each node has got since its ssid was started."""
    got = {}
    for event in observe.ask(lab, 1, "cluster", "events")["events"]:
        if "to" in event and "from" in event:
            got[event["to"]] = got.get(event["to"], 0) + 1
    return got


def left(lab):
    rows = observe.ask(lab, 1, "ssips", "-e")["rows"]
    return [row["comm"] for row in rows if row.get("comm") in ("make", "gcc", "cc1", "as", "sh", "collect2", "ld")]


def main():
    lab = Lab(3, name=os.environ.get("SSID_LAB", "bench"), cpu_part=NODE)
    try:
        lab.up()
        observe.wait_for_loads(lab)
        times = {"off": [], "on": []}
        sums = []
        for balancer in ("off", "on", "off"):
            lab.run(1, ["loadlevel", balancer])
            seconds, objects = build(lab, ["loadlevel", "run"])
            times[balancer].append(seconds)
            sums.append(objects)
        (spread,), alone = times["on"], times["off"]
        print(f"{len(sums[0].splitlines())} objects and programs: one node {alone[0]:.1f} and {alone[1]:.1f} s, three nodes {spread:.1f} s, "
              f"{min(alone) / spread:.2f} times faster; a node is {NODE} CPUs")
        print("load of the machine, of the last 1, 5, 15 minutes:", *(f"{load:.1f}" for load in os.getloadavg()))
        print("moves to node:", moves(lab), "(of the last 200 events)")
        same = len(set(sums)) == 1
        print("objects:", "the same" if same else "DIFFERENT")
        processes = left(lab) + observe.left_over(lab)
        print("left:", processes or "nothing")
        return 0 if same and not processes else 1
    finally:
        lab.down()


if __name__ == "__main__":
    sys.exit(main())
