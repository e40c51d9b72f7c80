#!/usr/bin/python3
"""CRIU's own test programs (ZDTM), each started on node 1, moved to node 2 by `migrate` while it waits, told to finish by
SIGTERM, and judged by its own last line: PASS. What can't be moved is to be refused before it is frozen, with a reason, and
then passes at home; none is to be lost. One that does not pass is run again without a move, to see whether the move is to blame.

usage: bench_zdtm.py [NAME...]      those whose name contains NAME        SSID_LAB: name of the lab (default: zdtm)"""

import argparse
import os
import re
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import observe  # noqa: E402
from bench.zdtm_run import Kind, Outcome, Run  # noqa: E402
from bench.zdtm_tests import Here, is_host_flavour, read_tests  # noqa: E402
from lab import Lab  # noqa: E402

SOURCE = Path(__file__).resolve().parents[2] / ".ssid-dev/zdtm/src/test/zdtm"
LIMIT_S = 25 * 60
# What is moved rightly, and looks at something that no guest can have: the test, what it says then, why.
KNOWN_DIFFERENCES = [
    ("file_locks01", "Failed on fd 5",
     "it looks for its flock() lock in this kernel's /proc/self/fdinfo; a guest's is home's, where it is held"),
    *((name, "Flock file locks check failed",
       "the same, of a lock that it shares with its child") for name in ("file_locks02", "file_locks03", "file_locks04")),
    *((name, "OFD file locks check failed",
       "the same, of a record lock of its open file") for name in ("file_locks06", "file_locks07", "file_locks08")),
    ("unlink_fstat03", "files differ after restore",
     "it wants the same st_dev; home's files are on another device where a guest runs, deleted or not"),
]


class Bench:
    """One lab for all; a new one after a test that was lost or left something behind."""

    def __init__(self):
        self.lab = None
        self.labs = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._down()

    def _down(self):
        if self.lab is not None:
            self.lab.down()
        self.lab = None

    def _up(self):
        if self.lab is not None:
            return
        self.lab = Lab(2, name=os.environ.get("SSID_LAB", "zdtm"))
        self.labs += 1
        try:
            self.lab.up()
            observe.wait_for_loads(self.lab)
            self.here = Here(self.lab)
        except BaseException:
            self._down()
            raise

    def try_one(self, test, move=True):
        self._up()
        why_not = self.here.why_not(test)
        if why_not:
            return Outcome(Kind.NOT_HERE, why_not)
        outcome = Run(self.lab, test).run(move)
        if outcome.kind is Kind.LOST or not outcome.clean:
            self._down()
        return outcome

    def judge(self, test):
        outcome = self.try_one(test)
        if outcome.kind is Kind.REFUSED and test.has_flag("crfail"):
            outcome.kind = Kind.RIGHTLY_REFUSED
        if outcome.kind not in (Kind.LOST, Kind.REFUSED_NOT_PASS):
            return outcome
        fails_without = self.try_one(test, move=False).kind is Kind.LOST
        if outcome.kind is Kind.REFUSED_NOT_PASS and not fails_without:
            outcome.kind = Kind.LOST
        if outcome.kind is Kind.LOST and outcome.reason.endswith("(the move: done)"):
            for name, words, why in KNOWN_DIFFERENCES:
                if test.name == name and words in outcome.reason:
                    return Outcome(Kind.MOVED_OTHERWISE, why)
        if outcome.kind is Kind.LOST and fails_without:
            return Outcome(Kind.NOT_HERE, "fails without a move, too: " + outcome.reason)
        return outcome


def kinds_of_reason(reason):
    """The reasons without what is of one process only: numbers, names, paths."""
    reason = re.sub(r"\([^()]*(\([^()]*\)[^()]*)*\)", "", reason)
    reason = re.sub(r"\bfd \d+ is ", "open: ", reason)
    reason = re.sub(r"(child processe?s?|process), which only `migrate --tree` moves along: .*?(?=; |$)", "child processes", reason)
    reason = re.sub(r"(shares memory with process) .*?: ", r"\1 ..: ", reason)
    reason = re.sub(r"/\S+", "..", reason)
    reason = re.sub(r"\b\d+\b", "N", reason)
    return list(dict.fromkeys(" ".join(part.split()) for part in reason.split("; ")))


def table_of_reasons(outcomes):
    """How many have a reason, and how many have no other one."""
    with_it, only_it = Counter(), Counter()
    for outcome in outcomes:
        kinds = kinds_of_reason(outcome.reason)
        with_it.update(kinds)
        only_it.update(kinds if len(kinds) == 1 else ())
    rows = [[n, only_it[kind], kind] for kind, n in with_it.most_common()]
    return observe.table(["tests", "only this", "reason"], rows)


def report(results, seconds):
    by_kind = defaultdict(list)
    for test, outcome in results:
        by_kind[outcome.kind].append((test, outcome))
    ran = [outcome for _, outcome in results if outcome.kind is not Kind.NOT_HERE]
    print(f"\n{len(results)} tests of the host flavour, {len(ran)} can run here; {seconds:.0f} s\n")
    print(observe.table(["tests", "outcome"], [[len(by_kind[kind]), kind.value] for kind in Kind]))
    for kind in (Kind.REFUSED, Kind.RIGHTLY_REFUSED, Kind.THAWED):
        if by_kind[kind]:
            print(f"\n{kind.value}:\n\n{table_of_reasons([outcome for _, outcome in by_kind[kind]])}")
    for kind in (Kind.LOST, Kind.THAWED, Kind.MOVED_OTHERWISE, Kind.NOT_HERE, Kind.REFUSED_NOT_PASS, Kind.RIGHTLY_REFUSED,
                 Kind.REFUSED):
        if by_kind[kind]:
            rows = [[test.title, outcome.reason] for test, outcome in by_kind[kind]]
            if kind in (Kind.REFUSED, Kind.RIGHTLY_REFUSED):  # the words as they were are above
                rows = sorted(([title, "; ".join(kinds_of_reason(why))] for title, why in rows), key=lambda row: row[1])
            print(f"\n{kind.value}:\n\n{observe.table(['test', 'reason'], rows)}")


def main():
    parser = argparse.ArgumentParser(description="moves CRIU's own test programs")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only those whose name contains it")
    options = parser.parse_args()
    tests = [test for test in read_tests(SOURCE) if is_host_flavour(test)]
    if options.names:
        tests = [test for test in tests if any(name in test.title for name in options.names)]
    # Cgroup hierarchies are the machine's, and may stay a while: those who make some come last.
    tests.sort(key=lambda test: "cgroup" in test.name)
    if not tests:
        sys.exit(f"bench: zdtm: no test with such a name: {' '.join(options.names)}")
    started = time.monotonic()
    results = []
    with Bench() as bench:
        for i, test in enumerate(tests):
            if time.monotonic() - started > LIMIT_S:
                sys.exit(f"bench: zdtm: not done within {LIMIT_S} s: {len(results)} of {len(tests)}")
            outcome = bench.judge(test)
            results.append((test, outcome))
            frozen = f" (frozen {outcome.frozen_ms:.0f} ms)" if outcome.frozen_ms else ""
            print(f"{i + 1}/{len(tests)} {test.title}: {outcome.kind.value}{frozen}"
                  f"{': ' if outcome.reason else ''}{outcome.reason}", flush=True)
    report(results, time.monotonic() - started)
    bad = [test for test, outcome in results if outcome.kind in (Kind.LOST, Kind.THAWED)]
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
