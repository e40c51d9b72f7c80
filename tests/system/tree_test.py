#!/usr/bin/python3
"""A tree of processes moves as one: those that share memory by themselves, others by `migrate --tree`. All of
them keep their PIDs, their parents and what they share; at home each has its deputy, which is known there as
before; whoever dies in the midst of it, the tree runs once."""

import os
import re
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402

NODES = (1, 2, 3)
MOVES = 12
SETTLED_S = 30
FAULTS = "/run/ssid/faults"
PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "tree.py"
GOOD = re.compile(r"good: (\d+) lines, (\d+) counted, ends \[(.*)\]")

# Three processes of three users, one of them with another user's rights; each looks at itself all the time, and ends with
# another status than 7 if anything changed.
USERS = r"""
import os, resource, signal, sys, time
def facts():
    return os.getresuid(), os.getresgid(), os.getgroups(), [resource.getrlimit(n) for n in range(16)]
def look(then):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(then()))
    before = facts()
    while True:
        time.sleep(0.005)
        if facts() != before:
            os._exit(3)
children = []
for number, (real, effective) in enumerate(((1000, 1000), (1001, 0))):
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (77 + number, 99 + number))
        resource.setrlimit(resource.RLIMIT_CPU, (5000 + number, resource.RLIM_INFINITY))
        os.setgroups([7 + number])
        os.setresgid(real, real, real)
        os.setresuid(real, effective, effective)
        look(lambda: 7)
    children.append(child)
def end():
    for child in children:
        os.kill(child, signal.SIGTERM)
    return 7 if [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [7, 7] else 4
print(os.getpid(), *children, flush=True)
look(end)
"""


