"""A program with terminals of its own, which it and its child use all the time: pty_user.py REPORT.

One is the child's controlling terminal and works in lines. What the parent types goes in pieces, now and then with a
Ctrl-C; the child answers each line by the next number, the parent wants the echo and the answer to the byte. The other
is raw, both sides are the parent's, and there is always something in its queues. SIGTERM: the child tells whether /dev/tty
is its terminal, the parent hangs up, the child has to end of that; the last word goes to REPORT."""

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
import tty

QUEUED = 600  # bytes that wait in the raw one
HUNG_UP = 7
LAST = b"last\n"


class Child:
    """In a session of its own."""

    def __init__(self):
        self.interrupts = 0
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, lambda *_: os._exit(HUNG_UP))
        signal.signal(signal.SIGINT, lambda *_: None)
        # After a move a call that it waited in begins anew: a signal that came meanwhile is handled before that.
        self.signals, wake = os.pipe2(os.O_NONBLOCK)
        signal.set_wakeup_fd(wake)
        self.before = self.look()

    @staticmethod
    def name():
        """Of the terminal. ttyname(3) compares device numbers; other nodes have others: ENODEV if it moves meanwhile."""
        for last in (False, False, True):
            try:
                return os.ttyname(0)
            except OSError as error:
                if last or error.errno != errno.ENODEV:
                    raise

    @classmethod
    def look(cls):
        return (cls.name(), os.stat(0).st_uid, os.getsid(0), os.tcgetpgrp(0), os.getppid())

    def hear_signals(self):
        for signo in os.read(self.signals, 100):
            if signo == signal.SIGINT:
                self.interrupts += 1
                os.write(1, f"int {self.interrupts}\n".encode())

    def serve(self):
        while True:
            ready = select.select([0, self.signals], [], [])[0]
            if self.signals in ready:
                self.hear_signals()
            if 0 not in ready:
                continue
            line = os.read(0, 4096)
            if line == LAST:
                # Not before: while it is open by that name, they stay where they are.
                with open("/dev/tty", "rb", buffering=0) as by_name:
                    os.write(1, b"last %d\n" % (os.tcgetpgrp(by_name.fileno()) == os.getpid()))
                continue
            if self.look() != self.before:
                os.write(1, f"{self.before} became {self.look()}\n".encode())
                return 1
            columns = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))[1]
            os.write(1, f"{int(line) + 1} {columns}\n".encode())


class Talk:
    def __init__(self):
        self.child, self.master = pty.fork()
        if self.child == 0:
            os._exit(Child().serve())
        self.interrupts = 0
        self.rounds = 0
        time.sleep(0.3)  # it has its handlers

    def type(self, text):
        os.write(self.master, text)

    def hear(self, count):
        """Nothing: the child has hung up."""
        try:
            return os.read(self.master, count)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""

    def rest(self):
        said = b""
        while len(said) < 4000 and select.select([self.master], [], [], 0.5)[0]:
            some = self.hear(4000)
            if not some:
                return said + b" and hung up, status %d" % os.waitpid(self.child, 0)[1]
            said += some
        return said

    def want(self, expected):
        said = b""
        deadline = time.monotonic() + 60
        while len(said) < len(expected) and time.monotonic() < deadline:
            if select.select([self.master], [], [], 1)[0]:
                some = self.hear(1)
                if not some:
                    break
                said += some
        if said != expected:
            said += self.rest()  # it may say why
            raise AssertionError(f"round {self.rounds}: {said!r} instead of {expected!r}")

    def round(self):
        self.rounds += 1
        number = b"%d" % (100_000_000 + self.rounds)
        columns = 80 + self.rounds % 100
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.type(number[:5])
        time.sleep(0.002)
        self.type(b"x\177" + number[5:])  # a slip, and the key that takes it back
        time.sleep(0.002)
        self.type(b"\n")
        self.want(number[:5] + b"x\b \b" + number[5:] + b"\r\n" + b"%d %d\r\n" % (int(number) + 1, columns))
        if self.rounds % 20 == 0:
            self.interrupts += 1
            self.type(b"\003")
            self.want(b"^Cint %d\r\n" % self.interrupts)

    def end(self):
        self.type(LAST)
        self.want(LAST[:-1] + b"\r\nlast 1\r\n")
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


class Raw:
    def __init__(self):
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.sent = self.received = 0
        self.fill()

    def fill(self):
        while self.sent - self.received < QUEUED:
            os.write(self.master, bytes([self.sent % 256]))
            os.write(self.slave, bytes([(self.sent + 7) % 256]))
            self.sent += 1

    def take(self, fd, count, plus):
        said = b""
        while len(said) < count:
            said += os.read(fd, count - len(said))
        if said != bytes((self.received + plus + i) % 256 for i in range(count)):
            raise AssertionError(f"raw, from {self.received}: {said!r}")

    def round(self):
        self.take(self.slave, 50, 0)
        self.take(self.master, 50, 7)
        self.received += 50
        self.fill()


def main(report):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    talk, raw = Talk(), Raw()
    with open(report, "w", buffering=1) as words:
        words.write(f"{os.getpid()} {talk.child} {os.ttyname(raw.slave)}\n")
        try:
            while not ended:
                talk.round()
                raw.round()
                if talk.rounds % 10 == 0:
                    words.write(f"{talk.rounds}\n")
            status = talk.end()
            words.write(f"good: {talk.rounds} rounds, {talk.interrupts} interrupts, child ends with {status}\n")
        except (AssertionError, OSError) as error:
            words.write(f"bad: {error!r}\n")


main(sys.argv[1])
