#!/usr/bin/python3
"""What a guest starts away from home is known there: it has the PID that it has where it runs, a deputy below its
parent's, and can be signalled, seen and moved like every other."""

import signal
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402

NODES = (1, 2, 3)
SETTLED_S = 30
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"

# Comes, is greeted and goes, until it is told that it is enough; says how often it was greeted.
CLIENT = """
import select, socket, sys
greeted = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    with socket.create_connection(("127.0.0.1", 7007), timeout=20) as s, s.makefile() as lines:
        assert lines.readline() == "hello\\n"
        greeted += 1
print(greeted)
"""


class Parent:
    """tests/programs/parent.py, or another, of node 1."""

    def __init__(self, lab, name, user=(), program="parent.py", arguments=()):
        self.lab = lab
        self.report = f"/tmp/births.{name}"
        lab.path(1, f"/tmp/{program}").write_bytes((PROGRAMS / program).read_bytes())
        self.shell = lab.popen(1, [*user, "/usr/bin/python3", f"/tmp/{program}", self.report, *arguments], stdin=subprocess.DEVNULL)
        self.pid = self.hears("parent")

    def words(self):
        path = self.lab.path(1, self.report)
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def hears(self, what, known=()):
        """The PID that it tells next with this word."""
        def new():
            return [int(words[1]) for words in self.words() if words[0] == what and int(words[1]) not in known]
        return self.lab.wait_for(new, SETTLED_S, what)[0]

    def starts(self, by, what):
        known = [int(words[1]) for words in self.words()]
        self.lab.run(1, ["kill", "-" + by, str(self.pid)])
        return self.hears(what, known)

    def hears_end_of(self, pid, status):
        self.lab.wait_for(lambda: ["ended", str(pid), str(status)] in self.words(), SETTLED_S, f"{pid} has ended with {status}")


