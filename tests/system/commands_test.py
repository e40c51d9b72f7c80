#!/usr/bin/python3
"""What the commands say is so, at once and on whichever node they are asked: where a process is, why, what is on
the list, when something happened; and what ssid.toml says is obeyed."""

import fcntl
import json
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from probe import Probe  # noqa: E402
from terminal import Terminal  # noqa: E402

NODES = (1, 2, 3)
FAULTS = "/run/ssid/faults"
MOVES = 24
RING_STOPS_S = 0.3  # less than corosync needs to give a node up
BUSY = "i=0; while :; do i=$((i+1)); done"
SETTINGS = """
[link]
carrier_port = 9789

[loadlevel]
accepting = {accepting}
"""


class OnThreeNodes(unittest.TestCase):
    """One lab for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name=f"t_commands_{cls.__name__}", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        cls.configure()
        observe.wait_for_loads(cls.lab)

    @classmethod
    def configure(cls):
        pass

    def probe(self, name, at=1, home=1):
        probe = Probe(self.lab, home, name=name)
        self.addCleanup(probe.end)
        if at != home:
            observe.migrate(self.lab, probe.pid, at, node=home)
        return probe

    def said(self, node, *command):
        return self.lab.run(node, command).stdout

    def why(self, node, pid):
        return observe.ask(self.lab, node, "loadlevel", "why", str(pid))["reasons"]

    def moves(self, pid):
        events = observe.ask(self.lab, 1, "cluster", "events")["events"]
        return [(event["from"], event["to"]) for event in events if "to" in event and event["pid"] == str(pid)]

    def start_busy(self, node=1):
        """A process that wants a CPU, enabled from its start; its PID."""
        job = self.lab.popen(
            node, ["sh", "-c", f"loadlevel run sh -c '{BUSY}' </dev/null >/dev/null 2>&1 & echo $!; wait $!"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        pid = int(job.stdout.readline())

        def end():
            self.lab.run(node, ["kill", "-KILL", str(pid)], check=False)
            job.communicate(timeout=30)

        self.addCleanup(end)
        return pid


class Commands(OnThreeNodes):
    def test_events_have_their_time(self):
        probe = self.probe("timed", at=2)
        event = [e for e in observe.ask(self.lab, 3, "cluster", "events")["events"] if e.get("pid") == str(probe.pid)][0]
        self.assertLess(abs(event["time_ms"] / 1000 - time.time()), 60)
        for line in self.said(3, "cluster", "events").splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S")

    def test_the_list_has_what_was_just_added(self):
        """Also while messages of the group are slow: the ring stands still for a moment."""
        corosync = str(self.lab.services(3)["corosync"]["pid"])
        for i, action in enumerate(("add", "remove") * 3):
            path = f"/opt/program{i // 2}"
            self.lab.run(3, ["kill", "-STOP", corosync])
            try:
                job = self.lab.popen(
                    1, ["sh", "-c", f"loadlevel {action} {path} && loadlevel list"], stdout=subprocess.PIPE, text=True)
                time.sleep(RING_STOPS_S)
            finally:
                self.lab.run(3, ["kill", "-CONT", corosync])
            said = job.communicate(timeout=20)[0].splitlines()
            self.assertEqual((job.returncode, path in said), (0, action == "add"))
            said = self.said(2, "loadlevel", "list").splitlines()
            self.assertEqual(path in said, action == "add")

    def test_ssips_while_corosync_stands_still(self):
        probe = self.probe("alone")
        corosync = str(self.lab.services(1)["corosync"]["pid"])
        self.lab.run(1, ["kill", "-STOP", corosync])
        try:
            done = self.lab.run(1, ["ssips", "-p", str(probe.pid)], check=False)
        finally:
            self.lab.run(1, ["kill", "-CONT", corosync])
        self.assertEqual((done.returncode, done.stderr), (
            1, "ssips: node 2, 3: was not asked, its processes are missing: corosync of this node stands still\n"))
        self.assertEqual([line.split()[0] for line in done.stdout.splitlines()], ["PID", str(probe.pid)])

        def agreed():
            status = [observe.ask(self.lab, node, "cluster") for node in NODES]
            return all(one["quorate"] and one["table_valid"] and one["members"] == len(NODES) for one in status)

        self.lab.wait_for(agreed, 30, "the nodes agree")
        self.assertEqual(self.lab.run(1, ["ssips", "-p", str(probe.pid)]).stderr, "")

    def test_the_balancer_of_a_node_by_its_name(self):
        self.assertEqual(self.said(1, "loadlevel", "off", "-n", "n2"), "balancer: 2: off\n")
        self.addCleanup(self.said, 1, "loadlevel", "on")
        self.assertEqual([observe.ask(self.lab, n, "loadlevel", "status")["balancing"] for n in NODES], [True, False, True])
        for name in ("nowhere", "home", "", "0"):
            done = self.lab.run(1, ["loadlevel", "off", "-n", name], check=False)
            self.assertEqual((done.returncode, done.stderr), (2, f"loadlevel: no node '{name}' in this cluster\n"))

    def test_enabled_processes_are_shown_by_their_pids_and_stay_enabled(self):
        probe = self.probe("enabled", at=2)
        self.said(1, "loadlevel", "enable", str(probe.pid))

        def shown(node):
            return [row["pid"] for row in observe.ask(self.lab, node, "loadlevel", "status")["enabled"]]

        self.lab.wait_for(lambda: str(probe.pid) in shown(2), 10, "the guest is shown")
        self.assertEqual(shown(2), [str(probe.pid)])
        self.assertEqual(shown(1), [])
        # At once where it comes to.
        for to in (3, 1, 2):
            observe.migrate(self.lab, probe.pid, to)
            status = self.said(to, "loadlevel", "status", str(probe.pid))
            self.assertEqual(status, f"{probe.pid}: enabled, on node {to}: enabled by uid 0\n")
            rows = observe.ask(self.lab, 1, "ssips")["rows"]
            self.assertEqual([r["loadlevel"] for r in rows if r["pid"] == str(probe.pid)], [True])

    def test_an_orphan_of_what_loadlevel_run_started_is_enabled(self):
        """Its parents end before ssid looks for the first time."""
        shell = "loadlevel run sh -c '(setsid sleep 7777 </dev/null >/dev/null 2>&1 &)'"
        self.said(1, "sh", "-c", shell)

        def orphan():
            rows = observe.ask(self.lab, 1, "loadlevel", "status")["enabled"]
            return [row for row in rows if row["comm"] == "sleep"]

        row = self.lab.wait_for(orphan, 10, "the orphan is enabled")[0]
        self.said(1, "kill", row["pid"])

    def test_why_tells_why_it_was_moved_wherever_it_is_asked(self):
        pids = [self.start_busy() for _ in range(2)]
        moved = self.lab.wait_for(lambda: [pid for pid in pids if self.moves(pid)], 60, "the balancer moves one")[0]
        self.said(1, "loadlevel", "off")
        self.addCleanup(self.said, 1, "loadlevel", "on")
        time.sleep(1)  # a move may be under way yet
        came, went = self.moves(moved)[-1]
        for node in NODES:
            reasons = self.why(node, moved)
            self.assertIn(f"moved {came} -> {went} because:", reasons)
            self.assertRegex(" ".join(reasons), r"runnable tasks on 1 CPU")
        # A user's move is no balancer's.
        observe.migrate(self.lab, moved, 1 if went != 1 else 2)
        self.assertNotIn("because", " ".join(self.why(1, moved)))

    def test_parts_of_ssid_are_not_moved(self):
        probe = self.probe("realm", at=2)
        realms = [
            proc.name for proc in self.lab.path(2, "/proc").glob("[0-9]*")
            if (proc / "comm").exists() and (proc / "comm").read_text() == "ssid-realm\n"
        ]
        self.assertTrue(realms, probe)
        for pid in [f"2:{pid}" for pid in realms]:
            status, said = observe.try_to_migrate(self.lab, pid, 3, node=2)
            self.assertEqual((status, said.split(": ", 2)[2]), (1, "it is a part of ssid itself"))

    def test_a_pinned_process_stays_on_a_drained_node(self):
        job = self.lab.popen(
            1, ["sh", "-c", "runon -p 2 sleep 600 & echo $!; wait $!"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        pid = int(job.stdout.readline())
        self.addCleanup(job.communicate)
        self.addCleanup(self.lab.run, 1, ["kill", "-KILL", str(pid)])
        self.lab.wait_for(lambda: self.moves(pid), 30, "it is there")
        self.addCleanup(self.said, 1, "cluster", "bring", "2")
        done = self.lab.run(1, ["cluster", "drain", "2"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, rf"(?m)^{pid}: stays: .*pinned")
        self.assertEqual(self.moves(pid), [(1, 2)])

    # migrate --wait

    def arm(self, text):
        with open(self.lab.path(1, FAULTS), "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate()
            file.write(text)

    def test_migrate_waits_for_what_is_busy_if_it_is_told_to(self):
        probe = self.probe("waited")
        self.arm("migrate.after_freeze pause\n")
        first = self.lab.popen(1, ["migrate", str(probe.pid), "2"], stdout=subprocess.PIPE, text=True)
        self.lab.wait_for(lambda: "paused" in self.lab.path(1, FAULTS).read_text(), 30, "the move is paused")
        status, said = observe.try_to_migrate(self.lab, probe.pid, 3, node=2)
        self.assertEqual((status, said), (1, f"migrate: {probe.pid}: it is being moved already"))
        done = self.lab.run(1, ["migrate", "--json", str(probe.pid), "3"], check=False)
        self.assertEqual(json.loads(done.stdout)["code"], "busy")
        waiting = [
            self.lab.popen(
                2, ["migrate", "--wait", str(probe.pid), to], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for to in ("2", "3")
        ]
        told = [job.stderr.readline() for job in waiting]
        self.assertEqual(told, [f"{probe.pid}: waiting: it is being moved already\n"] * 2)
        given_up = self.lab.run(
            1, ["timeout", "-s", "INT", "1", "migrate", "--wait", str(probe.pid), "3"], check=False)
        self.assertNotEqual(given_up.returncode, 0)
        self.arm("")
        self.assertIn(f"{probe.pid}: 1 -> 2, frozen ", first.communicate(timeout=60)[0])
        out = [job.communicate(timeout=60)[0] for job in waiting]
        self.assertEqual([job.returncode for job in waiting], [0, 0])
        # One of them was first; to 2 it may find that it is there, or have to come back.
        self.assertRegex(out[0], rf"{probe.pid}: (runs on node 2 already|3 -> 2, frozen .*)\n")
        self.assertRegex(out[1], rf"{probe.pid}: 2 -> 3, frozen .*\n")
        time.sleep(0.5)  # who gave up asks no more
        self.assertEqual(len(self.moves(probe.pid)), 2 + ("3 -> 2" in out[0]))
        self.assertTrue(probe.report()["memory_good"])


class Mon(OnThreeNodes):
    def test_once(self):
        for command in (["mon", "--once"], ["mon"]):
            text = self.said(2, *command)
            self.assertTrue(text.startswith("3 of 3 nodes up, quorum: yes"), text)
            self.assertRegex(text, r"(?m)^  1 n1 \[[#.]+[\]+] +\d+\.\d\d/\d.* GiB *in +\d+ out +\d+$")

    def test_on_a_terminal(self):
        probe = self.probe("mon")
        tty = Terminal(self.lab, 1, ["env", "TERM=xterm", "PS1=$ ", "dash", "-i"])
        self.addCleanup(tty.close)
        tty.expect(r"\$ $")
        tty.type("mon\n")
        tty.expect(r"3 of 3 nodes up(.|\n)*last moves(.|\n)*q quit")
        observe.migrate(self.lab, probe.pid, 2)
        tty.expect(rf"{probe.pid} (.|\n)*1 -> 2")
        tty.type("u")
        tty.expect(r"\d%")
        tty.type("h")
        tty.expect(r"how much of the node's CPUs")
        tty.resize(12, 60)
        tty.expect(r"q quit")
        self.lab.service(1, "stop", "ssid")
        tty.expect(r"mon: .*ssid")
        self.lab.service(1, "start", "ssid")
        self.lab.wait_ready()
        observe.wait_for_loads(self.lab)
        tty.expect(r"of 3 nodes up", timeout=30)
        tty.type("q")
        tty.expect(r"\$ $")
        tty.type("stty -a | grep -o ' icanon\\| echo '\n")
        tty.expect(r" icanon\r\n echo \r\n")

    def test_without_ssid(self):
        done = self.lab.run(1, ["env", "SSID_SOCKET=/nowhere", "mon"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^mon: .*\n$")


class Ssips(OnThreeNodes):
    def test_a_process_that_is_moved_is_on_one_node_at_any_time(self):
        probe = self.probe("roamer")
        stop = threading.Event()
        failures, asked = [], [0]

        def find(node):
            answer = observe.ask(self.lab, node, "ssips")
            return answer, [(row["pid"], row["node"]) for row in answer["rows"] if row["comm"] == "roamer"]

        def watch(node):
            while not stop.is_set():
                answer, found = find(node)
                asked[0] += 1
                if answer["silent"] or len(found) != 1 or found[0][0] != str(probe.pid):
                    failures.append((node, answer["silent"], found))

        self.lab.wait_for(lambda: find(1)[1], 10, "it is not too young to be shown")
        watchers = [threading.Thread(target=watch, args=(node,)) for node in (1, 3)]
        for watcher in watchers:
            watcher.start()
        try:
            for i in range(MOVES):
                observe.migrate(self.lab, probe.pid, (2, 3, 1)[i % 3])
        finally:
            stop.set()
            for watcher in watchers:
                watcher.join()
        print(f"{MOVES} moves, {asked[0]} answers, {len(failures)} wrong")
        self.assertEqual(failures, [])
        self.assertGreater(asked[0], MOVES)

    def in_terminal(self, line):
        """What a shell on node 1 with a terminal of its own prints."""
        done = self.lab.run(1, ["script", "-qec", f"bash -c '{line}'", "/dev/null"])
        return done.stdout.replace("\r", "")

    def test_terminals_and_sizes(self):
        self.lab.run(1, ["sh", "-c", "setsid sleep 5555 </dev/null >/dev/null 2>&1 &"])
        shell = "; echo ---; ".join((
            "sleep 4444 & sleep 2; tty", "ssips -o args --no-headers", "ssips -o args --no-headers x",
            "ssips -o args --no-headers -a", "ssips --json", "kill %1"))
        tty, own, mine, terminals, answer, _ = self.in_terminal(shell).split("---\n")
        tty = tty.strip()
        self.assertRegex(tty, r"^/dev/pts/\d+$")
        for shown in (own, mine, terminals):
            self.assertIn("sleep 4444", shown)
        self.assertNotIn("sleep 5555", own)
        self.assertNotIn("sleep 5555", terminals)
        self.assertIn("sleep 5555", mine)
        answer = json.loads(answer)
        self.assertEqual(answer["self"], 1)
        rows = {row["command"]: row for row in answer["rows"]}
        self.assertEqual(rows["sleep 4444"]["tty"], tty.removeprefix("/dev/"))
        self.assertEqual(rows["sleep 5555"]["tty"], "")
        for row in answer["rows"]:
            self.assertGreaterEqual(row["vsz_kb"], row["rss_kb"])
            self.assertTrue(0 <= row["pmem"] < 100, row)
        self.lab.run(1, ["kill", rows["sleep 5555"]["pid"]])

    def test_the_terminal_of_a_guest_is_that_of_its_home(self):
        line = ("sleep 3333 </dev/null >/dev/null 2>&1 & sleep 1; migrate $! 2 >/dev/null; tty; "
                "ssips -o node,tty,args --no-headers; kill $!")
        tty, *rows = self.in_terminal(line).splitlines()
        self.assertIn(f"2 {tty.removeprefix('/dev/')} sleep 3333", [" ".join(row.split()) for row in rows])


class Settings(OnThreeNodes):
    """ssid.toml of this cluster: another port of the carriers, and node 2 takes nothing in."""

    @classmethod
    def configure(cls):
        for node in NODES:
            accepting = "false" if node == 2 else "true"
            cls.lab.path(node, "/etc/ssi/ssid.toml").write_text(SETTINGS.format(accepting=accepting))
            for service in ("ssid-carrier", "ssid"):
                cls.lab.service(node, "restart", service)
        cls.lab.wait_ready()
        cls.lab.wait_quorate()

    def test_the_carriers_meet_at_the_port_of_the_file(self):
        probe = self.probe("ported", at=2)
        self.assertTrue(probe.report()["descriptors_good"])
        for node in NODES:
            lines = self.lab.path(node, f"/proc/{self.lab.services(node)['ssid-carrier']['pid']}/net/tcp6").read_text()
            lines += self.lab.path(node, "/proc/1/net/tcp").read_text()
            listening = {int(line.split()[1].split(":")[1], 16) for line in lines.splitlines() if " 0A " in line}
            self.assertIn(9789, listening)
            self.assertNotIn(7789, listening)

    def test_who_takes_no_guests_gets_none_from_balancers(self):
        self.lab.wait_for(
            lambda: "takes no guests" in self.said(1, "cluster", "-v").splitlines()[1], 10, "node 2 takes no guests")
        pids = [self.start_busy() for _ in range(3)]
        self.lab.wait_for(lambda: any(self.moves(pid) for pid in pids), 60, "the balancer moves one")
        time.sleep(5)  # it has time for others
        self.assertEqual({to for pid in pids for _, to in self.moves(pid)} - {1, 3}, set())
        # Its user may.
        probe = self.probe("invited", at=2)
        self.assertTrue(probe.report()["memory_good"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
