#!/usr/bin/python3
"""At every named step of a move somebody dies: ssid at the source, ssid at the target, criu on the side
where there is one, the target's power. Afterwards the process runs exactly once and moves on, or it was lost
because its node died after the commit, and its parent saw SIGKILL. Prints the matrix of what happened."""

import fcntl
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from probe import Probe  # noqa: E402

NODES = (1, 2, 3)
HOME = 1
FAULTS = "/run/ssid/faults"
AT_SOURCE = [
    "before_freeze", "after_freeze", "dump", "after_dump", "after_send", "after_restore", "after_commit",
]
AT_TARGET = ["target_received", "restore", "pre_resume", "target_restored", "target_committed"]
CRIU_IS_THERE = ["dump", "restore"]
VICTIMS = ["source ssid", "target ssid", "criu", "target power"]
KILLED = 128 + 9
SETTLED_S = 60  # the grace time of a node that left is 10 s


class Case:
    """One process, one move, one death."""

    def __init__(self, lab, number, source, target, point, victim):
        self.lab = lab
        self.source, self.target = source, target
        self.point, self.victim = point, victim
        self.at = target if point in AT_TARGET else source  # who passes the point
        self.probe = Probe(lab, HOME, name=f"fault{number}", journal=True)
        self.said = ""

    def run(self):
        """Moves the process while the victim dies. Returns what became of it, in words."""
        if self.source != HOME:
            observe.migrate(self.lab, self.probe.pid, self.source)
        action = "pause"
        if self.victim == "criu":
            action = "kill-criu"
        elif self.victim.endswith("ssid") and self.victim_node() == self.at:
            action = "kill"
        restarts = self.restarts(self.at)
        self.faults("a", f"migrate.{self.point} {action}\n")
        mover = self.lab.popen(
            self.bystander(), ["migrate", str(self.probe.pid), str(self.target)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            if action == "pause":
                self.wait_for(lambda: " paused " in self.faults(), "the step is reached")
                self.strike()
                if self.lab.init_pid(self.at) is not None:
                    self.faults("w")
            else:
                self.wait_for(lambda: self.point not in self.faults(), "the step is passed")
                if action == "kill":
                    self.wait_restarted(self.at, restarts)
            self.said = mover.communicate(timeout=SETTLED_S)[0].strip()
        finally:
            mover.kill()
        started = time.monotonic()
        self.wait_for(self.is_settled, "one copy, or none")
        self.settled_s = time.monotonic() - started
        return self.outcome()

    def victim_node(self):
        return self.source if self.victim == "source ssid" else self.target

    def bystander(self):
        """Asks for the move, and lives."""
        return next(node for node in NODES if node not in (self.source, self.target))

    def faults(self, mode=None, text=""):
        """The lines armed at the node of the point; with `mode` they are written first."""
        path = self.lab.path(self.at, FAULTS)
        with open(path, mode or "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(text)
        return path.read_text()

    def strike(self):
        if self.victim == "target power":
            self.lab.crash(self.target)
            return
        before = self.restarts(self.victim_node())
        self.lab.service(self.victim_node(), "kill", "ssid")
        self.wait_restarted(self.victim_node(), before)

    def restarts(self, node):
        return self.lab.services(node)["ssid"]["restarts"]

    def wait_restarted(self, node, before):
        def again():
            now = self.lab.services(node)["ssid"]
            return now["restarts"] > before and now["state"] == "ready"

        self.wait_for(again, f"ssid of node {node} is back")

    def wait_for(self, condition, what):
        try:
            return self.lab.wait_for(condition, SETTLED_S, what)
        except Exception as error:
            copies = observe.copies(self.lab, self.probe.report_path)
            raise AssertionError(f"{error}; copies {copies}; migrate said: {self.said}") from None

    def is_settled(self):
        if self.probe.shell.poll() is not None:
            return True
        for node in self.up():
            status = observe.ask(self.lab, node, "cluster")
            if not (status["quorate"] and status["table_valid"] and status["members"] == len(self.up())):
                return False
        return [copy.runs for copy in observe.copies(self.lab, self.probe.report_path)] == [True]

    def up(self):
        return [node for node in NODES if self.lab.init_pid(node) is not None]

    def committed(self):
        """As a node that lived through it has it."""
        events = observe.ask(self.lab, self.bystander(), "cluster", "events")["events"]
        move = {"pid": str(self.probe.pid), "from": self.source, "to": self.target}
        return any(move.items() <= event.items() for event in events)

    def outcome(self):
        copies = observe.copies(self.lab, self.probe.report_path)
        status = self.probe.shell.poll()
        if status is not None:
            return f"lost, parent saw {status}"
        return "runs on " + ", ".join(str(copy.node) for copy in copies)


class Steps(unittest.TestCase):
    def test_none_is_forgotten(self):
        root = Path(__file__).resolve().parents[2]
        named = set()
        for path in (root / "migrate").rglob("*.cc"):
            named |= set(re.findall(r'SSI_FAULT\("migrate\.(\w+)"\)', path.read_text()))
        self.assertEqual(named, set(AT_SOURCE + AT_TARGET))


class Faults(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.lab = Lab(len(NODES), name="t_faults", service_options={"ssid": "--faults"})
        self.addCleanup(self.lab.down)
        self.start_lab()
        self.cases = 0

    def start_lab(self):
        self.lab.down()
        self.lab.up()
        observe.wait_for_loads(self.lab)

    def make_whole(self):
        for node in NODES:
            if self.lab.init_pid(node) is None:
                self.lab.boot(node)
        self.lab.wait_ready()
        self.lab.wait_quorate()
        observe.wait_for_loads(self.lab)

    def check(self, case, outcome):
        """What has to be true after any of the deaths."""
        probe = case.probe
        lost = probe.shell.poll() is not None
        committed = case.committed()
        if case.victim == "criu":
            self.assertFalse(committed, "moved by a criu that was killed")
        if case.victim == "target power" and committed:
            self.assertTrue(lost, "it runs although its node died")
            self.assertEqual(probe.wait(), KILLED)
            self.assertIn(
                f"{probe.pid} ended: node {case.target} went down and took it along",
                self.lab.log(HOME, "ssid"))
            self.make_whole()
        else:
            self.assertFalse(lost, f"{outcome}; migrate said: {case.said}")
            self.assertEqual(outcome, f"runs on {case.target if committed else case.source}")
            self.make_whole()
            self.check_works(probe)
        self.assertEqual(observe.copies(self.lab, probe.report_path), [])
        numbers = probe.numbers()
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)), "it ran twice, or went back in time")
        observe.nothing_left(self.lab)

    def check_works(self, probe):
        """It answers, moves on, and its parent sees its end."""
        for _ in range(2):
            self.check_report(probe.report())
            copies = observe.copies(self.lab, probe.report_path)
            self.assertEqual(len(copies), 1, copies)
            observe.migrate(self.lab, probe.pid, copies[0].node % len(NODES) + 1)
        self.check_report(probe.report())
        self.assertEqual(observe.parent_of(self.lab, HOME, probe.pid), probe.shell_pid)
        self.assertEqual(probe.end(), 42)

    def check_report(self, report):
        good = report["memory_good"] and report["descriptors_good"] and report["same_pid"]
        self.assertTrue(good, report)

    def matrix(self, source, target, points=tuple(AT_SOURCE + AT_TARGET), victims=tuple(VICTIMS)):
        rows = []
        self.addCleanup(self.print_matrix, f"{source} -> {target}, home {HOME}", rows)
        for point in points:
            rows.append([point] + ["-"] * len(VICTIMS))
            for victim in victims:
                if victim == "criu" and point not in CRIU_IS_THERE:
                    continue
                self.cases += 1
                good = False
                with self.subTest(move=f"{source} -> {target}", point=point, victim=victim):
                    case = Case(self.lab, self.cases, source, target, point, victim)
                    outcome = "FAILED"
                    try:
                        outcome = case.run()
                        self.check(case, outcome)
                        good = True
                    finally:
                        print(f"  {point}, {victim} dies: {outcome}{'' if good else ' (WRONG)'}", flush=True)
                        rows[-1][1 + VICTIMS.index(victim)] = outcome if good else f"{outcome} (WRONG)"
                if not good:
                    self.keep_logs(point, victim)
                    self.start_lab()

    def keep_logs(self, point, victim):
        for node in NODES:
            if self.lab.init_pid(node) is not None:
                lines = self.lab.log(node, "ssid").splitlines()[-30:]
                print(f"--- {point}, {victim}: node {node}:", *lines, sep="\n", flush=True)

    def print_matrix(self, title, rows):
        print("\n" + observe.table([title] + VICTIMS, rows), flush=True)

    def test_its_pipes_end_with_it_after_a_move_that_failed(self):
        for victim in ("criu", "source ssid"):
            with self.subTest(victim=victim):
                self.cases += 1
                case = Case(self.lab, self.cases, 1, 2, "dump", victim)
                self.assertEqual(case.run(), "runs on 1")
                self.assertEqual(case.probe.end(), 42)
                self.assertEqual(case.probe.rest_of_output(5), "")
                self.make_whole()

    def test_the_first_move_of_a_process(self):
        self.matrix(1, 2)

    def test_a_guest_that_moves_on(self):
        self.matrix(2, 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
