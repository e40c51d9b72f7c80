"""A person at a terminal: types into a command on a lab node, and sees what it shows."""

import fcntl
import os
import re
import select
import struct
import termios
import time


class Terminal:
    def __init__(self, lab, node, command, rows=30, columns=100):
        self.master, slave = os.openpty()
        self.resize(rows, columns)
        self.process = lab.popen(
            node, command, tty=True, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.shown = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.master, keys.encode())

    def expect(self, pattern, timeout=20):
        """Waits until that is shown; returns the match. What was shown up to it is forgotten."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.shown)):
            left = deadline - time.monotonic()
            if left <= 0 or not self.read(left):
                raise AssertionError(f"{pattern!r} was not shown, but: {self.shown!r}")
        self.shown = self.shown[found.end():]
        return found

    def read(self, timeout):
        if not select.select([self.master], [], [], timeout)[0]:
            return True
        try:
            piece = os.read(self.master, 65536)
        except OSError:
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)

    def quiet(self, seconds):
        """What is shown in that time, and is forgotten."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self.read(left):
            pass
        shown, self.shown = self.shown, ""
        return shown

    def close(self):
        os.close(self.master)  # hangs up
        try:
            self.process.wait(10)
        except Exception:
            self.process.kill()
            raise
