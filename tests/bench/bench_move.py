#!/usr/bin/python3
"""Frozen time of a move, measured by the moved program itself (the largest gap in its clock), beside the same
move made by a plain script around criu: dump to tmpfs, copy over the lab's network, restore, criu's feature
cache warm. Both in one run, in turn, on the same two nodes."""

import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import Lab  # noqa: E402
from probe import Probe  # noqa: E402

SIZES_MIB = [1, 64, 512, 1024]
ROUNDS = 3
PORT = 9000

# The peer. Runs on node 1; node 2 listens.
SEND = """
set -e
rm -rf /run/img; mkdir /run/img
criu dump --no-default-config -t $PID -D /run/img --shell-job --file-locks >/run/img/log 2>&1
tar -C /run/img -cf - . | python3 -c '
import socket, sys, shutil
s = socket.create_connection(("ADDRESS", PORT)); f = s.makefile("wb", 1 << 20)
shutil.copyfileobj(sys.stdin.buffer, f, 1 << 20); f.close(); s.close()'
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
"""


def move_with_ssid(lab, mib):
    probe = Probe(lab, 1, mib, name=f"ssid{mib}")
    gaps, parts = [], []
    for target in [2, 1, 2, 1, 2, 1][:ROUNDS]:
        probe.report()
        stats = json.loads(lab.run(1, ["migrate", str(probe.pid), str(target), "--json"]).stdout)
        time.sleep(0.2)
        report = probe.report(timeout_s=60)
        if not (report["memory_good"] and report["same_pid"]):
            raise SystemExit(f"bench: the moved program is damaged: {report}")
        gaps.append(report["gap_us"] / 1000)
        parts.append(stats)
    if probe.end() != 42:
        raise SystemExit("bench: wrong exit status")
    return gaps, parts


def move_with_script(lab, mib):
    gaps = []
    for round_number in range(ROUNDS):
        probe = Probe(lab, 1, mib, name=f"script{mib}-{round_number}", prefix=["setsid"])
        # The same files on the other node, as the script's user would have to see to.
        lab.path(2, f"/root/script{mib}-{round_number}").write_bytes(
            lab.path(1, f"/root/script{mib}-{round_number}").read_bytes())
        lab.path(2, f"/root/script{mib}-{round_number}").chmod(0o755)
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
        gaps.append(probe.report(timeout_s=60)["gap_us"] / 1000)
        lab.run(2, ["kill", "-9", str(probe.pid)])
    return gaps


def main():
    with Lab(2) as lab:
        for node in lab.numbers():
            lab.run(node, ["sh", "-c", "ln -sf /usr/lib/ssid/criu /usr/bin/criu; criu check >/dev/null 2>&1 || true"])
        print(f"{'MiB':>6} {'ssid ms':>9} {'script ms':>10} {'ratio':>7}   parts of the frozen time (ms)")
        for mib in SIZES_MIB:
            ours, parts = move_with_ssid(lab, mib)
            theirs = move_with_script(lab, mib)
            best = parts[ours.index(min(ours))]
            split = ", ".join(f"{name} {best.get(name + '_ms', 0):.0f}"
                              for name in ("freeze", "dump", "send", "restore", "commit"))
            print(f"{mib:>6} {statistics.median(ours):>9.0f} {statistics.median(theirs):>10.0f} "
                  f"{statistics.median(theirs) / statistics.median(ours):>6.1f}x   {split}", flush=True)


if __name__ == "__main__":
    main()
