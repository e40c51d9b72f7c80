#!/usr/bin/python3
"""The main job, end to end: programs started on node 1 are spread over the nodes while they run.

Two rounds in one run, first with the balancer off, then on; the same jobs, the same node, the same shell. What
is compared at the end: time, outputs, PIDs, exit codes."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.jobs import JOBS, PREPARE  # noqa: E402
from demo.other_work import OtherWork  # noqa: E402
from lab import Lab  # noqa: E402

FASTER_AT_LEAST = 1.7
# Of the machine's CPU time. The demo's own shell and this program need some, too.
OTHER_WORK_MAX = 0.08

# Starts all jobs at once and waits for each, as a person in a shell would; says PIDs and exit codes.
ROUND = r"""
round=$1; shift
mkdir -p /root/demo/$round
i=0
for job in "$@"; do
  OUT=/root/demo/$round/$i
  export OUT
  loadlevel run sh -c "$job" &
  pids="$pids $!"; i=$((i+1))
done
echo pids $pids
i=0
for pid in $pids; do wait $pid; echo "exit $i $?"; i=$((i+1)); done
"""


def bar(value, limit, width=24):
    filled = min(width, round(width * value / limit)) if limit else 0
    return "█" * filled + "·" * (width - filled)


class Screen:
    """Lines as they happen; on a terminal the bars are redrawn in place."""

    def __init__(self):
        self.live = sys.stdout.isatty()
        self.drawn = 0

    def say(self, text=""):
        self.drawn = 0
        print(text, flush=True)

    def bars(self, lines):
        if not self.live:
            return
        if self.drawn:
            print(f"\x1b[{self.drawn}A", end="")
        for line in lines:
            print("\x1b[2K" + line)
        self.drawn = len(lines)
        sys.stdout.flush()


def ask(lab, node, *command):
    return json.loads(lab.run(node, [*command, "--json"]).stdout)


def run_round(lab, screen, name, jobs):
    """Runs all jobs on node 1; returns seconds, PIDs, exit codes and where each process was seen."""
    started = time.monotonic()
    shell = lab.popen(1, ["sh", "-c", ROUND, "sh", name, *(job.command for job in jobs)],
                      stdout=-1, stderr=-1, text=True)
    pids = [int(word) for word in shell.stdout.readline().split()[1:]]
    seen = {pid: [] for pid in pids}
    while shell.poll() is None:
        where = {}
        rows = ask(lab, 1, "ssips", "-p", ",".join(map(str, pids)))["rows"]
        for row in rows:
            pid, node = int(str(row["pid"]).split(":")[-1]), row["node"]
            where.setdefault(node, []).append(row["comm"])
            if pid in seen and (not seen[pid] or seen[pid][-1] != node):
                seen[pid].append(node)
                if len(seen[pid]) > 1:
                    screen.say(f"  {time.monotonic() - started:5.1f} s   {row['comm']} ({pid}) moved: "
                               f"node {seen[pid][-2]} -> {node}")
        screen.bars([f"    node {n}  {bar(len(where.get(n, [])), len(jobs))}  {' '.join(where.get(n, []))}"
                     for n in lab.numbers()])
        time.sleep(0.25)
    seconds = time.monotonic() - started
    said, complaints = shell.communicate()
    if complaints.strip():
        screen.say("  the jobs said: " + complaints.strip())
    exits = {int(line.split()[1]): int(line.split()[2])
             for line in said.splitlines() if line.startswith("exit ")}
    return seconds, pids, exits, seen


def checksums(lab, name, jobs):
    return [lab.run(1, ["sha256sum", f"/root/demo/{name}/{i}"]).stdout.split()[0] for i in range(len(jobs))]


def main():
    screen = Screen()
    problems = []
    screen.say("Starting two nodes, each with one CPU, its own files, PIDs and network ...")
    with Lab(2) as lab:
        lab.wait_for(lambda: all(node.get("cpus") for node in
                                 ask(lab, 1, "cluster", "-v")["nodes"]), 10, "first load of every node")
        screen.say(lab.run(1, ["cluster", "-v"]).stdout.rstrip())
        screen.say("\nMaking the jobs' data on node 1 ...")
        lab.run(1, ["sh", "-c", PREPARE], timeout=120)

        screen.say(f"\nRound 1: {len(JOBS)} jobs on node 1, balancer off: " + ", ".join(j.name for j in JOBS))
        lab.run(1, ["loadlevel", "off"])
        others = OtherWork(lab.group())
        off, _, off_exits, off_seen = run_round(lab, screen, "off", JOBS)
        other_work = others.share()
        screen.say(f"  {off:5.1f} s   done")
        if any(len(nodes) > 1 for nodes in off_seen.values()):
            problems.append("a process moved although the balancer was off")

        screen.say("\nRound 2: the same jobs on node 1, balancer on")
        lab.run(1, ["loadlevel", "on"])
        others = OtherWork(lab.group())
        on, pids, on_exits, on_seen = run_round(lab, screen, "on", JOBS)
        other_work = max(other_work, others.share())
        screen.say(f"  {on:5.1f} s   done")

        before, after = checksums(lab, "off", JOBS), checksums(lab, "on", JOBS)
        screen.say(f"\n{'job':<10}{'PID':>8}  {'ran on':<18}{'output':<12}{'exit code':<12}")
        for i, job in enumerate(JOBS):
            same = before[i] == after[i]
            true_code = on_exits.get(i) == off_exits.get(i) == job.status
            path = " -> ".join(map(str, on_seen[pids[i]]))
            screen.say(f"{job.name:<10}{pids[i]:>8}  {'node ' + path:<18}"
                       f"{'identical' if same else 'DIFFERS':<12}"
                       f"{on_exits.get(i)} {'(true)' if true_code else '(WRONG)'}")
            if not same:
                problems.append(f"{job.name}: the output differs")
            if not true_code:
                problems.append(f"{job.name}: exit code {on_exits.get(i)}, not {job.status}")
        if not any(len(nodes) > 1 for nodes in on_seen.values()):
            problems.append("nothing moved")
        ratio = off / on
        screen.say(f"\nbalancer off {off:.1f} s, on {on:.1f} s: {ratio:.2f} times faster")
        if ratio < FASTER_AT_LEAST and other_work > OTHER_WORK_MAX:
            screen.say(f"({FASTER_AT_LEAST} were expected, but other work took {other_work:.0%} of this machine's CPUs "
                       "meanwhile: run it again when it is quiet)")
        elif ratio < FASTER_AT_LEAST:
            problems.append(f"only {ratio:.2f} times faster, {FASTER_AT_LEAST} expected")
    for problem in problems:
        screen.say(f"demo: failed: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
