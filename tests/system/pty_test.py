#!/usr/bin/python3
"""Programs with terminals of their own move with both sides of them: tests/programs/pty_user.py around three nodes, while
somebody types, and is interrupted by Ctrl-C, at each place. It is judged by its own last word."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402

NODES = 3
MOVES = 50
BETWEEN_S = 0.03
FAULTS = "/run/ssid/faults"
PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "pty_user.py"
GOOD = re.compile(r"good: (\d+) rounds, (\d+) interrupts, child ends with 7")


class User:
    def __init__(self, lab, name):
        self.lab = lab
        self.report = lab.path(1, f"/root/pty.{name}")
        lab.path(1, "/root/pty_user.py").write_bytes(PROGRAM.read_bytes())
        self.shell = lab.popen(
            1, ["sh", "-c", f"/usr/bin/python3 /root/pty_user.py /root/pty.{name} </dev/null >/dev/null 2>&1"
                " & echo $!; wait $!; exit $?"], stdout=subprocess.PIPE, text=True)
        self.pid = int(self.shell.stdout.readline())
        lab.wait_for(lambda: len(self.words()) > 1, 20, "the program to begin")
        self.child = int(self.words()[0].split()[1])
        self.terminal = self.words()[0].split()[2]

    def words(self):
        return self.report.read_text().splitlines() if self.report.exists() else []

    def goes_on(self):
        before = len(self.words())
        self.lab.wait_for(lambda: len(self.words()) > before, 20, "it goes on")

    def move(self, to):
        return observe.ask(self.lab, 1, "migrate", "--tree", str(self.pid), str(to))

    def try_to_move(self, to):
        said = self.lab.run(1, ["migrate", "--tree", str(self.pid), str(to)], check=False)
        return said.returncode, said.stderr

    def end(self):
        self.lab.run(1, ["kill", "-TERM", str(self.pid)])
        status = self.shell.wait(20)
        self.shell.stdout.close()
        return self.words()[-1], status


class Ptys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(NODES, name="t_pty", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def assert_good(self, user, rounds):
        word, status = user.end()
        found = GOOD.fullmatch(word)
        self.assertTrue(found, word)
        self.assertEqual(status, 0)
        self.assertGreaterEqual(int(found[1]), rounds)
        observe.nothing_left(self.lab)
        return found

    def test_around_three_nodes_while_somebody_types(self):
        user = User(self.lab, "around")
        frozen = []
        for i in range(MOVES):
            frozen.append(user.move((i + 1) % NODES + 1)["frozen_ms"])
            time.sleep(BETWEEN_S)
        found = self.assert_good(user, MOVES)
        print(f"\n{MOVES} moves, {found[1]} rounds, {found[2]} interrupts, frozen: median "
              f"{sorted(frozen)[MOVES // 2]:.0f} ms, at most {max(frozen):.0f} ms", flush=True)

    def test_a_move_that_comes_to_nothing(self):
        """What was in the queues is there again, once."""
        user = User(self.lab, "aborted")
        for at, to in ((1, 2), (2, 3), (3, 1)):
            for step in ("after_freeze", "after_dump", "after_restore"):
                self.lab.path(at, FAULTS).write_text(f"migrate.{step} error\n")
                status, said = user.try_to_move(to)
                self.assertNotEqual(status, 0, step)
                self.assertIn("fault", said)
                user.goes_on()
            user.move(to)
        self.assert_good(user, 30)

    def test_who_stays_and_has_a_side_of_it_keeps_it_there(self):
        user = User(self.lab, "shared")
        holder = self.lab.popen(1, ["sh", "-c", f"exec sleep 1000 3<>{user.terminal}"])
        self.lab.wait_for(lambda: self.holds(holder, user.terminal), 10, "another has it open")
        status, said = user.try_to_move(2)
        self.assertNotEqual(status, 0)
        self.assertIn("(a pty master)", said)
        self.assertIn("uses, too", said)
        holder.kill()
        holder.wait()
        user.move(2)
        self.assert_good(user, 1)

    def holds(self, holder, terminal):
        said = self.lab.run(1, ["sh", "-c", f"ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c -- '3 -> {terminal}$'"], check=False)
        return said.stdout.strip() not in ("", "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
