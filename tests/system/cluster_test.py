#!/usr/bin/python3
"""Nodes that go away and come back: who is up, where every process is, what became of the guests. And what
does not happen: a process that nobody enabled is left alone, and an ssid at rest costs next to nothing."""

import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab, LabError  # noqa: E402
from probe import Probe  # noqa: E402

NODES = (1, 2, 3)
DOWN_IS_SHOWN_S = 3.0
GRACE_S = 10  # the default of [cluster] grace_s
GIVEN_UP_S = GRACE_S + 15
AT_REST_S = 20
CPU_SHARE_MAX = 0.01
RSS_MIB_MAX = 50
KILLED = 128 + 9
QUIET_S = 20  # long enough for the balancer to have moved what it wants to move


class OnThreeNodes(unittest.TestCase):
    """Tests that share a lab of three nodes, named for their class; each leaves it whole."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name=f"t_cluster_{cls.__name__}")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def setUp(self):
        self.probes = []
        self.addCleanup(self.make_whole)

    def make_whole(self):
        self.lab.heal()
        for node in NODES:
            if self.lab.init_pid(node) is None:
                self.lab.boot(node)
        self.lab.wait_ready()
        self.lab.wait_quorate()
        self.wait_agreed()
        observe.wait_for_loads(self.lab)
        for probe in self.probes:
            if probe.shell.poll() is None:
                probe.kill(9)
                probe.wait()

    def probe(self, name, home, at=None):
        """A probe that was born on `home` and runs on `at`."""
        probe = Probe(self.lab, home, name=name)
        self.probes.append(probe)
        if at not in (None, home):
            observe.migrate(self.lab, probe.pid, at, node=home)
            self.assert_good(probe)
        return probe

    def assert_good(self, probe):
        report = probe.report()
        self.assertTrue(report["memory_good"] and report["descriptors_good"] and report["same_pid"], report)

    def nodes_of(self, probe):
        return [copy.node for copy in observe.copies(self.lab, probe.report_path)]

    def state_shown(self, asked, node):
        """What `cluster -v` on node `asked` shows of `node`."""
        lines = self.lab.run(asked, ["cluster", "-v"]).stdout.splitlines()
        return next(line.split()[1] for line in lines if line.startswith(f"{node}: "))

    def whereabouts(self, node, pids):
        """{pid: (node, home, moves)} as `node` knows it; None if some node gave it no answer."""
        answer = observe.ask(self.lab, node, "ssips")
        if answer["silent"]:
            return None
        return {
            row["pid"]: (row["node"], row["home"], row["migs"])
            for row in answer["rows"]
            if row["pid"] in pids
        }

    def wait_agreed(self, probes=()):
        """Until all nodes see the same cluster, and the same whereabouts of all processes; returns these."""
        pids = {str(probe.pid) for probe in probes}

        def same():
            status = [observe.ask(self.lab, node, "cluster") for node in NODES]
            if not all(one["quorate"] and one["table_valid"] and one["members"] == 3 for one in status):
                return None
            seen = [self.whereabouts(node, pids) for node in NODES]
            good = seen[0] is not None and seen[0] == seen[1] == seen[2] and set(seen[0]) == pids
            return [seen[0]] if good else None

        try:
            return self.lab.wait_for(same, 30, "all nodes agree", pause_s=0.1)[0]
        except LabError as error:
            status = [observe.ask(self.lab, node, "cluster") for node in NODES]
            seen = {node: self.whereabouts(node, pids) for node in NODES}
            raise AssertionError(f"{error}: {seen}: {status}") from None

class NodesComeAndGo(OnThreeNodes):
    # A node is powered off

    def test_a_node_without_power_is_shown_down_in_time(self):
        stays = self.probe("stays", home=1, at=2)
        started = time.monotonic()
        self.lab.crash(3)
        seen_s = {}
        while len(seen_s) < 2:
            for node in (1, 2):
                if node not in seen_s and self.state_shown(node, 3) == "DOWN":
                    seen_s[node] = time.monotonic() - started
            self.assertLess(time.monotonic() - started, 30, f"seen by {seen_s}")
        print(", ".join(f"node {node} shows 3 DOWN after {s:.2f} s" for node, s in seen_s.items()))
        self.assertLess(max(seen_s.values()), DOWN_IS_SHOWN_S)
        # The others go on: with what they had, and with moving.
        self.assert_good(stays)
        observe.migrate(self.lab, stays.pid, 1)
        self.assert_good(stays)
        status, said = observe.try_to_migrate(self.lab, stays.pid, 3)
        self.assertEqual((status, said), (1, f"migrate: {stays.pid}: node 3 is not up"))
        self.assert_good(stays)
        self.assertEqual(stays.end(), 42)
        self.lab.boot(3)
        self.wait_agreed()
        self.assertEqual(self.state_shown(1, 3), "UP")

    def test_guests_die_with_their_node_and_their_parents_see_sigkill(self):
        lost = self.probe("lost", home=1, at=3)
        orphan = self.probe("orphan", home=3, at=2)
        untouched = self.probe("untouched", home=1)
        self.lab.crash(3)
        self.assertEqual(lost.wait(GIVEN_UP_S), KILLED)
        why = f"{lost.pid} ended: node 3 went down and took it along"
        self.assertIn(why, self.lab.run(1, ["cluster", "events"]).stdout)
        self.assertIn(why, self.lab.run(2, ["cluster", "events"]).stdout)
        self.assertIn(why, self.lab.log(1, "ssid"))
        # One whose home died has lost its files and its parent: it ends too.
        self.lab.wait_for(lambda: not self.nodes_of(orphan), GIVEN_UP_S, "the end of the orphan")
        self.assertIn(
            f"{orphan.pid} ended: node 3 went down, its home", self.lab.run(1, ["cluster", "events"]).stdout)
        self.assert_good(untouched)
        self.lab.boot(3)
        self.wait_agreed([untouched])
        self.assertEqual(self.nodes_of(lost) + self.nodes_of(orphan), [])
        self.assertEqual(untouched.end(), 42)

    def test_the_pipes_of_a_guest_end_when_its_node_dies(self):
        lost = self.probe("piped", home=1, at=3)
        self.lab.crash(3)
        self.assertEqual(lost.wait(GIVEN_UP_S), KILLED)
        lost.rest_of_output(10)

    def test_a_node_that_is_back_before_it_is_given_up_has_lost_its_guests(self):
        lost = self.probe("lost2", home=1, at=3)
        self.lab.crash(3)
        self.lab.boot(3)
        self.assertEqual(lost.wait(GIVEN_UP_S), KILLED)
        why = f"{lost.pid} ended: it ran on node 3, which was off"
        self.assertIn(why, self.lab.run(1, ["cluster", "events"]).stdout)
        self.wait_agreed()

    # The network is cut

    def test_a_minority_moves_nothing_and_says_so(self):
        local = self.probe("local", home=3)
        major = self.probe("major", home=1)
        guest = self.probe("guest", home=1, at=3)
        self.lab.partition("1,2:3")
        self.lab.wait_for(lambda: self.state_shown(3, 1) == "DOWN", 10, "node 3 is alone")
        said = self.lab.run(3, ["cluster", "-v"]).stdout
        self.assertIn("quorum: no, nothing is moved or changed: 1 of 3 nodes, 2 needed", said)
        for target in (1, 2):
            status, said = observe.try_to_migrate(self.lab, local.pid, target, node=3)
            self.assertEqual(status, 1)
            self.assertRegex(said, rf"^migrate: {local.pid}: .*quorum[^\n]*$")
        # Its own processes notice nothing. A guest stands still without its home.
        self.assert_good(local)
        self.assertEqual(self.nodes_of(local), [3])
        self.lab.wait_for(
            lambda: [c.runs for c in observe.copies(self.lab, guest.report_path)] == [False], 10,
            "the guest stands still")
        # The majority works on.
        self.lab.wait_for(lambda: self.state_shown(1, 3) == "DOWN", 10, "nodes 1 and 2 are without 3")
        observe.migrate(self.lab, major.pid, 2)
        self.assert_good(major)
        self.lab.heal()
        seen = self.wait_agreed([local, major, guest])
        self.assertEqual(
            seen, {str(local.pid): (3, 3, 0), str(major.pid): (2, 1, 1), str(guest.pid): (3, 1, 1)})
        for probe in (local, major, guest):
            self.assert_good(probe)
        observe.migrate(self.lab, local.pid, 1, node=3)
        observe.migrate(self.lab, guest.pid, 2)
        for probe in (local, major, guest):
            self.assert_good(probe)
            self.assertEqual(probe.end(), 42)

    def test_a_guest_that_was_given_up_never_runs_again(self):
        guest = self.probe("givenup", home=1, at=3)
        self.lab.partition("1,2:3")
        self.assertEqual(guest.wait(GIVEN_UP_S), KILLED)
        given_up = len(guest.lines())
        self.assertEqual([c.runs for c in observe.copies(self.lab, guest.report_path)], [False])
        self.lab.heal()
        self.wait_agreed()
        self.lab.wait_for(lambda: not self.nodes_of(guest), 10, "its copy on node 3 is removed")
        self.assertEqual(len(guest.lines()), given_up)

    def test_cuts_in_the_midst_of_moves(self):
        """The cut comes while processes are on their way; wherever it hits, all agree afterwards, and each
        process is there once."""
        probes = [self.probe(f"mover{i}", home=home) for i, home in enumerate((1, 2, 3))]
        for round_number, delay_s in enumerate((0.02, 0.08, 0.14, 0.2, 0.3)):
            target = {probe: (self.nodes_of(probe)[0] % 3) + 1 for probe in probes}
            movers = [
                self.lab.popen(
                    probe.home, ["migrate", str(probe.pid), str(to)], stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT)
                for probe, to in target.items()
            ]
            time.sleep(delay_s)  # not waiting for anything: somewhere in the move
            self.lab.partition("1,2:3")
            self.lab.wait_for(lambda: self.state_shown(3, 1) == "DOWN", 10, "node 3 is alone")
            self.lab.wait_for(lambda: self.state_shown(1, 3) == "DOWN", 10, "nodes 1 and 2 are without 3")
            self.lab.heal()
            for mover in movers:
                mover.communicate(timeout=90)
            seen = self.wait_agreed(probes)
            for probe in probes:
                where = f"round {round_number}, {probe.report_path}: {seen}"
                self.assertIsNone(probe.shell.poll(), where)
                self.lab.wait_for(lambda: len(self.nodes_of(probe)) == 1, 10, f"one copy: {where}")
                self.assertEqual(self.nodes_of(probe), [seen[str(probe.pid)][0]], where)
                self.assert_good(probe)
        for probe in probes:
            self.assertEqual(probe.end(), 42)


class LeftAlone(OnThreeNodes):
    """With a balancer that has something to do."""

    def facts(self, pid):
        """What nobody may have changed: that it is the same process, in the same cgroup, untraced."""
        proc = self.lab.path(1, f"/proc/{pid}")
        lines = (proc / "status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        start = (proc / "stat").read_text().rsplit(")", 1)[1].split()[19]
        return {
            "start": start, "cgroup": (proc / "cgroup").read_text(), "exe": os.readlink(proc / "exe"),
            "parent": status["PPid"], "tracer": status["TracerPid"], "caught": status["SigCgt"],
            "fds": observe.descriptor_kinds(self.lab, 1, pid),
        }

    def test_who_is_not_enabled_is_never_touched(self):
        script = "echo $$; i=0; while :; do i=$((i+1)); done"
        busy = self.lab.popen(
            1, ["sh", "-c", f"for n in 1 2 3; do sh -c '{script}' not-enabled & done; wait"],
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(busy.communicate)
        self.addCleanup(busy.kill)
        pids = [int(busy.stdout.readline()) for _ in range(3)]
        before = {pid: self.facts(pid) for pid in pids}
        enabled = self.lab.popen(
            1, ["sh", "-c", f"loadlevel run sh -c '{script}' enabled & wait $!; echo $?"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        enabled_pid = int(enabled.stdout.readline())

        def moves():
            events = observe.ask(self.lab, 1, "cluster", "events")["events"]
            return [event for event in events if "to" in event]

        # The balancer is awake: it moves the one that it may move.
        self.lab.wait_for(
            lambda: str(enabled_pid) in [event["pid"] for event in moves()], 60,
            f"the balancer moves {enabled_pid}")
        deadline = time.monotonic() + QUIET_S
        while time.monotonic() < deadline:
            for pid in pids:
                self.assertEqual(self.facts(pid), before[pid])
            time.sleep(0.1)
        self.assertEqual({event["pid"] for event in moves()}, {str(enabled_pid)})
        for node in NODES:
            self.assertNotIn(f"migrate {pids[0]} ", self.lab.log(node, "ssid"))
        self.lab.run(1, ["kill", "-KILL", str(enabled_pid)])
        self.assertEqual(enabled.communicate(timeout=30)[0].strip(), str(KILLED))
        self.lab.run(1, ["kill", *map(str, pids)])
        busy.wait(30)


class AtRest(OnThreeNodes):
    def cpu_s(self, proc):
        fields = (proc / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_an_idle_ssid_costs_next_to_nothing(self):
        procs = {
            (node, name): self.lab.path(node, f"/proc/{self.lab.services(node)[name]['pid']}")
            for node in NODES
            for name in ("ssid", "ssid-carrier")
        }
        before = {key: self.cpu_s(proc) for key, proc in procs.items()}
        started = time.monotonic()
        time.sleep(AT_REST_S)  # this is the measurement
        passed_s = time.monotonic() - started
        rows = []
        for (node, name), proc in procs.items():
            status = (proc / "status").read_text()
            rss = {
                key: int(line.split()[1]) / 1024
                for line in status.splitlines()
                for key in ("VmRSS", "RssAnon")
                if line.startswith(key + ":")
            }
            share = (self.cpu_s(proc) - before[node, name]) / passed_s
            rows.append([node, name, f"{share * 100:.2f}", f"{rss['VmRSS']:.1f}", f"{rss['RssAnon']:.1f}"])
            self.assertLess(share, CPU_SHARE_MAX, (node, name))
            self.assertLess(rss["VmRSS"], RSS_MIB_MAX, (node, name))
        print("\n" + observe.table(["node", "service", "CPU %", "RSS MiB", "of it anonymous"], rows))


if __name__ == "__main__":
    unittest.main(verbosity=2)
