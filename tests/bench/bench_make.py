#!/usr/bin/python3
"""`make -j8` of a C project on node 1: first with the balancer off, so on one node, then with it on, over three nodes. Prints
how long both take and their ratio, the load of the machine, what moved, and whether all objects are the same. Exit status 1 if they are not, or
if a process of the build is left. Node i has CPU i mod n of this machine: on two CPUs the three nodes have two, node 1 one of them, and
the ratio can't be more than 2.

usage: bench_make.py [--files N] [--weight N]        SSID_LAB: name of the lab (default: bench)"""

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import observe  # noqa: E402
from lab import Lab  # noqa: E402

PROJECT = "/root/project"
MAKEFILE = """
objects := $(patsubst %.c,%.o,$(wildcard *.c))
all: program
program: $(objects)
\tgcc -o $@ $(objects)
%.o: %.c project.h
\tgcc -O2 -c -o $@ $<
"""
FUNCTION = """
unsigned f{file}_{n}(unsigned a, unsigned b) {{
  unsigned t[16] = {{a, b}};
  for (unsigned i = 2; i < 16; ++i) t[i] = t[i - 1] * {odd}u + (t[i - 2] >> {shift});
  for (unsigned i = 0; i < b % 64; ++i)
    switch ((a ^ i) % 7) {{
      case 0: t[i % 16] += mix(t[(i + 3) % 16], {n}); break;
      case 1: t[(i + 1) % 16] ^= mix(a, t[i % 16]); break;
      case 2: a = mix(a, b) - t[{n} % 16]; break;
      case 3: b = mix(b, i) + t[(a + i) % 16]; break;
      case 4: t[a % 16] = t[b % 16] * 3; break;
      case 5: a += t[5] ^ t[i % 16]; break;
      default: b ^= a << (i % 5);
    }}
  return a ^ b ^ t[{n} % 16];
}}
"""
HEADER = "static inline unsigned mix(unsigned a, unsigned b) { return (a ^ b >> 3) * 2654435761u + (a << 7 | a >> 25); }\n"


def write_project(root, files, weight):
    root.mkdir(parents=True)
    (root / "Makefile").write_text(MAKEFILE)
    (root / "project.h").write_text(HEADER)
    for file in range(files):
        text = '#include "project.h"\n'
        for n in range(weight):
            text += FUNCTION.format(file=file, n=n, odd=2 * n + 2654435, shift=1 + n % 13)
        if file == 0:
            text += "int main(void) { return 0; }\n"
        (root / f"file{file}.c").write_text(text)


def build(lab, prefix):
    lab.run(1, ["sh", "-c", "rm -f *.o program"], cwd=PROJECT)
    start = time.monotonic()
    lab.run(1, [*prefix, "make", "-j8"], cwd=PROJECT, timeout=1200)
    seconds = time.monotonic() - start
    sums = lab.run(1, ["sh", "-c", "sha256sum *.o program"], cwd=PROJECT).stdout
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
    parser = argparse.ArgumentParser(prog="bench_make.py")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--weight", type=int, default=60, help="functions a file")
    options = parser.parse_args()
    lab = Lab(3, name=os.environ.get("SSID_LAB", "bench"))  # its nodes share the CPUs of this machine
    try:
        lab.up()
        observe.wait_for_loads(lab)
        write_project(lab.path(1, PROJECT), options.files, options.weight)
        lab.run(1, ["loadlevel", "off"])
        alone, expected = build(lab, ["loadlevel", "run"])
        lab.run(1, ["loadlevel", "on"])
        spread, got = build(lab, ["loadlevel", "run"])
        print(f"{options.files} files: one node {alone:.1f} s, three nodes {spread:.1f} s, {alone / spread:.2f} times faster")
        print("load of the machine, of the last 1, 5, 15 minutes:", *(f"{load:.1f}" for load in os.getloadavg()))
        print("moves to node:", moves(lab), "(of the last 200 events)")
        print("objects:", "the same" if got == expected else "DIFFERENT")
        processes = left(lab) + observe.left_over(lab)
        print("left:", processes or "nothing")
        return 0 if got == expected and not processes else 1
    finally:
        lab.down()


if __name__ == "__main__":
    sys.exit(main())
