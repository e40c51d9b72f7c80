#!/usr/bin/python3
"""Frozen time of a move, measured by the moved program itself (the largest gap in its clock), beside the same
move made by a plain script around criu: dump to tmpfs, copy over the lab's network, restore, criu's feature
cache warm. Both in one run, on the same two nodes, in turn for each size.

A size "448+64" is 448 MiB that are only read and 64 MiB that are written all the time, 100 MiB a second. "copy" is
what is sent before the freeze, while the program runs. "look" is how long the program takes to read all its memory
a fifth of a second after the move, and before it: what is installed after the thaw is paid there.

usage: bench_move.py [-v] [--rounds N] [SIZE...]        SSID_LAB: name of the lab (default: bench)"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import Lab  # noqa: E402
from probe import Probe  # noqa: E402

SIZES_MIB = ["1", "64", "256", "512", "448+64", "1024"]
PORT = 9000
# On the two-core build machine.
TARGETS_MS = {"1": 80, "64": 150, "512": 400, "448+64": 400}
PARTS = ("freeze", "dump", "send", "restore", "commit")

# The peer. Runs on node 1; node 2 listens.
SEND = """
set -e
rm -rf /run/img; mkdir /run/img
criu dump --no-default-config -t $PID -D /run/img --shell-job --file-locks >/run/img/log 2>&1
tar -C /run/img -cf - . | python3 -c '
import socket, sys, shutil
s = socket.create_connection(("ADDRESS", PORT)); f = s.makefile("wb", 1 << 20)
shutil.copyfileobj(sys.stdin.buffer, f, 1 << 20); f.close(); s.close()'
rm -rf /run/img
"""
RECEIVE = """
import os, shutil, socket, subprocess
l = socket.create_server(("", PORT)); print("ready", flush=True)
c, _ = l.accept()
shutil.rmtree("/run/img", ignore_errors=True); os.mkdir("/run/img")
t = subprocess.Popen(["tar", "-C", "/run/img", "-xf", "-"], stdin=subprocess.PIPE)
shutil.copyfileobj(c.makefile("rb", 1 << 20), t.stdin, 1 << 20); t.stdin.close(); t.wait()
subprocess.run(["criu", "restore", "--no-default-config", "-D", "/run/img", "--shell-job", "-d"],
               check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
shutil.rmtree("/run/img")
"""


def check(report, who):
    if not (report["memory_good"] and report["descriptors_good"] and report["same_pid"]):
        raise SystemExit(f"bench: moved by {who}, the program is damaged: {report}")


def parse_size(text):
    """(MiB that are read, MiB that are written)"""
    cold, _, hot = text.partition("+")
    return int(cold), int(hot or 0)


def move_with_ssid(lab, size, rounds):
    """There and back and there again: [(reports before and after, what migrate --json said)]."""
    cold, hot = parse_size(size)
    probe = Probe(lab, 1, cold, hot_mib=hot, name=f"ssid{size}")
    moves = []
    for i in range(rounds):
        before = probe.report()
        said = lab.run(1, ["migrate", str(probe.pid), str(2 - i % 2), "--json"]).stdout
        time.sleep(0.2)
        report = probe.report(timeout_s=60)
        check(report, "ssid")
        moves.append((before, report, json.loads(said)))
    if probe.end() != 42:
        raise SystemExit("bench: wrong exit status")
    return moves


def move_with_script(lab, size, rounds):
    cold, hot = parse_size(size)
    gaps = []
    for i in range(rounds):
        name = f"script{size}-{i}"
        probe = Probe(lab, 1, cold, hot_mib=hot, name=name, prefix=["exec 2>/dev/null;", "setsid"])
        # (Its shell would print "Killed": criu ends the original.) The same files on the other node, as the script's user would have to see to.
        program = lab.path(2, f"/root/{name}")
        program.write_bytes(lab.path(1, f"/root/{name}").read_bytes())
        program.chmod(0o755)
        probe.report()
        report_file = lab.path(2, probe.report_path)
        report_file.write_text(lab.path(1, probe.report_path).read_text())
        receiver = lab.popen(2, ["python3", "-c", RECEIVE.replace("PORT", str(PORT))], stdout=-1, text=True)
        receiver.stdout.readline()
        send = SEND.replace("ADDRESS", lab.address(2)).replace("PORT", str(PORT))
        lab.run(1, ["sh", "-c", send], env={"PID": str(probe.pid)})
        if receiver.wait(60) != 0:
            raise SystemExit("bench: the script's restore failed")
        time.sleep(0.2)
        probe.home = 2
        report = probe.report(timeout_s=60)
        check(report, "the script")
        gaps.append(report["gap_us"] / 1000)
        lab.run(2, ["kill", "-9", str(probe.pid)])
        probe.shell.communicate(timeout=30)
    return gaps


def warm_up(lab):
    """Realms made, criu's features probed, loads known: neither side pays for a first time."""
    for node in lab.numbers():
        lab.run(node, ["sh", "-c", "ln -sf /usr/lib/ssid/criu /usr/bin/criu; criu check >/dev/null 2>&1 || true"])
    probe = Probe(lab, 1, 1, name="warm-up")
    for target in ("2", "1"):
        lab.wait_for(lambda target=target: lab.run(1, ["migrate", str(probe.pid), target], check=False).returncode == 0,
                     20, f"a first move to node {target}", pause_s=0.5)
    probe.end()


def row(size, moves, theirs):
    def middle(values):
        return statistics.median(list(values))

    ours_ms = middle(after["gap_us"] / 1000 for _, after, _ in moves)
    theirs_ms = middle(theirs)
    parts = ", ".join(f"{name} {middle(said[name + '_ms'] for _, _, said in moves):.0f}" for name in PARTS)
    copy_ms = middle(said["copy_ms"] for _, _, said in moves)
    looks = [middle(report["look_us"] / 1000 for report in reports) for reports in zip(*[m[:2] for m in moves])]
    target = TARGETS_MS.get(size)
    wanted = 2 if sum(parse_size(size)) >= 256 else 1
    good = theirs_ms >= wanted * ours_ms and (target is None or ours_ms <= target)
    return (f"{size:>7} {ours_ms:>8.0f} {target or '-':>7} {theirs_ms:>10.0f} {theirs_ms / ours_ms:>6.1f}x "
            f"{'yes' if good else 'no':>5}   {parts + ';':<62} copy {copy_ms:.0f}, look {looks[0]:.0f} -> {looks[1]:.0f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-v", "--verbose", action="store_true", help="each move's parts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("sizes", nargs="*", metavar="SIZE")
    options = parser.parse_args()
    with Lab(2, name=os.environ.get("SSID_LAB", "bench")) as lab:
        warm_up(lab)
        print(f"{'MiB':>7} {'ssid ms':>8} {'target':>7} {'script ms':>10} {'ratio':>7} {'good':>5}   "
              "parts of the frozen time (ms)")
        for size in options.sizes or SIZES_MIB:
            moves = move_with_ssid(lab, size, options.rounds)
            theirs = move_with_script(lab, size, options.rounds)
            if options.verbose:
                for _, after, said in moves:
                    print(f"        ssid {after['gap_us'] / 1000:.0f} ms: {json.dumps(said)}")
                print(f"        script {' '.join(f'{gap:.0f}' for gap in theirs)} ms")
            print(row(size, moves, theirs), flush=True)


if __name__ == "__main__":
    main()
