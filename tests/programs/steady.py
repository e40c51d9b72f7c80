#!/usr/bin/python3
"""A program that is moved, and checks itself. Its last line says `good N` or what is wrong.

steady.py lines        answers each line of its input, which must be 1, 2, 3 .., with the same; until the end of input
steady.py file PATH    appends 1, 2, 3 .. to PATH, and looks now and then whether it is all there; until SIGTERM"""

import signal
import sys
import time

PAUSE_S = 0.05


def lines():
    count = 0
    for line in sys.stdin:
        count += 1
        if line != f"{count}\n":
            return f"wrong: {line!r} came instead of {count}"
        print(count, flush=True)
    return f"good {count}"


def numbers_in(path):
    with open(path) as file:
        return [int(line) for line in file]


def file(path):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    count = 0
    with open(path, "a") as out:
        while not ended:
            count += 1
            print(count, file=out, flush=True)
            if count % 20 == 0 and numbers_in(path) != list(range(1, count + 1)):
                return f"wrong: {path} after {count} lines"
            time.sleep(PAUSE_S)
    if numbers_in(path) != list(range(1, count + 1)):
        return f"wrong: {path} at the end"
    return f"good {count}"


if __name__ == "__main__":
    print({"lines": lines, "file": file}[sys.argv[1]](*sys.argv[2:]), flush=True)
