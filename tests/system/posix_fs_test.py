#!/usr/bin/python3
"""Is a view a file system? tests/programs/posix_fs.py on a node's own disk (where nothing may fail), over /cluster/node/N, inside a
realm and in a realm over /cluster/node/N; and four writers on three nodes that append to one file, which others read
meanwhile. docs/cluster-fs.md has what is not as POSIX wants it, and why."""

import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402

NODES = (1, 2, 3)
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
CASES = "/var/tmp/posix_fs.py"
APPENDER = "/var/tmp/appender.py"
RECORDS = 2000


class PosixFs(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_posix")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)
        for node in NODES:
            for program in (CASES, APPENDER):
                shutil.copy(PROGRAMS / Path(program).name, cls.lab.path(node, program))
            for other in NODES:
                cls.lab.wait_for(lambda node=node, other=other: cls.lab.run(
                    node, ["cat", f"/cluster/node/{other}/etc/hostname"], check=False).returncode == 0, 20, "all are shown")

    def cases(self, prefix, directory):
        done = self.lab.run(1, [*prefix, "python3", "-B", CASES, directory], check=False, timeout=200)
        lines = done.stdout.strip().splitlines()
        print(f"\n    {' '.join(prefix) or 'n1'}, {directory}: {lines[-1] if lines else done.stderr}", file=sys.stderr)
        self.assertEqual((lines[:-1], done.stderr, done.returncode), ([], "", 0))
        checks, failed, _ = map(int, re.findall(r"\d+", lines[-1]))
        self.assertGreater(checks, 1300)

    def test_the_yardstick(self):
        self.cases([], "/var/tmp")

    def test_over_another_node(self):
        self.cases([], "/cluster/node/2/var/tmp")

    def test_over_the_node_itself(self):
        self.cases([], "/cluster/node/1/var/tmp")

    def test_over_a_tmpfs(self):
        self.cases([], "/cluster/node/3/tmp")

    def test_in_a_realm(self):
        self.cases(["runon", "2"], "/var/tmp")

    def test_in_a_realm_over_another_node(self):
        self.cases(["runon", "2"], "/cluster/node/3/var/tmp")

    def test_four_append_from_three_nodes(self):
        """Records of many lengths, each written by one write: every one is there once, whole, each writer's in their order. Somebody
        follows the file as `tail -f` does, another maps it."""
        self.sh(1, "rm -rf /var/tmp/log; : > /var/tmp/log")
        at = "/cluster/node/1/var/tmp/log"
        plan = [(1, "a", "/var/tmp/log"), (1, "b", at), (2, "c", at), (3, "d", at)]
        expected = str(len(plan) * RECORDS)
        readers = [self.start(node, how, path, expected) for node, how, path in (
            (1, "follow", at), (2, "follow", at), (3, "follow", at), (1, "map", "/var/tmp/log"))]
        guests = [self.start(1, how, "/var/tmp/log", expected, prefix=["runon", to])
                  for how, to in (("follow", "2"), ("map", "3"))]
        writers = [self.start(node, "write", path, name, str(RECORDS)) for node, name, path in plan]
        for process in (*writers, *readers, *guests):
            said, error = process.communicate(timeout=150)
            self.assertEqual((process.returncode, error), (0, ""), said)
        print(f"\n    {said.strip()}", file=sys.stderr)
        self.lab.run(1, ["python3", "-B", APPENDER, "check", "/var/tmp/log", "abcd", str(RECORDS)])
        self.lab.run(2, ["python3", "-B", APPENDER, "check", at, "abcd", str(RECORDS)])

    def test_what_a_lock_protects_is_seen_by_who_gets_it(self):
        """Three nodes and a guest add to one number, as many a database does: no addition is lost."""
        at = "/cluster/node/1/var/tmp/number"
        for how in ("fcntl", "flock"):
            with self.subTest(how):
                self.sh(1, "echo 00000000 > /var/tmp/number")
                adders = [self.start(1, "count", "/var/tmp/number", how, "200"), self.start(2, "count", at, how, "200"),
                          self.start(3, "count", at, how, "200"),
                          self.start(1, "count", "/var/tmp/number", how, "200", prefix=["runon", "2"])]
                for process in adders:
                    _, error = process.communicate(timeout=120)
                    self.assertEqual((process.returncode, error), (0, ""))
                self.assertEqual(self.sh(1, "cat /var/tmp/number").stdout, "00000800\n")

    def test_what_was_written_before_a_lock_is_read_under_it(self):
        """By one who only reads, again and again, within the second for which attributes are believed."""
        for how in ("fcntl", "flock"):
            self.sh(1, "echo 00000000 > /var/tmp/seen")
            for prefix, node, path in (([], 2, "/cluster/node/1/var/tmp/seen"), (["runon", "2"], 1, "/var/tmp/seen")):
                with self.subTest(how, path=path), open(self.lab.path(1, "/var/tmp/seen"), "r+b", buffering=0) as file:
                    looker = self.lab.popen(node, [*prefix, "python3", "-B", APPENDER, "look", path, how], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True)
                    self.addCleanup(looker.stdout.close)
                    self.addCleanup(looker.wait, 30)
                    self.addCleanup(looker.stdin.close)
                    for number in range(30):
                        file.seek(0)
                        file.write(b"%08d" % number)
                        looker.stdin.write("look\n")
                        looker.stdin.flush()
                        self.assertEqual(looker.stdout.readline().strip(), f"{number:08}")
                        self.assertIn(looker.stdout.readline(), "\n")

    def sh(self, node, line):
        return self.lab.run(node, ["sh", "-c", line])

    def start(self, node, *arguments, prefix=()):
        return self.lab.popen(node, [*prefix, "python3", "-B", APPENDER, *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
