#!/usr/bin/python3
"""What it costs to be a guest: programs that use files and pipes a lot, run by `runon 2` from node 1, so that their files come
from node 1 and their output goes there, beside the same on node 1 itself, in turn, in one run. Time is taken by who
starts the program, in the same place, so the move itself is not in it.

cold: the node has never seen these files (each round has its own copy); home has them in memory.
warm: the same again, a moment later.

usage: bench_overhead.py [--rounds N] [--files N] [--mib N]        SSID_LAB: name of the lab (default: bench)"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import observe  # noqa: E402
from lab import Lab  # noqa: E402

BASE = "/var/tmp/bench"
DIRECTORIES = 100
# Runs each command twice, says how long it took; with the time per core of the two together.
STOPWATCH = """
import json, subprocess, sys, time
times = []
for _ in range(2):
    start = time.monotonic()
    subprocess.run(["sh", "-c", sys.argv[1]], check=True, stdout=subprocess.DEVNULL)
    times.append(time.monotonic() - start)
print(json.dumps(times))
"""
# Counts bytes from the first one to the last.
COUNTER = """
import os, sys, time
total = len(os.read(0, 1 << 20)); start = time.monotonic()
while more := len(os.read(0, 1 << 20)): total += more
print(total / (time.monotonic() - start) / (1 << 20))
"""
PRODUCER = "dd if=/dev/zero bs=64k count={} status=none"


def make_tree(lab, name, files):
    """A git repository with everything committed and the index as fresh as can be."""
    lab.run(1, ["python3", "-c", f"""
import os, random
random.seed(1)
for d in range({DIRECTORIES}):
    os.makedirs("{BASE}/{name}/dir%d/sub" % d)
for i in range({files}):
    with open("{BASE}/{name}/dir%d/%sfile%d.c" % (i % {DIRECTORIES}, "sub/" if i % 3 == 0 else "", i), "w") as f:
        f.write("int x%d;\\n" % i * random.randint(10, 400))
"""])
    git = "git -c user.name=x -c user.email=x@example.org"
    lab.run(1, ["sh", "-c", f"git init -q . && {git} add -A && {git} commit -q -m all && sleep 1.1 && git status && git status"],
            cwd=f"{BASE}/{name}", timeout=300)


def timed(lab, where, command, timeout=600):
    done = lab.run(1, [*where, "python3", "-c", STOPWATCH, command], timeout=timeout)
    return json.loads(done.stdout)


def file_cases(tree, big, new, mib):
    return (
        ("git status", f"cd {tree} && git --no-optional-locks status --porcelain"),
        ("find (names and types)", f"find {tree} -type f"),
        ("find (all attributes)", f"find {tree} -newer /etc/hostname -size +1k"),
        ("tar", f"tar -cf - {tree} | cat"),
        (f"read {mib} MiB", f"dd if={big} of=/dev/null bs=1M status=none"),
        (f"write {mib} MiB", f"dd if=/dev/zero of={new} bs=1M count={mib} status=none"),
        (f"write {mib} MiB, by 4 KiB", f"dd if=/dev/zero of={new} bs=4k count={mib * 256} status=none"),
    )


def pipe_rates(lab, mib, rounds):
    """MiB/s of pipes: (name, here, guest)."""
    produce = PRODUCER.format(mib * 16)
    lines = (
        ("pipe, both ends in the guest", "sh -c '{p} | python3 -c \"$C\"'", "{r} sh -c '{p} | python3 -c \"$C\"'"),
        ("pipe, guest to home", "{p} | python3 -c \"$C\"", "{r} {p} | python3 -c \"$C\""),
        ("pipe, home to guest", "{p} | python3 -c \"$C\"", "{p} | {r} python3 -c \"$C\""),
    )
    for name, *both in lines:
        rates = [[], []]
        for _ in range(rounds):
            for rate, line in zip(rates, both):
                text = line.format(p=produce, r="runon 2")
                rate.append(float(lab.run(1, ["sh", "-c", text], env={"C": COUNTER}, timeout=300).stdout))
        yield name, statistics.median(rates[0]), statistics.median(rates[1])


def main():
    parser = argparse.ArgumentParser(prog="bench_overhead.py")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--mib", type=int, default=256)
    options = parser.parse_args()
    lab = Lab(2, name=os.environ.get("SSID_LAB", "bench"))
    try:
        lab.up()
        observe.wait_for_loads(lab)
        lab.run(1, ["loadlevel", "off"])
        lab.run(1, ["runon", "2", "python3", "-c", "import subprocess, json, time; subprocess.run(['sh', '-c', 'git --version; "
                    "find --version; tar --version; dd --version'])"])  # the programs themselves are not what is measured
        seen = {}
        for i in range(options.rounds):
            # The guest first: what it has not seen, nobody has touched but to make it.
            for where, label in ((["runon", "2"], "guest"), ([], "here")):
                tree = f"tree{i}{label}"
                make_tree(lab, tree, options.files)
                lab.run(1, ["sh", "-c", f"dd if=/dev/urandom of={BASE}/big{i}{label} bs=1M count={options.mib} status=none"])
                cases = file_cases(f"{BASE}/{tree}", f"{BASE}/big{i}{label}", f"{BASE}/new", options.mib)
                for name, command in cases:
                    seen.setdefault(name, {"guest": [], "here": []})[label].append(timed(lab, where, command))
                    lab.run(1, ["rm", "-f", f"{BASE}/new"])
                lab.run(1, ["rm", "-rf", f"{BASE}/{tree}", f"{BASE}/big{i}{label}"], timeout=300)
        load = os.getloadavg()[0]
        print(f"{options.files} files; medians of {options.rounds}; load of the machine at the end: {load:.1f}\n")
        print(f"{'seconds':28}{'here':>9}{'guest, cold':>13}{'ratio':>7}{'warm':>9}{'ratio':>7}")
        for name, both in seen.items():
            here = statistics.median(second for _, second in both["here"])
            cold = statistics.median(first for first, _ in both["guest"])
            warm = statistics.median(second for _, second in both["guest"])
            print(f"{name:28}{here:9.3f}{cold:13.3f}{cold / here:7.1f}{warm:9.3f}{warm / here:7.1f}")
        print(f"\n{'MiB/s':28}{'here':>9}{'guest':>13}{'ratio':>7}")
        for name, here, guest in pipe_rates(lab, options.mib, options.rounds):
            print(f"{name:28}{here:9.0f}{guest:13.0f}{here / guest:7.1f}")
        return 0
    finally:
        lab.down()


if __name__ == "__main__":
    sys.exit(main())
