#!/usr/bin/python3
"""A program under filters for system calls (seccomp): filtered.py REPORT CALL[=DEATH|=ARGUMENT].. makes each of these calls fail with
EPERM: `mkdir`; or, `ptrace=death`, kill it; or, `socket=1`, fail only with that first argument. One filter for each, so they are a chain.
It looks all the time whether mkdir is forbidden, and whether other calls are not. SIGUSR1: a line of JSON for REPORT. SIGTERM: 42."""

import ctypes
import json
import os
import signal
import struct
import sys

NUMBERS = {"mkdir": 83, "ptrace": 101, "sendto": 44, "socket": 41, "getpid": 39}
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL, KILL = 0x7fff0000, 0x00050000 | 1, 0x80000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2

libc = ctypes.CDLL(None, use_errno=True)


def forbid(name, how):
    program = [(LOAD, 0, 0, 0), (EQUAL, 0, 3 if how.isdigit() else 1, NUMBERS[name])]
    if how.isdigit():
        program += [(LOAD, 0, 0, 16), (EQUAL, 0, 1, int(how))]
    program += [(RETURN, 0, 0, KILL if how == "death" else FAIL), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_SECCOMP, FILTER, filters, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"forbid {name}")


def main():
    report, wrong, rounds, asked, ended = sys.argv[1], set(), 0, [], []
    for word in sys.argv[2:]:
        name, _, how = word.partition("=")
        forbid(name, how)
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(True))
    while not ended:
        rounds += 1
        if libc.mkdir(b"/tmp/forbidden", 0o755) != -1 or ctypes.get_errno() != 1:
            wrong.add("mkdir is not forbidden")
        if not os.path.isdir("/tmp"):
            wrong.add("something else is")
        if asked:
            asked.pop()
            with open(report, "a") as lines:
                print(json.dumps({"rounds": rounds, "wrong": sorted(wrong)}), file=lines)
    print("PASS" if not wrong else f"FAIL: {sorted(wrong)}", flush=True)
    sys.exit(42)


if __name__ == "__main__":
    main()
