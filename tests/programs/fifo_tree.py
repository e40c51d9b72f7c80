"""A tree that talks by a named pipe: fifo_tree.py FIFO REPORT. Two children share the writing end and count, each for itself, until
they get a SIGTERM; what a third one, which is none of the tree, writes there has the number 3. The parent reads until the end, and
says whether all came, in order: its last word goes to REPORT."""

import os
import signal
import struct
import sys
import time

RECORD = "QQ"  # who, count
SIZE = struct.calcsize(RECORD)


def write_until_told(writer, who):
    """How many."""
    ended, count = [], 0
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    while not ended:
        count += 1
        os.write(writer, struct.pack(RECORD, who, count))
        time.sleep(0.0005)
    return count


def read_record(reader):
    record = b""
    while len(record) < SIZE:
        piece = os.read(reader, SIZE - len(record))
        if not piece:
            break
        record += piece
    return record


def main(fifo, report):
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY)
    os.set_blocking(reader, True)
    children, counted = [], []
    for who in (1, 2):
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.close(told)
            os.write(tell, struct.pack("Q", write_until_told(writer, who)))
            os._exit(0)
        os.close(tell)
        children.append(child)
        counted.append(told)
    os.close(writer)
    with open(report, "w", encoding="ascii") as file:
        print("ready", *children, file=file, flush=True)
        last, wrong = {}, []
        while record := read_record(reader):
            who, count = struct.unpack(RECORD, record)
            if count != last.get(who, 0) + 1:
                wrong.append(f"{count} after {last.get(who, 0)} from {who}")
            last[who] = count
        for who, told in enumerate(counted, 1):
            count, = struct.unpack("Q", os.read(told, 8))
            if last[who] != count:
                wrong.append(f"{who} wrote {count}, and {last[who]} came")
        for _ in children:
            wrong += ["a child failed"] if os.wait()[1] else []
        print("; ".join(wrong[:5]) or "good", last.get(3, 0), sum(last.values()), file=file, flush=True)


if sys.argv[1] == "--write":
    print(write_until_told(os.open(sys.argv[2], os.O_WRONLY), 3), flush=True)
else:
    main(*sys.argv[1:])
