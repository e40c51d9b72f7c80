"""For births_test.py: starts others when it is told to, and reports who began and how they ended, a line each.
USR1: a child. USR2: a daemon, forked twice, in a session of its own. HUP: a child that has a child. TERM: ends with 42.
Each child: TERM ends it with 9."""

import os
import signal
import sys
import time

REPORT = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)


def say(*words):
    os.write(REPORT, (" ".join(map(str, words)) + "\n").encode())


def live():
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
    while True:
        time.sleep(0.05)


def child(also=lambda: None):
    pid = os.fork()
    if pid == 0:
        also()
        live()
    say("child", pid)


def grandchild():
    pid = os.fork()
    if pid == 0:
        live()
    say("grandchild", pid)


def daemon():
    middle = os.fork()
    if middle == 0:
        os.setsid()
        pid = os.fork()
        if pid == 0:
            live()
        say("daemon", pid)
        os._exit(0)
    os.waitpid(middle, 0)


asked = {signal.SIGUSR1: child, signal.SIGUSR2: daemon, signal.SIGHUP: lambda: child(grandchild)}
signals = {*asked, signal.SIGTERM, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
say("parent", os.getpid())
while True:
    number = signal.sigwait(signals)
    if number in asked:
        asked[number]()
    while number == signal.SIGCHLD:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        say("ended", pid, os.waitstatus_to_exitcode(status))
    if number == signal.SIGTERM:
        sys.exit(42)
