#!/usr/bin/python3
"""A server with connections is moved, and the move comes to nothing, or an ssid dies in the midst of it: its
peers see a pause, however it ends, and it moves on."""

import fcntl
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from net_peer import Guest, Peer  # noqa: E402

NODES = (1, 2, 3)
HOME = 1
PORT = 7000
FAULTS = "/run/ssid/faults"
SETTLED_S = 60

# Source, target, step, the node that passes it, what happens there ("kill home": to home's ssid).
CASES = [
    (1, 2, "after_dump", 1, "error"),
    (1, 2, "after_restore", 1, "error"),
    (1, 2, "restore", 2, "kill-criu"),
    (2, 3, "after_dump", 2, "error"),
    (2, 3, "after_restore", 2, "error"),
    (2, 1, "after_restore", 2, "error"),
    (1, 2, "after_dump", 1, "kill"),
    (1, 2, "after_commit", 1, "kill"),
    (2, 3, "after_restore", 2, "kill"),
    (2, 3, "target_restored", 3, "kill"),
    (2, 3, "after_dump", 2, "kill home"),
    (2, 1, "after_dump", 2, "kill home"),
]


class NetworkFaults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_netfaults", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)
        cls.rows = []

    @classmethod
    def tearDownClass(cls):
        titles = ["from", "to", "step", "what", "ended at", "outside ms", "home ms"]
        print("\n" + observe.table(titles, cls.rows), flush=True)

    def faults(self, node, mode="a+", text=""):
        path = self.lab.path(node, FAULTS)
        with open(path, mode) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(text)
        return path.read_text()

    def kill_ssid(self, node):
        before = self.lab.services(node)["ssid"]["restarts"]
        self.lab.service(node, "kill", "ssid")
        self.wait_restarted(node, before)

    def wait_restarted(self, node, before):
        def again():
            now = self.lab.services(node)["ssid"]
            return now["restarts"] > before and now["state"] == "ready"

        self.lab.wait_for(again, SETTLED_S, f"ssid of node {node} is back")

    def fail_a_move(self, pid, to, step, node, what):
        before = self.lab.services(node)["ssid"]["restarts"]
        self.faults(node, text=f"migrate.{step} {'pause' if what == 'kill home' else what}\n")
        asker = next(n for n in NODES if n not in (node, to, HOME) or n == NODES[-1])
        mover = self.lab.popen(asker, ["migrate", str(pid), str(to)])
        try:
            if what == "kill home":
                self.lab.wait_for(lambda: " paused " in self.faults(node), SETTLED_S, step)
                self.kill_ssid(HOME)
                self.faults(node, "w")
            else:
                self.lab.wait_for(lambda: step not in self.faults(node), SETTLED_S, step)
                if what == "kill":
                    self.wait_restarted(node, before)
            mover.wait(SETTLED_S)
        finally:
            mover.kill()
            mover.wait()

    def settled_place(self, pid):
        def place():
            for node in NODES:
                status = observe.ask(self.lab, node, "cluster")
                if not (status["quorate"] and status["table_valid"] and status["members"] == len(NODES)):
                    return None
            copies = [c for c in observe.copies(self.lab, "/root/net_guest.py")]
            return copies[0].node if len(copies) == 1 and copies[0].runs else None

        return self.lab.wait_for(place, SETTLED_S, f"one copy of {pid}")

    def test_each(self):
        for case in CASES:
            with self.subTest(case):
                self.one(*case)

    def one(self, source, to, step, node, what):
        guest = Guest(self.lab, HOME, PORT)
        try:
            if source != HOME:
                observe.migrate(self.lab, guest.pid, source)
            outside = Peer(self.lab, None, "lines", self.lab.address(HOME), str(PORT))
            home = Peer(self.lab, HOME, "lines", "127.0.0.1", str(PORT))
            self.fail_a_move(guest.pid, to, step, node, what)
            place = self.settled_place(guest.pid)
            observe.migrate(self.lab, guest.pid, 2 if place == 3 else 3)
            saw = [outside.end(), home.end()]
            self.rows.append([source, to, step, what, place, saw[0]["longest_ms"], saw[1]["longest_ms"]])
            for one in saw:
                self.assertEqual(one["failures"], 0, saw)
        finally:
            guest.end()


if __name__ == "__main__":
    unittest.main(verbosity=2)
