"""A Python program that is moved while it watches itself: python3 self_check.py REPORT

It holds data with known checksums, a generator in the middle of its work, a second thread that waits on the
first, a file that it reads on and on, one that it appends to, and a pipe to itself. On SIGUSR1 it checks all
of it and appends a line of JSON to REPORT; it says each report's number on stdout, too. SIGTERM: it exits
with 42."""

import hashlib
import json
import os
import queue
import random
import signal
import sys
import threading

DATA_BYTES = 8 << 20
LINES = 100_000


def numbers():
    """0, 1, 3, 6, ..."""
    total = 0
    step = 0
    while True:
        yield total
        step += 1
        total += step


def answer_squares(questions, answers):
    while True:
        answers.put(questions.get() ** 2)


class SelfCheck:
    def __init__(self, report_path):
        self.pid = os.getpid()
        self.report = open(report_path, "w")
        self.journal_path = report_path + ".journal"
        self.journal = open(self.journal_path, "w")
        self.data = bytearray(random.Random(1).randbytes(DATA_BYTES))
        self.data_sum = hashlib.sha256(self.data).digest()
        self.table = {f"key {i}": i * 7 for i in range(20_000)}
        self.numbers = numbers()
        self.questions, self.answers = queue.Queue(), queue.Queue()
        threading.Thread(target=answer_squares, args=(self.questions, self.answers), daemon=True).start()
        self.pipe = os.pipe()
        lines_path = report_path + ".lines"
        with open(lines_path, "w") as lines:
            lines.writelines(f"line {i}\n" for i in range(LINES))
        self.lines = open(lines_path, buffering=64)
        self.reports = 0
        self.digest = hashlib.sha256()
        self.turns = 0

    def work(self):
        """Some computation whose result depends on every turn before."""
        self.digest.update(b"turn %d" % self.turns)
        self.turns += 1

    def digest_is_right(self):
        again = hashlib.sha256()
        for turn in range(self.turns):
            again.update(b"turn %d" % turn)
        return again.digest() == self.digest.digest()

    def memory_is_good(self):
        return (
            hashlib.sha256(self.data).digest() == self.data_sum
            and all(self.table[f"key {i}"] == i * 7 for i in range(20_000))
            and next(self.numbers) == self.reports * (self.reports + 1) // 2
            and self.digest_is_right()
        )

    def descriptors_are_good(self):
        self.questions.put(self.reports)
        os.write(self.pipe[1], b"through the pipe")
        print("journal", self.reports, file=self.journal, flush=True)
        with open(self.journal_path) as journal:
            journal_lines = journal.read().splitlines()
        return (
            self.answers.get(timeout=10) == self.reports**2
            and os.read(self.pipe[0], 100) == b"through the pipe"
            and self.lines.readline() == f"line {self.reports}\n"
            and journal_lines == [f"journal {i}" for i in range(self.reports + 1)]
        )

    def say(self):
        memory_good = self.memory_is_good()
        descriptors_good = self.descriptors_are_good()
        self.reports += 1
        said = {
            "report": self.reports,
            "memory_good": memory_good,
            "descriptors_good": descriptors_good,
            "pid": self.pid,
            "same_pid": os.getpid() == self.pid,
            "ppid": os.getppid(),
        }
        print(f"said {self.reports}", flush=True)
        print(json.dumps(said), file=self.report, flush=True)


def main():
    check = SelfCheck(sys.argv[1])
    wanted = []
    signal.signal(signal.SIGUSR1, lambda *_: wanted.append(1))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(42))
    while True:
        # Bounded, so that the digest can be checked in no time, however long the test takes.
        if check.turns < 50_000:
            check.work()
        else:
            check.turns = 0
            check.digest = hashlib.sha256()
        while wanted:
            wanted.pop()
            check.say()


main()
