#!/usr/bin/python3
"""PostgreSQL's own regression suite (parallel_schedule of the source package of the installed version), against a server on
node 1 whose clients are there, too: while the server stays, then twice while `migrate` moves it around three nodes all the time,
with clients by its unix socket and by TCP. Exit status 1 if a test that passes at rest does not while it moves, if the server was
not moved, or if its data are not whole afterwards.

usage: bench_pgregress.py [--every S] [TEST...]      SSID_LAB: name of the lab (default: pgregress)"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import observe  # noqa: E402
from lab import Lab  # noqa: E402
from postgres import AS_POSTGRES, DATA, LOG, SOCKETS, Server, program  # noqa: E402

SUITE = Path(__file__).resolve().parents[2] / ".ssid-dev/pgregress/suite"  # fetched by ./dev
NODES = (1, 2, 3)
AGAIN_S = 0.3
REST_S = 0.5  # between two moves, at least
MOVE_TIMEOUT_S = 120
LINE_MAX = 160  # of a reason
DIFFERENCES_MAX = 20000
RESULT = re.compile(r"^(?:test |  +|\+ )?(\S+) +\.\.\. (ok|FAILED|failed \(ignored\))|^(not )?ok \d+ +[-+] (\S+)")
# As pg_regress sets up a server of its own.
SETTINGS = "max_prepared_transactions=2\nfsync=off\n"


def results_of(said):
    """{test: passed} of pg_regress' output, as versions up to 15 and later ones write it."""
    found = {}
    for line in said.splitlines():
        if match := RESULT.match(line):
            old, outcome, failed, new = match.groups()
            found[old or new] = outcome == "ok" if old else not failed
    return found


class Mover(threading.Thread):
    """Has the server moved to the next node, again and again, until it is told to stop."""

    def __init__(self, lab, server, every_s):
        super().__init__()
        self.lab, self.server, self.every_s = lab, server, every_s
        self.done = threading.Event()
        self.moves = []  # ssid's answers
        self.refused = Counter()
        self.longest_wait_s = 0

    def run(self):
        start = time.monotonic()
        at, due = self.server.place(), start + self.every_s
        while not self.done.wait(max(REST_S, due - time.monotonic())):
            asked = time.monotonic()
            due = asked + self.every_s
            to = at % len(NODES) + 1
            while (why := self.try_to_move(to)) and not self.done.is_set():
                print(f"  {time.monotonic() - start:.1f} s: {at} -> {to}: not moved: {why}", flush=True)
                self.done.wait(AGAIN_S)
            at = at if why else to
            self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - asked)

    def try_to_move(self, to):
        """Why not, if not."""
        said = self.lab.run(1, ["migrate", str(self.server.pid), str(to), "--json"], check=False, timeout=MOVE_TIMEOUT_S)
        answer = json.loads(said.stdout)
        if said.returncode == 0:
            self.moves.append(answer)
            return None
        why = f"{answer['code']}: {answer['error']}"[:LINE_MAX]
        self.refused[re.sub(r"\d+", "N", why)] += 1
        return why

    def stop(self):
        self.done.set()
        self.join()