class Tree:
    """tests/programs/tree.py on node 1: [parent, child 1, child 2, grandchild]."""

    def __init__(self, lab, name):
        self.lab = lab
        self.report = f"/root/tree.{name}"
        lab.path(1, "/root/tree.py").write_bytes(PROGRAM.read_bytes())
        self.shell = lab.popen(
            1, ["sh", "-c", f"echo $$; exec /usr/bin/python3 /root/tree.py {self.report} < /dev/null"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.pid = int(self.shell.stdout.readline())
        self.said = b""
        lab.wait_for(lambda: self.words(), 10, "the tree stands")
        self.pids = [int(pid) for pid in self.words()[0].split()]
        children = lab.path(1, f"/proc/{self.pids[1]}/task/{self.pids[1]}/children")
        lab.wait_for(lambda: children.read_text(), 10, "its grandchild")
        self.pids.append(int(children.read_text()))
        # Nobody may wait for it to be read.
        os.set_blocking(self.shell.stdout.fileno(), False)

    def words(self):
        path = self.lab.path(1, self.report)
        return path.read_text().splitlines() if path.exists() else []

    def read(self):
        while chunk := self.shell.stdout.read():
            self.said += chunk
        return self.said

    def goes_on(self):
        before = len(self.read())
        self.lab.wait_for(lambda: len(self.read()) > before, SETTLED_S, "the tree goes on")

    def end(self):
        """Its last words."""
        self.lab.run(1, ["kill", str(self.pid)])
        deadline = time.monotonic() + SETTLED_S
        while self.shell.poll() is None and time.monotonic() < deadline:
            self.read()
            time.sleep(0.02)
        return self.words()[-1]


class Trees(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_trees", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def tearDown(self):
        self.lab.wait_for(lambda: not observe.left_over(self.lab), 10, "nothing is left in ssid's cgroups")

    def tree(self):
        tree = Tree(self.lab, self.id().rpartition(".")[2])
        self.addCleanup(tree.shell.stdout.close)
        return tree

    def places(self, pids):
        rows = observe.ask(self.lab, 3, "ssips")["rows"]
        return [[row["node"] for row in rows if row["pid"] == str(pid)] for pid in pids]

    def assert_at(self, tree, node):
        self.lab.wait_for(lambda: self.places(tree.pids) == [[node]] * len(tree.pids), 10, f"all at node {node}")
        parents = [observe.parent_of(self.lab, 1, pid) for pid in tree.pids[1:]]
        self.assertEqual(parents, [tree.pid, tree.pid, tree.pids[1]], "at home")

    def assert_ends_well(self, tree, ends="11, 12"):
        good = GOOD.fullmatch(tree.end())
        self.assertIsNotNone(good, tree.words())
        self.assertEqual((tree.shell.wait(10), good[3]), (42, ends))
        self.assertEqual(tree.read(), b"".join(b"%d\n" % n for n in range(int(good[1]))))
        self.assertEqual(int(good[2]), 2 * int(good[1]))
        self.lab.wait_for(
            lambda: not any(observe.exists(self.lab, 1, pid) for pid in tree.pids), 10, "no deputy is left")

    def test_what_shares_memory_moves_as_one(self):
        tree = self.tree()
        at, frozen = 1, []
        for _ in range(MOVES):
            to = at % 3 + 1
            answer = observe.migrate(self.lab, tree.pid, to)
            frozen.append(answer["frozen_ms"])
            self.assert_at(tree, to)
            tree.goes_on()
            at = to
        print(f"{MOVES} moves of 4 processes, frozen {sorted(frozen)[len(frozen) // 2]:.0f} ms, at most {max(frozen):.0f}")
        self.assert_ends_well(tree)

    def test_processes_of_several_users(self):
        parent = self.lab.popen(1, ["python3", "-c", USERS], stdout=subprocess.PIPE, text=True)
        self.addCleanup(parent.stdout.close)
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        for i in range(MOVES):
            to = (i + 1) % 3 + 1
            observe.ask(self.lab, 1, "migrate", "--tree", str(pids[0]), str(to))
            self.lab.wait_for(lambda: self.places(pids) == [[to]] * 3, 10, f"all at node {to}")
        self.lab.run(1, ["kill", str(pids[0])])
        self.assertEqual(parent.wait(SETTLED_S), 7)

    def test_any_of_them_names_the_tree_when_it_is_away(self):
        tree = self.tree()
        observe.migrate(self.lab, tree.pid, 2)
        observe.migrate(self.lab, tree.pids[3], 3)
        self.assert_at(tree, 3)
        self.assert_ends_well(tree)

    def test_a_child_ends_and_another_begins_while_they_are_away(self):
        tree = self.tree()
        observe.migrate(self.lab, tree.pid, 2)
        self.lab.run(1, ["kill", "-USR1", str(tree.pid)])
        self.lab.wait_for(lambda: len(tree.words()) > 1, 10, "it has another child")
        self.assertTrue(tree.words()[1].startswith("ended 11, began "), tree.words())
        for pid in (tree.pids[1], tree.pids[3]):
            self.lab.wait_for(lambda: not observe.exists(self.lab, 1, pid), 10, f"{pid} has no deputy")
        tree.goes_on()
        for to in (3, 1, 2):
            observe.migrate(self.lab, tree.pid, to)
            tree.goes_on()
        tree.pids = [tree.pids[0], tree.pids[2]]
        self.assertEqual(self.places(tree.pids), [[2], [2]])
        self.assert_ends_well(tree, "12, 13")

    def test_a_signal_reaches_each_of_them(self):
        tree = self.tree()
        observe.migrate(self.lab, tree.pid, 2)
        self.lab.run(1, ["kill", "-KILL", str(tree.pids[2])])
        # Its parent waits for an answer that does not come: the end of the pipe.
        self.lab.wait_for(lambda: tree.words()[-1] == "child 2 does not answer", 10, "the parent has noticed")
        self.lab.wait_for(lambda: tree.shell.poll() is not None, 10, "the parent has ended")
        # Which ends the others, too; home knows it of each.
        self.lab.wait_for(lambda: self.places(tree.pids) == [[]] * 4, 10, "none is left")

    def test_the_others_live_on_when_the_first_has_ended(self):
        tree = self.tree()
        observe.migrate(self.lab, tree.pid, 2)
        self.lab.run(1, ["kill", "-STOP", *map(str, tree.pids[1:])])
        self.lab.run(1, ["kill", "-KILL", str(tree.pid)])
        self.assertEqual(tree.shell.wait(10), 128 + signal.SIGKILL)
        self.lab.wait_for(lambda: self.places(tree.pids) == [[], [2], [2], [2]], 10, "the first has ended")
        self.assertNotEqual(observe.parent_of(self.lab, 1, tree.pids[1]), tree.pid)
        status, said = observe.try_to_migrate(self.lab, tree.pids[1], 3)
        self.assertEqual(
            (status, said),
            (1, f"migrate: {tree.pids[1]}: process {tree.pid}, with which its tree began, has ended"))
        before = self.lab.services(2)["ssid"]["restarts"]
        self.lab.service(2, "kill", "ssid")
        self.lab.wait_for(lambda: self.is_back(2, before), 10, "ssid is back")
        self.lab.wait_for(lambda: self.places(tree.pids) == [[], [2], [2], [2]], 10, "they are known again")
        self.lab.run(1, ["kill", "-KILL", *map(str, tree.pids[1:])])
        self.lab.wait_for(lambda: self.places(tree.pids) == [[]] * 4, 10, "none is left")
        self.lab.wait_for(
            lambda: not any(observe.exists(self.lab, 1, pid) for pid in tree.pids), 10, "no deputy is left")

    def test_a_tree_that_shares_no_memory_moves_when_it_is_asked_for(self):
        script = "trap 'exit 5' TERM; while :; do sleep 0.05 | cat; echo $$; done"
        shell = self.lab.popen(
            1, ["sh", "-c", f"echo $$; exec dash -c \"{script}\" < /dev/null"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(shell.stdout.close)
        pid = int(shell.stdout.readline())
        sleeper = self.lab.popen(
            1, ["sh", "-c", "echo $$; sleep 300 & wait"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(sleeper.stdout.close)
        parent = int(sleeper.stdout.readline())
        self.lab.wait_for(lambda: self.children(parent), 10, "it has a child")
        child = self.children(parent)[0]
        self.assertEqual(
            observe.try_to_migrate(self.lab, parent, 2),
            (1, f"migrate: {parent}: it has 1 child process, which only `migrate --tree` moves along: {child} (sleep)"))
        for to in (2, 3, 1, 2):
            observe.ask(self.lab, 1, "migrate", "--tree", "--wait", str(parent), str(to))
            self.assertEqual(self.places([parent, child]), [[to], [to]])
        self.lab.run(1, ["kill", str(parent)])
        self.assertEqual(sleeper.wait(10), 128 + signal.SIGTERM)
        # The child is an orphan now, and ends by its own PID.
        self.assertEqual(self.places([child]), [[2]])
        self.lab.run(1, ["kill", str(child)])
        self.lab.wait_for(lambda: not observe.exists(self.lab, 1, child), 10, "the child has ended")
        self.lab.run(1, ["kill", str(pid)])
        self.assertEqual(shell.wait(10), 5)

    def children(self, pid):
        return [int(p) for p in self.lab.path(1, f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def test_a_reason_against_one_of_them_is_one_against_all(self):
        code = ("import os, socket, time\nprint(os.getpid(), flush=True)\npid = os.fork()\n"
                "held = pid == 0 and socket.socket(17, 3, 0)\ntime.sleep(100)")
        parent = self.lab.popen(
            1, ["/usr/bin/python3", "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(parent.stdout.close)
        pid = int(parent.stdout.readline())
        self.lab.wait_for(lambda: self.children(pid), 10, "it has a child")
        child = self.children(pid)[0]
        done = self.lab.run(1, ["migrate", "--tree", str(pid), "2"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertTrue(
            done.stderr.startswith(f"migrate: {pid}: process {child} (python3) of its tree: fd "), done.stderr)
        self.lab.run(1, ["kill", str(pid), str(child)])
        parent.wait(10)

    # Whoever dies

    def faults(self, node, mode="a+", text=""):
        with open(self.lab.path(node, FAULTS), mode) as file:
            file.write(text)
            file.seek(0)
            return file.read() if "+" in mode else ""

    def is_back(self, node, before):
        now = self.lab.services(node)["ssid"]
        return now["restarts"] > before and now["state"] == "ready"

    def settled(self, tree):
        def place():
            for node in NODES:
                status = observe.ask(self.lab, node, "cluster")
                if not (status["quorate"] and status["table_valid"] and status["members"] == len(NODES)):
                    return None
            places = self.places(tree.pids)
            return places[0][0] if places in [[[n]] * 4 for n in NODES] else None

        return self.lab.wait_for(place, SETTLED_S, "one copy of each")

    def test_whoever_dies_the_tree_runs_once(self):
        tree = self.tree()
        cases = [
            (2, "after_dump", "source", "error"), (2, "restore", "target", "kill-criu"),
            (2, "after_restore", "source", "kill"), (2, "after_commit", "source", "kill"),
            (3, "after_restore", "source", "kill"), (3, "target_restored", "target", "kill"),
            (1, "after_commit", "source", "kill"), (3, "target_committed", "target", "kill"),
        ]
        rows, at = [], 1
        for wanted, step, side, what in cases:
            to = wanted if wanted != at else wanted % 3 + 1
            node = at if side == "source" else to
            with self.subTest(f"{at} -> {to}: {step}, {side}: {what}"):
                before = self.lab.services(node)["ssid"]["restarts"]
                self.faults(node, text=f"migrate.{step} {what}\n")
                self.lab.run(6 - at - to, ["migrate", "--wait", str(tree.pid), str(to)], check=False, timeout=60)
                self.assertNotIn(step, self.lab.path(node, FAULTS).read_text())
                if what == "kill":
                    self.lab.wait_for(lambda: self.is_back(node, before), 10, "ssid is back")
                at = self.settled(tree)
                tree.goes_on()
                rows.append([to, step, side, what, at])
        print("\n" + observe.table(["to", "step", "side", "what", "ended at"], rows))
        self.assert_ends_well(tree)


if __name__ == "__main__":
    unittest.main(verbosity=2)
