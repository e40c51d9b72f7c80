#!/usr/bin/python3
"""One process after the other is moved around three nodes, again and again: after each move it checks its own
memory and descriptors, its PID and parent at home are what they were, and at the end its shell sees the true
exit status. Prints a table of what was moved."""

import statistics
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from probe import Probe, Program  # noqa: E402

NODES = 3
MOVES = 200
MOVES_OF_A_BIG_ONE = 20
MOVES_WITH_A_SIGNAL = 30
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"


class Moves(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(NODES, name="t_moves")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)
        cls.rows = []

    @classmethod
    def tearDownClass(cls):
        titles = ["program", "MiB", "threads", "descriptors", "moves", "ok", "frozen ms: median", "max", "s"]
        if cls.rows:
            print("\n" + observe.table(titles, cls.rows), flush=True)

    def move_around(self, name, program, moves, after_move=lambda i: None):
        """Moves it 1 -> 2 -> 3 -> 1 ..; every move is followed by a report."""
        kinds = observe.descriptor_kinds(self.lab, 1, program.pid)
        threads = observe.threads_of(self.lab, 1, program.pid)
        frozen_ms, memory_bytes, ok = [], 0, 0
        started = time.monotonic()
        try:
            for i in range(moves):
                to = (i + 1) % NODES + 1
                answer = observe.migrate(self.lab, program.pid, to)
                frozen_ms.append(answer["frozen_ms"])
                memory_bytes = max(memory_bytes, answer["memory_bytes"])
                report = program.report(timeout_s=60)
                after_move(i)
                where = f"{name}, move {i + 1} to node {to}: {report}"
                self.assertTrue(report["memory_good"], where)
                self.assertTrue(report["descriptors_good"], where)
                self.assertTrue(report["same_pid"], where)
                self.assertEqual(report["pid"], program.pid, where)
                self.assertEqual(observe.parent_of(self.lab, 1, program.pid), program.shell_pid, where)
                ok += 1
            self.assertEqual(program.reports, program.asked)
            self.assertEqual(len(observe.copies(self.lab, program.report_path)), 1)
        finally:
            self.rows.append([
                name, memory_bytes / 2**20, threads,
                ", ".join(f"{n} {kind}s" if n > 1 else kind for kind, n in sorted(kinds.items())),
                moves, ok, statistics.median(frozen_ms or [0]), max(frozen_ms or [0]),
                time.monotonic() - started,
            ])

    def assert_ends(self, program):
        """Its parent sees how it ended, and who reads its output that it did."""
        self.assertEqual(program.end(), 42)
        self.assertEqual(program.rest_of_output(), "")

    def test_a_small_one(self):
        probe = Probe(self.lab, 1, name="small")
        self.move_around("probe", probe, MOVES)
        self.assert_ends(probe)

    def test_one_of_an_ordinary_user(self):
        self.lab.run(1, ["chmod", "1777", "/root"])  # its report is there
        probe = Probe(
            self.lab, 1, name="users",
            prefix=["exec setpriv --reuid 1000 --regid 1001 --groups 1001,44 --inh-caps -all"])
        self.move_around("probe, uid 1000", probe, MOVES_OF_A_BIG_ONE)
        groups = [line.split()[1:] for line in self.lab.path(1, f"/proc/{probe.pid}/status").read_text()
                  .splitlines() if line.startswith(("Uid:", "Gid:", "Groups:"))]
        self.assertEqual(groups, [["1000"] * 4, ["1001"] * 4, ["44", "1001"]])
        self.assert_ends(probe)

    def test_thirty_two_threads(self):
        probe = Probe(self.lab, 1, threads=32, name="threads")
        turns = [probe.report()["turns"]]

        def all_work(_):
            turns.append(probe.lines()[-1]["turns"])
            self.assertGreater(turns[-1], turns[-2])

        self.move_around("probe", probe, MOVES, all_work)
        self.assert_ends(probe)

    def test_a_python_program(self):
        program = Program(
            self.lab, 1, "self_check.py", PROGRAMS / "self_check.py", "exec python3 {program} {report}")
        self.assertEqual(program.shell.stdout.readline(), "said 1\n")

        def says_it(i):
            self.assertEqual(program.shell.stdout.readline(), f"said {i + 2}\n")

        self.move_around("python3", program, MOVES, says_it)
        self.assert_ends(program)

    def test_a_perl_program(self):
        program = Program(
            self.lab, 1, "self_check.pl", PROGRAMS / "self_check.pl", "exec perl {program} {report}",
            stdin=subprocess.PIPE)

        def answers(i):
            program.shell.stdin.write(f"question {i}\n")
            program.shell.stdin.flush()
            self.assertEqual(program.shell.stdout.readline(), f"{i + 1} question {i}\n")

        self.move_around("perl", program, MOVES, answers)
        # The end of a pipe arrives, too, wherever the program reads it.
        program.shell.stdin.close()
        program.shell.stdin = None
        self.assertEqual(program.rest_of_output(), "")
        self.assertEqual(program.wait(), 43)

    def test_a_heap_of_one_gib(self):
        probe = Probe(self.lab, 1, memory_mib=1024, name="big")
        self.move_around("probe", probe, MOVES_OF_A_BIG_ONE)
        self.assert_ends(probe)

    def test_a_signal_in_the_midst_of_a_move(self):
        """It arrives, once, wherever the process is by then."""
        probe = Probe(self.lab, 1, name="signalled")
        for i in range(MOVES_WITH_A_SIGNAL):
            to = (i + 1) % NODES + 1
            mover = self.lab.popen(
                1, ["migrate", str(probe.pid), str(to)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True)
            time.sleep(i * 0.005)  # not waiting for anything: at another moment of each move
            try:
                report = probe.report(timeout_s=20)
            except TimeoutError as lost:
                self.fail(f"move {i + 1}, to node {to}: {lost}")
            finally:
                said = mover.communicate(timeout=60)[0]
            self.assertEqual(mover.returncode, 0, said)
            self.assertTrue(report["memory_good"] and report["descriptors_good"], report)
        self.assert_ends(probe)

    def test_its_neighbours_in_a_pipeline_see_its_end(self):
        """Whoever writes to it gets SIGPIPE, whoever reads from it the end of the pipe."""
        pipeline = "yes | perl /root/relay.pl | wc -c; echo ${PIPESTATUS[*]}"
        script = 'open F, ">/root/relay.pid"; print F $$; close F; while (<STDIN>) { print if /x/ }'
        self.lab.path(1, "/root/relay.pl").write_text(script)
        pid_file = self.lab.path(1, "/root/relay.pid")
        for moves in ([2], [2, 3], [2, 1]):
            pid_file.unlink(missing_ok=True)
            shell = self.lab.popen(1, ["bash", "-c", pipeline], stdout=subprocess.PIPE, text=True)
            pid = self.lab.wait_for(lambda: pid_file.exists() and pid_file.read_text(), 10, "the PID")
            for to in moves:
                observe.migrate(self.lab, pid, to)
            self.lab.run(1, ["kill", "-TERM", pid])
            try:
                said = shell.communicate(timeout=30)[0]
            finally:
                shell.kill()
            self.assertEqual(said, "0\n141 143 0\n", f"moved to {moves}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