class Run:
    """The suite, once. mover: None, or who moves the server meanwhile."""

    def __init__(self, lab, name, host, tests, mover=None):
        self.lab, self.name, self.host, self.mover = lab, name, host, mover
        self.where = "/var/tmp/" + name.replace(" ", "-").replace(",", "")
        self.stage(tests)
        start = time.monotonic()
        if mover:
            mover.start()
        try:
            self.results = results_of(self.said())
        finally:
            if mover:
                mover.stop()
        self.seconds = time.monotonic() - start

    def stage(self, tests):
        """What pg_regress reads, and where it and the server write, as the server's user has it."""
        staged = self.lab.path(1, self.where)
        shutil.copytree(SUITE, staged)
        for name in ("refint.so", "autoinc.so"):
            shutil.copy(Path(program("postgres")).parents[1] / "lib" / name, staged)
        if tests:
            schedule = staged / "parallel_schedule"
            schedule.write_text(chosen(schedule.read_text(), tests))
        self.lab.run(1, ["chown", "-R", "postgres:postgres", self.where])

    def said(self):
        print(f"\n{self.name}:\n", flush=True)
        driver = Path(program("postgres")).parents[1] / "lib/pgxs/src/test/regress/pg_regress"
        words = [f"--inputdir={self.where}", f"--outputdir={self.where}", f"--dlpath={self.where}", f"--bindir={Path(program('psql')).parent}",
                 f"--schedule={self.where}/parallel_schedule", "--max-concurrent-tests=20", f"--host={self.host}", "--port=5432"]
        lines = []
        with self.lab.popen(1, [*AS_POSTGRES, str(driver), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, cwd=self.where) as run:
            for line in run.stdout:
                lines.append(line)
                print(line, end="", flush=True)
        return "".join(lines)

    def passed(self):
        return {name for name, ok in self.results.items() if ok}

    def differences(self):
        try:
            return self.lab.path(1, f"{self.where}/regression.diffs").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def row(self):
        moves = self.mover.moves if self.mover else []
        frozen = sorted(move["frozen_ms"] for move in moves)
        sent = sorted((move["copied_bytes"] + move["frozen_bytes"]) / (1 << 20) for move in moves)
        middle = len(moves) // 2
        more = [len(moves), frozen[middle], frozen[-1], sent[middle], self.mover.refused.total()] if moves else [0, 0, 0, 0, 0]
        return [self.name, len(self.results), len(self.passed()), self.seconds, *more]


def chosen(schedule, tests):
    """The lines of the schedule with only these tests in them, and test_setup, on which all others build."""
    lines = []
    for line in schedule.splitlines():
        names = [name for name in line.removeprefix("test:").split() if name in (*tests, "test_setup")]
        if line.startswith("test:") and names:
            lines.append("test: " + " ".join(names))
    return "\n".join(lines) + "\n"


def report(runs):
    """The tests that do worse while it moves."""
    still, moving = runs[0], runs[1:]
    print()
    print(observe.table(["server", "tests", "passed", "s", "moves", "frozen ms", "at most", "MiB sent", "put off"], [run.row() for run in runs]))
    in_all = set.intersection(*(run.passed() for run in runs))
    print(f"\npassed in all: {len(in_all)}; in none: {', '.join(sorted(set(still.results) - set.union(*(run.passed() for run in runs)))) or 'none'}")
    worse = still.passed() - in_all
    print(f"passed at rest, and not always while it moved: {', '.join(sorted(worse)) or 'none'}")
    print(f"the longest until a move that was asked for was done: {max(run.mover.longest_wait_s for run in moving):.1f} s")
    refused = sum((run.mover.refused for run in moving), Counter())
    if refused:
        print(observe.table(["put off", "reason"], [[times, why] for why, times in refused.most_common()]))
    for run in moving:
        if still.passed() - run.passed():
            print(f"\n{run.name}:\n{run.differences()[:DIFFERENCES_MAX]}")
    return worse


def keep(lab, runs, target):
    target.mkdir(parents=True, exist_ok=True)
    for run in runs:
        (target / f"{Path(run.where).name}.diffs").write_text(run.differences())
    (target / "pg.log").write_text(lab.path(1, LOG).read_text(errors="replace"))
    for node in lab.numbers():
        for service in ("ssid", "ssid-carrier"):
            (target / f"{service}.{node}.log").write_text(lab.log(node, service))


def main():
    parser = argparse.ArgumentParser(description="PostgreSQL's regression suite while its server moves")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="only these")
    parser.add_argument("--every", type=float, default=3, metavar="S", help="seconds from move to move, if one takes less (default 3)")
    parser.add_argument("--keep", metavar="DIR", help="where to put logs and differences")
    options = parser.parse_args()
    if not SUITE.is_dir():
        sys.exit(f"bench_pgregress.py: nothing below {SUITE}: ./dev bench pgregress")
    lab = Lab(len(NODES), name=os.environ.get("SSID_LAB", "pgregress"))
    runs = []
    try:
        lab.up()
        observe.wait_for_loads(lab)
        server = Server(lab, SETTINGS, ("--no-locale",))
        runs.append(Run(lab, "stays", SOCKETS, options.tests))
        for name, host in (("moves, unix socket", SOCKETS), ("moves, TCP", "127.0.0.1")):
            runs.append(Run(lab, name, host, options.tests, Mover(lab, server, options.every)))
        server.run("pg_amcheck", "-h", SOCKETS, "--install-missing", "regression")
        worse = report(runs)
        server.run("pg_ctl", "-D", DATA, "-m", "fast", "-w", "stop")
        return 0 if runs[0].passed() and not worse and all(run.mover.moves for run in runs[1:]) else 1
    finally:
        if options.keep and runs:
            keep(lab, runs, Path(options.keep))
        lab.down()


if __name__ == "__main__":
    sys.exit(main())
