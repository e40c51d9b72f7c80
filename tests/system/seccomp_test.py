#!/usr/bin/python3
"""A program under filters for system calls is moved, and stays under them; its deputy is, too. One whose deputy could not work is
refused before it is frozen, and goes on."""

import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from probe import Program  # noqa: E402

NODES = 3
MOVES = 20
PROGRAM = Path(__file__).resolve().parents[1] / "programs/filtered.py"


class Seccomp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(NODES, name="t_seccomp")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def start(self, name, filters):
        return Program(self.lab, 1, name, PROGRAM, "exec python3 {program} {report} " + filters)

    def mode(self, program):
        """Of the process at home: the original, or its deputy."""
        status = self.lab.path(1, f"/proc/{program.pid}/status").read_text()
        return [line.split()[1] for line in status.splitlines() if line.startswith("Seccomp:")]

    def test_a_filtered_program_moves(self):
        program = self.start("filtered", "mkdir ptrace=death socket=2 getpid")
        rounds = 0
        for i in range(MOVES):
            observe.migrate(self.lab, program.pid, (i + 1) % NODES + 1, options=["--wait"])
            self.assertEqual(self.mode(program), ["2"])
            report = program.report()  # its deputy forwards the signal
            self.assertEqual(report["wrong"], [], f"move {i + 1}")
            self.assertGreater(report["rounds"], rounds)
            rounds = report["rounds"]
        program.kill(signal.SIGSTOP)
        program.kill(signal.SIGCONT)
        self.assertEqual(program.end(), 42)
        self.assertEqual(program.rest_of_output(), "PASS\n")
        observe.nothing_left(self.lab)

    def test_a_killed_one_is_seen_as_killed(self):
        program = self.start("killed", "mkdir")
        observe.migrate(self.lab, program.pid, 2)
        program.kill(signal.SIGKILL)
        self.assertEqual(program.wait(), 128 + signal.SIGKILL)

    def test_what_would_forbid_its_deputy_to_work(self):
        for filters, call in (("mkdir sendto", "sendto"), ("mkdir socket=1", "socket"),
                              ("mkdir sendto=death ptrace", "sendto")):
            program = self.start(call, filters)
            done = self.lab.run(1, ["migrate", str(program.pid), "2"], check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(f"it runs under a system call filter (seccomp) that may forbid its deputy to call {call}(2)",
                          done.stderr)
            self.assertEqual(program.report()["wrong"], [])
            self.assertEqual(program.end(), 42)


if __name__ == "__main__":
    unittest.main(verbosity=2)