class Births(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_births", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def tearDown(self):
        observe.nothing_left(self.lab)

    def parent(self, to, user=()):
        parent = Parent(self.lab, self.id().rpartition(".")[2], user)
        observe.migrate(self.lab, parent.pid, to)
        return parent

    def places(self, *pids):
        rows = observe.ask(self.lab, 3, "ssips")["rows"]
        return [[(row["node"], row["home"]) for row in rows if row["pid"] in (str(pid), f"1:{pid}")] for pid in pids]

    def assert_known(self, at, *pids):
        """Once each in `ssips`, as one of node 1 that runs at `at`, and with a deputy."""
        self.lab.wait_for(lambda: self.places(*pids) == [[(at, 1)]] * len(pids), 10, f"all are known: {pids}, {at}")
        for pid in pids:
            self.assertTrue(observe.exists(self.lab, 1, pid))

    def kill(self, *pids, by="TERM"):
        self.lab.run(1, ["kill", "-" + by, *map(str, pids)])

    def gone(self, *pids):
        self.lab.wait_for(lambda: not any(observe.exists(self.lab, 1, pid) for pid in pids), 10, f"no deputy: {pids}")
        self.assertEqual(self.places(*pids), [[]] * len(pids))

    def ps(self, pid, what):
        return self.lab.run(1, ["ps", "-o", f"{what}=", "-p", str(pid)]).stdout.strip()

    def assert_ends(self, parent, *others):
        self.kill(parent.pid)
        self.assertEqual(parent.shell.wait(10), 42)
        self.gone(parent.pid, *others)

    def test_a_child_is_known_at_home(self):
        parent = self.parent(2)
        child = parent.starts("USR1", "child")
        self.assert_known(2, child)
        self.assertEqual(int(self.ps(child, "ppid")), parent.pid)
        self.assertEqual(self.ps(child, "args"), self.ps(parent.pid, "args"))
        self.assertEqual((self.ps(child, "pgid"), self.ps(child, "sid")), (self.ps(parent.pid, "pgid"), self.ps(parent.pid, "sid")))
        self.kill(child)
        parent.hears_end_of(child, 9)
        self.gone(child)
        other = parent.starts("USR1", "child")
        self.assert_known(2, other)
        self.kill(other, by="KILL")
        parent.hears_end_of(other, -9)
        self.gone(other)
        self.assert_ends(parent)

    def test_those_that_come_and_go_while_it_moves_have_their_memory(self):
        """As a database server's parallel workers: they share memory with it, so they go along, also from home."""
        parent = Parent(self.lab, "workers", program="workers.py")
        moves = (2, 3, 1, 2, 1, 3, 2, 3, 1, 2)
        for to in moves:
            observe.migrate(self.lab, parent.pid, to)
        self.assert_none_was_wrong(parent, len(moves))

    def assert_none_was_wrong(self, parent, least):
        self.kill(parent.pid)
        self.assertEqual(parent.shell.wait(10), 42)
        _, done, wrong = parent.words()[-1]
        self.assertGreater(int(done), least)
        self.assertEqual(int(wrong), 0)

    def test_those_that_come_and_go_let_clients_in(self):
        """It is never at rest, and somebody new comes to it all the time, also while it is looked at."""
        parent = Parent(self.lab, "servers", program="workers.py", arguments=["7007"])
        clients = [self.lab.popen(1, ["/usr/bin/python3", "-c", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        moves = (2, 3, 1, 2, 1, 3)
        for to in moves:
            observe.migrate(self.lab, parent.pid, to)
        for client in clients:
            said, _ = client.communicate("enough\n", timeout=30)
            self.assertEqual(client.returncode, 0)
            self.assertGreater(int(said), 10 * len(moves))
        self.assert_none_was_wrong(parent, len(moves))

    def test_children_of_children_and_daemons(self):
        parent = self.parent(2)
        child = parent.starts("HUP", "child")
        grandchild = parent.hears("grandchild")
        daemon = parent.starts("USR2", "daemon")
        self.assert_known(2, child, grandchild, daemon)
        self.assertEqual(int(self.ps(grandchild, "ppid")), child)
        self.assertNotEqual(int(self.ps(daemon, "ppid")), parent.pid)
        self.kill(child)
        parent.hears_end_of(child, 9)
        self.gone(child)
        # An orphan at home, too.
        self.assertNotEqual(int(self.ps(grandchild, "ppid")), parent.pid)
        self.kill(grandchild, daemon)
        self.gone(grandchild, daemon)
        self.assert_ends(parent)

    def test_they_move_along(self):
        parent = self.parent(2)
        children = []
        for to in (3, 2, 1, 3):
            children.append(parent.starts("USR1", "child"))
            self.assert_known(self.places(parent.pid)[0][0][0], *children)
            # Any of them names the tree.
            observe.ask(self.lab, 1, "migrate", "--wait", str(children[-1]), str(to))
            self.assert_known(to, parent.pid, *children)
        for child in children:
            self.assertEqual(int(self.ps(child, "ppid")), parent.pid)
            self.kill(child)
            parent.hears_end_of(child, 9)
        self.gone(*children)
        self.assert_ends(parent)

    def test_an_ordinary_user(self):
        parent = self.parent(2, ("setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"))
        self.assertEqual(self.ps(parent.pid, "uid"), "1000")
        child = parent.starts("USR1", "child")
        self.assert_known(2, child)
        self.assertEqual((self.ps(child, "uid"), self.ps(child, "ppid")), ("1000", str(parent.pid)))
        # Whose user may signal it, and nobody else's.
        as_user = ["setpriv", "--reuid", "1001", "--clear-groups", "kill", str(child)]
        self.assertNotEqual(self.lab.run(1, as_user, check=False).returncode, 0)
        as_user[2] = "1000"
        self.lab.run(1, as_user)
        parent.hears_end_of(child, 9)
        self.gone(child)
        self.assert_ends(parent)

    def test_whoever_dies_they_are_known_again(self):
        parent = self.parent(2)
        children = [parent.starts("USR1", "child")]
        self.assert_known(2, *children)
        for node in (1, 2):
            # The next one is born in the time without this ssid.
            before = self.lab.services(node)["ssid"]["restarts"]
            children.append(parent.starts("USR1", "child"))
            self.lab.service(node, "kill", "ssid")
            self.lab.wait_for(lambda: self.is_back(node, before), 10, "ssid is back")
            self.lab.wait_for(lambda: all(observe.ask(self.lab, n, "cluster")["table_valid"] for n in NODES), SETTLED_S, "the table")
            self.assert_known(2, *children)
        self.kill(*children)
        for child in children:
            parent.hears_end_of(child, 9)
        self.gone(*children)
        self.assert_ends(parent)

    def is_back(self, node, before):
        now = self.lab.services(node)["ssid"]
        return now["restarts"] > before and now["state"] == "ready"

    def test_they_end_with_their_node(self):
        parent = self.parent(3)
        child, daemon = parent.starts("USR1", "child"), parent.starts("USR2", "daemon")
        self.assert_known(3, child, daemon)
        self.lab.crash(3)
        self.assertEqual(parent.shell.wait(60), 128 + signal.SIGKILL)
        self.lab.wait_for(lambda: not any(observe.exists(self.lab, 1, pid) for pid in (child, daemon)), 30, "no deputy is left")
        self.lab.boot(3)
        observe.wait_for_loads(self.lab)


if __name__ == "__main__":
    unittest.main(verbosity=2)
