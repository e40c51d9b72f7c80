#!/usr/bin/python3
"""Stays at home and is the parent of a steady.py, which is moved: steady_home.py pipe|terminal|file [PATH]. Prints its PID; then, at
the end of its own input, ends it and prints what it saw as one line of JSON: how many rounds, the longest and the last of them in ms,
what was wrong, the program's last line, and how it ended (as `$?` would say).

Through a pipe and through a terminal it counts: a number there, the same number back, twenty times a second."""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

STEADY = str(Path(__file__).with_name("steady.py"))
PAUSE_S = 0.05
ANSWER_S = 60


def start(kind, path):
    """(the process, descriptor to write to, descriptor to read from)"""
    if kind != "terminal":
        command = [STEADY, "lines"] if kind == "pipe" else [STEADY, "file", path]
        child = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE if kind == "pipe" else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return child, child.stdin and child.stdin.fileno(), child.stdout.fileno()
    master, slave = pty.openpty()
    if os.getsid(0) == os.getpid():
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    modes = termios.tcgetattr(slave)
    modes[1] &= ~termios.ONLCR
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    child = subprocess.Popen([sys.executable, STEADY, "lines"], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    return child, master, master


class Lines:
    def __init__(self, fd):
        self.fd, self.got = fd, b""

    def next(self):
        """The next whole line; empty: the end, or nothing in time."""
        while b"\n" not in self.got:
            if not select.select([self.fd], [], [], ANSWER_S)[0]:
                return ""
            try:
                piece = os.read(self.fd, 4096)
            except OSError:  # a terminal that nobody has any more
                piece = b""
            if not piece:
                return ""
            self.got += piece
        line, _, self.got = self.got.partition(b"\n")
        return line.decode()


def count(to, answers):
    """Until the end of our input."""
    rounds, longest, last, wrong = 0, 0, 0, ""
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        rounds += 1
        since = time.monotonic()
        try:
            os.write(to, b"%d\n" % rounds)
        except OSError as error:
            wrong = repr(error)
            break
        if (answer := answers.next()) != str(rounds):
            wrong = f"{answer!r} is no answer to {rounds}"
            break
        last = time.monotonic() - since
        longest = max(longest, last)
    return {"rounds": rounds, "longest_ms": longest * 1000, "last_ms": last * 1000, "wrong": wrong}


def main(kind, path=None):
    child, to, back = start(kind, path)
    print(child.pid, flush=True)
    answers = Lines(back)
    saw = {} if kind == "file" else count(to, answers)
    sys.stdin.read()
    if kind == "file":
        child.send_signal(signal.SIGTERM)
    elif kind == "terminal":
        os.write(to, b"\x04")
    else:
        child.stdin.close()
    last_line = answers.next()
    while line := kind == "file" and answers.next():
        last_line = line
    status = child.wait(ANSWER_S)
    print(json.dumps({**saw, "said": last_line, "status": 128 - status if status < 0 else status}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
