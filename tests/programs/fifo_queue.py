"""A program that keeps a queue of records in a named pipe which it has open for both directions: fifo_queue.py FIFO REPORT.

A child has it open, too, and writes; the parent reads. There is always something in the queue. The child's records are 1, 2, ..;
those of others (fifo_queue.py --write FIFO HOW-MANY) have a mark. SIGTERM: the child tells how many it has written, the parent
empties the queue and writes its last word to REPORT: how many there were, how many of others, how many somebody else has read."""

import os
import select
import signal
import struct
import sys
import time

RECORD = "QQ"  # who, count
SIZE = struct.calcsize(RECORD)
OWN, OTHERS = 1, 2
QUEUED = 20  # records that the child is ahead


def produce(fifo, told):
    """Keeps so many in the queue as it is told to."""
    ended, count = [], 0
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    while not ended:
        if select.select([told], [], [], 0.05)[0]:
            for _ in os.read(told, 100):
                count += 1
                os.write(fifo, struct.pack(RECORD, OWN, count))
    os._exit(0)


def main(path, report):
    ended = []
    fifo = os.open(path, os.O_RDWR)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        produce(fifo, told)
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    os.write(tell, b"." * QUEUED)
    last = others = missing = 0
    wrong = []
    with open(report, "w", buffering=1, encoding="ascii") as words:
        words.write(f"{os.getpid()}\n")
        while True:
            if not select.select([fifo], [], [], 1)[0]:
                if ended:
                    break
                os.write(tell, b".")  # somebody else took the last one
                continue
            who, count = struct.unpack(RECORD, os.read(fifo, SIZE))
            if who == OTHERS:
                others += 1
                words.write(f"others {others}\n")
                continue
            if who != OWN or count <= last:
                wrong.append(f"{who} {count} after {last}")
            missing += count - last - 1
            last = max(last, count)
            if not ended:
                os.write(tell, b".")
            time.sleep(0.001)
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        words.write(f"{'bad' if wrong else 'good'} {last} {others} {missing} {' '.join(wrong[:5])}\n")


if sys.argv[1] == "--write":
    out = os.open(sys.argv[2], os.O_WRONLY)
    for number in range(int(sys.argv[3])):
        os.write(out, struct.pack(RECORD, OTHERS, number))
else:
    main(*sys.argv[1:])
