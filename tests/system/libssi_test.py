#!/usr/bin/python3
"""What a program says to its cluster by libssi (shim/ssi.h), at home and away."""

import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402

LIBRARY = "libssi.so.1"
# Does what it is told, a word a line: "pin" is ssi_pin(); says what that returned, and errno.
PROGRAM = f"""
import ctypes, os, sys
ssi = ctypes.CDLL("/root/{LIBRARY}", use_errno=True)
print(os.getpid(), flush=True)
while words := sys.stdin.readline().split():
    ctypes.set_errno(0)
    print(getattr(ssi, "ssi_" + words[0])(*map(int, words[1:])), ctypes.get_errno(), flush=True)
"""


class LibSsi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(2, name="t_libssi")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)
        cls.lab.run(1, ["loadlevel", "off"])
        built = cls.lab.state.checkout / "build" / cls.lab.preset / "bin" / LIBRARY
        cls.lab.path(1, f"/root/{LIBRARY}").write_bytes(built.read_bytes())
        cls.lab.path(1, "/root/program").write_text(PROGRAM)

    def setUp(self):
        self.program = self.lab.popen(
            1, ["python3", "-u", "/root/program"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.addCleanup(self.end)
        self.pid = int(self.program.stdout.readline())

    def end(self):
        self.program.stdin.close()
        self.program.wait(20)
        self.program.stdout.close()

    def call(self, *words):
        """What it returned; errno is 0."""
        self.program.stdin.write(" ".join(map(str, words)) + "\n")
        result, error = map(int, self.program.stdout.readline().split())
        self.assertEqual(error if result < 0 else 0, 0, words)
        return result

    def status(self):
        row = observe.ask(self.lab, 1, "loadlevel", "status", str(self.pid))
        return row["enabled"], row["reason"]

    def test_where_it_runs(self):
        self.assertEqual(self.call("where"), 1)
        for node in (2, 1, 2):
            observe.migrate(self.lab, self.pid, node)
            self.assertEqual(self.call("where"), node)

    def test_it_marks_itself(self):
        for move in (None, 2, 1):
            if move:
                observe.migrate(self.lab, self.pid, move)
            self.assertEqual(self.call("loadlevel", 1), 0)
            self.assertEqual(self.status(), (True, "enabled by uid 0"))
            self.assertEqual(self.call("loadlevel", 0), 0)
            self.assertEqual(self.status(), (False, "disabled by uid 0"))

    def test_while_it_is_pinned_nobody_moves_it(self):
        for at, to in ((1, 2), (2, 1)):
            self.assertEqual((self.call("pin"), self.call("pin")), (0, 0))
            pinned = (1, f"migrate: {self.pid}: it has pinned itself where it is for now (ssi_pin)")
            self.assertEqual(observe.try_to_migrate(self.lab, self.pid, to), pinned)
            self.assertEqual(self.call("unpin"), 0)
            self.assertEqual(observe.try_to_migrate(self.lab, self.pid, to), pinned)
            self.assertEqual(self.call("where"), at)
            self.assertEqual(self.call("unpin"), 0)
            observe.migrate(self.lab, self.pid, to)
            self.assertEqual(self.call("where"), to)

    def test_who_waits_moves_it_when_it_is_free(self):
        self.call("pin")
        waiting = self.lab.popen(1, ["migrate", "--wait", str(self.pid), "2"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        with self.assertRaises(subprocess.TimeoutExpired):
            waiting.wait(1)
        self.assertEqual(self.call("where"), 1)
        self.call("unpin")
        self.assertIn(f"{self.pid}: 1 -> 2", waiting.communicate(timeout=30)[0])
        self.assertEqual(self.call("where"), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
