"""A tree of processes that shares what such trees share and looks all the time whether it is still so:
tree.py REPORT. A parent, two children and a grandchild; a counter in shared memory that all of them raise by
turns, a pipe to each child and one back. Every line on standard output is one more than the last. SIGUSR1: the
first child is ended and waited for, another is started. SIGTERM: the children end with 11, 12, ..; the parent
waits for them, writes its last word to REPORT and ends with 42."""

import mmap
import os
import signal
import struct
import sys
import time

COUNTER = struct.Struct("<Q")
MEMORY = mmap.mmap(-1, 1 << 20)  # shared
FILLED = bytes(range(256)) * 1024  # 256 KiB of it


def raise_counter():
    MEMORY[:8] = COUNTER.pack(COUNTER.unpack(MEMORY[:8])[0] + 1)


def counted():
    return COUNTER.unpack(MEMORY[:8])[0]


class Child:
    """Answers each "?" by another after it has raised the counter; number 1 has a child of its own that does it."""

    def __init__(self, number):
        self.number = number
        from_parent, self.to_child = os.pipe()
        self.from_child, to_parent = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.to_child)
            os.close(self.from_child)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os._exit(self.serve(parent, from_parent, to_parent))
        os.close(from_parent)
        os.close(to_parent)

    def serve(self, parent, source, sink):
        grandchild = Child(9) if self.number == 1 else None
        me = os.getpid()
        private = bytearray(FILLED)
        while (byte := os.read(source, 1)) == b"?":
            if os.getpid() != me or os.getppid() != parent:
                return 90
            if MEMORY[4096:4096 + len(FILLED)] != FILLED or private != FILLED:
                return 91
            if grandchild:
                if not grandchild.ask():
                    return 92
            else:
                raise_counter()
            os.write(sink, byte)
        if grandchild and grandchild.end() != 19:
            return 93
        return 10 + self.number

    def ask(self):
        before = counted()
        try:
            os.write(self.to_child, b"?")
        except BrokenPipeError:
            return False
        return os.read(self.from_child, 1) == b"?" and counted() == before + 1

    def end(self):
        os.write(self.to_child, b".")
        os.close(self.to_child)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.from_child)
        return os.waitstatus_to_exitcode(status)


def main(report):
    def say(word):
        with open(report, "a", encoding="ascii") as file:
            file.write(word + "\n")

    wanted = []
    signal.signal(signal.SIGTERM, lambda *_: wanted.append(signal.SIGTERM))
    signal.signal(signal.SIGUSR1, lambda *_: wanted.append(signal.SIGUSR1))
    MEMORY[4096:4096 + len(FILLED)] = FILLED
    children = [Child(1), Child(2)]
    say(" ".join(str(pid) for pid in [os.getpid(), *(child.pid for child in children)]))
    lines = 0
    while signal.SIGTERM not in wanted:
        for child in children:
            if not child.ask():
                say(f"child {child.number} does not answer")
                return 1
        print(lines, flush=True)
        lines += 1
        if signal.SIGUSR1 in wanted:
            wanted.remove(signal.SIGUSR1)
            status = children.pop(0).end()
            children.append(Child(3))
            say(f"ended {status}, began {children[-1].pid}")
        time.sleep(0.002)
    ends = [child.end() for child in children]
    say(f"good: {lines} lines, {counted()} counted, ends {ends}")
    return 42


sys.exit(main(sys.argv[1]))
