#!/usr/bin/python3
"""Records that many append to one file (posix_fs_test.py):
  write PATH NAME COUNT     appends COUNT records
  follow PATH COUNT         reads as `tail -f` does until it has seen so many, all whole and in order
  map PATH COUNT            the same by mapping the file
  count PATH HOW COUNT      adds 1 to the number in the file so often, under a lock (fcntl or flock), with one descriptor
  look PATH HOW             for each line of its input: what is in the file, read under a shared lock
  check PATH NAMES COUNT    each of NAMES has its COUNT records there, once, whole, in order; and nothing else is there"""

import fcntl
import mmap
import os
import random
import sys
import time
import zlib

TIMEOUT_S = 120


def record(name, number):
    body = f"{name} {number} ".encode() + bytes(random.choices(b"abcdefgh", k=random.choice((0, 10, 100, 1000, 5000))))
    return b"%08x " % zlib.crc32(body) + body + b"\n"


def write(path, name, count):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    for number in range(int(count)):
        text = record(name, number)
        written = os.write(fd, text)
        assert written == len(text), f"{written} of {len(text)} bytes were written"


class Seen:
    def __init__(self):
        self.next = {}
        self.count = 0

    def add(self, line):
        crc, body = line.split(b" ", 1)
        assert zlib.crc32(body) == int(crc, 16), f"torn: record {self.count}: {line[:60]}..."
        name, number = body.split(b" ")[:2]
        assert self.next.get(name, 0) == int(number), f"{name}: {number} instead of {self.next.get(name, 0)}"
        self.next[name] = int(number) + 1
        self.count += 1


def take_lines(text, seen):
    """What is left behind the last whole line."""
    *lines, rest = text.split(b"\n")
    for line in lines:
        seen.add(line)
    return rest


def follow(path, count):
    seen, rest, started = Seen(), b"", time.monotonic()
    fd = os.open(path, os.O_RDONLY)
    while seen.count < int(count):
        more = os.read(fd, 1 << 16)
        rest = take_lines(rest + more, seen)
        if not more:
            assert time.monotonic() - started < TIMEOUT_S, f"only {seen.count} records"
            time.sleep(0.05)
    assert rest == b"", rest
    print(f"followed {seen.count} records in {time.monotonic() - started:.1f} s")


def map_it(path, count):
    started, size, seen, rest = time.monotonic(), 0, Seen(), b""
    fd = os.open(path, os.O_RDONLY)
    while seen.count < int(count):
        grown = os.fstat(fd).st_size
        assert grown >= size, f"it has become shorter: {grown}, not {size}"
        if grown > size:
            with mmap.mmap(fd, grown, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
                rest = take_lines(rest + mapped[size:grown], seen)
            size = grown
        else:
            assert time.monotonic() - started < TIMEOUT_S, f"only {seen.count} records"
            time.sleep(0.05)
    print(f"mapped {seen.count} records")


def count_up(path, how, count):
    fd = os.open(path, os.O_RDWR)
    lock = fcntl.lockf if how == "fcntl" else fcntl.flock
    for _ in range(int(count)):
        lock(fd, fcntl.LOCK_EX)
        number = int(os.pread(fd, 100, 0))
        os.pwrite(fd, b"%08d" % (number + 1), 0)
        lock(fd, fcntl.LOCK_UN)


def look(path, how):
    fd = os.open(path, os.O_RDWR)
    lock = fcntl.lockf if how == "fcntl" else fcntl.flock
    for _ in sys.stdin:
        lock(fd, fcntl.LOCK_SH)
        print(os.pread(fd, 100, 0).decode(), flush=True)
        lock(fd, fcntl.LOCK_UN)


def check(path, names, count):
    seen = Seen()
    with open(path, "rb") as file:
        assert take_lines(file.read(), seen) == b""
    assert seen.next == {name.encode(): int(count) for name in names}, seen.next


{"write": write, "follow": follow, "map": map_it, "count": count_up, "look": look, "check": check}[sys.argv[1]](*sys.argv[2:])
