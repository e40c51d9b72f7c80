#!/usr/bin/python3
"""A node is drained: all that can leave it leaves, alive and with its PID, the rest is named with a reason,
nothing arrives, on all nodes and over restarts; and brought back, it gets its share again."""

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
GUESTS = {1: 30, 3: 20}  # home: how many
ENDED = 7
MOVES_OUT_MAX = 4  # the default of [move] out_max
MOVED = re.compile(r"(\d+): 2 -> ([13]), frozen [\d.]+ ms, [\d.]+ [KM]iB")
REFUSED = "node {0} is drained: it takes no guests until `cluster bring {0}`"
QUIET_S = 6  # long enough for the balancer to have moved what it wants to move

# Sleeps; on SIGUSR1 it opens a packet socket and can't move any more; on SIGTERM it says who it is.
SLEEPER = f"""
$SIG{{TERM}} = sub {{ open F, ">>$ENV{{REPORT}}.ended"; print F "$$\\n"; exit {ENDED} }};
$SIG{{USR1}} = sub {{ socket(S, 17, 3, 0) or die; open F, ">$ENV{{REPORT}}.stuck"; close F }};
sleep 1 while 1;
"""
FLOCK = """
for i in $(seq {count}); do perl /root/sleeper.pl </dev/null >/dev/null 2>&1 & pids="$pids $!"; done
echo $pids
for p in $pids; do wait $p; echo $p $?; done
"""


class Flock:
    """Processes of one home whose parent waits for them."""

    def __init__(self, lab, home, count):
        self.lab, self.home = lab, home
        lab.path(home, "/root/sleeper.pl").write_text(SLEEPER)
        self.report = f"/root/flock{time.monotonic_ns()}"
        self.shell = lab.popen(
            home, ["bash", "-c", FLOCK.format(count=count)], env={"REPORT": self.report},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.pids = [int(pid) for pid in self.shell.stdout.readline().split()]
        # When they sleep, their handlers are in place.
        for pid in self.pids:
            lab.wait_for(lambda pid=pid: observe.state_of(lab, home, pid) == "S", 20, f"{pid} sleeps")

    def move_to(self, node):
        line = f"xargs -P 3 -I PID migrate PID {node}"
        self.lab.run(self.home, ["sh", "-c", line], input="\n".join(map(str, self.pids)), timeout=120)

    def end(self):
        """({PID: the status that the parent saw}, the PIDs as the processes themselves saw them)"""
        self.lab.run(self.home, ["kill", "-TERM", *map(str, self.pids)])
        said = self.shell.communicate(timeout=60)[0]
        statuses = {int(line.split()[0]): int(line.split()[1]) for line in said.splitlines()}
        seen = self.lab.path(self.home, f"{self.report}.ended").read_text()
        return statuses, sorted(map(int, seen.split()))

    def kill(self):
        if self.shell.poll() is None:
            self.lab.run(self.home, ["kill", "-KILL", *map(str, self.pids)], check=False)
            self.shell.communicate(timeout=60)


class Drain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_drain", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def setUp(self):
        self.addCleanup(self.open_all)

    def open_all(self):
        self.lab.heal()
        self.lab.wait_ready()
        self.wait_agreed()
        self.lab.run(1, ["loadlevel", "on"])
        for node in NODES:
            self.lab.run(1, ["cluster", "bring", str(node)])
        observe.wait_for_loads(self.lab)

    def wait_agreed(self):
        def agreed():
            status = [observe.ask(self.lab, node, "cluster") for node in NODES]
            return all(one["quorate"] and one["table_valid"] and one["members"] == 3 for one in status)

        self.lab.wait_for(agreed, 30, "the nodes agree")

    def flock(self, home, count, at=None):
        flock = Flock(self.lab, home, count)
        self.addCleanup(flock.kill)
        if at is not None:
            flock.move_to(at)
        return flock

    def where(self, pids):
        """{PID: node}, when every one is somewhere (a node shows who has come with the next second)."""
        wanted = set(map(str, pids))

        deadline = time.monotonic() + 10
        while True:
            rows = observe.ask(self.lab, 1, "ssips")["rows"]
            found = {row["pid"]: row["node"] for row in rows if row["pid"] in wanted}
            if len(found) == len(wanted):
                return {int(pid): node for pid, node in found.items()}
            self.assertLess(time.monotonic(), deadline, f"nowhere: {sorted(wanted - set(found))}")
            time.sleep(0.1)

    def assert_all_end_well(self, *flocks):
        for flock in flocks:
            statuses, seen = flock.end()
            self.assertEqual(statuses, dict.fromkeys(flock.pids, ENDED))
            self.assertEqual(seen, sorted(flock.pids))

    def drain(self, *options, asked=1, check=True):
        done = self.lab.run(asked, ["cluster", "drain", "2", *options], check=False, timeout=120)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done

    def drained_lines(self, node):
        """{asked node: what its `cluster -v` shows of `node`}"""
        return {
            asked: next(line for line in self.lab.run(asked, ["cluster", "-v"]).stdout.splitlines()
                        if line.startswith(f"{node}: "))
            for asked in NODES
        }

    def assert_drained(self, node, drained=True):
        for asked, line in self.drained_lines(node).items():
            self.assertTrue(line.startswith(f"{node}: UP"), line)
            self.assertEqual("DRAINED" in line.split(), drained, f"node {asked}: {line}")

    def test_fifty_guests_leave_with_their_pids_and_nothing_arrives_meanwhile(self):
        flocks = [self.flock(home, count, at=2) for home, count in GUESTS.items()]
        pids = [pid for flock in flocks for pid in flock.pids]
        self.assertEqual(self.where(pids), dict.fromkeys(pids, 2))
        spare = self.flock(3, 1)
        started = time.monotonic()
        command = self.lab.popen(1, ["cluster", "drain", "2"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(command.stdout.close)
        lines = [command.stdout.readline().strip()]
        self.assertEqual(
            observe.try_to_migrate(self.lab, spare.pids[0], 2, node=3),
            (1, f"migrate: {spare.pids[0]}: {REFUSED.format(2)}"))
        lines += [line.strip() for line in command.stdout]
        took_s = time.monotonic() - started
        self.assertEqual(command.wait(30), 0)
        moves = [MOVED.fullmatch(line) for line in lines[:-1]]
        self.assertNotIn(None, moves, lines)
        self.assertEqual(sorted(int(move[1]) for move in moves), sorted(pids))
        self.assertEqual(
            lines[-1], "node 2 is drained: 50 moved, none stays; `cluster bring 2` opens it again")
        self.assertNotIn(2, self.where(pids).values())
        print(f"{len(pids)} guests left in {took_s:.1f} s")
        self.lab.wait_for(
            lambda: all("guests 0 in" in line for line in self.drained_lines(2).values()), 10, "0 in")
        self.assert_drained(2)
        self.assertIn("node 2 is drained", self.lab.run(3, ["cluster", "events"]).stdout)
        # Empty, and drained once more: nothing to do. Asked on the node itself.
        answer = observe.ask(self.lab, 2, "cluster", "drain", "2")
        self.assertEqual((answer["moved"], answer["staying"], answer["guests_left"]), ([], [], 0))
        self.assert_all_end_well(*flocks, spare)

    def test_what_cannot_leave_is_named_with_the_reason(self):
        flock = self.flock(1, 2, at=2)
        stuck, movable = flock.pids
        self.lab.run(1, ["kill", "-USR1", str(stuck)])
        self.lab.wait_for(lambda: self.lab.path(1, f"{flock.report}.stuck").exists(), 10, "it can't move")
        done = self.lab.run(
            1, ["script", "-qec", "cluster drain 2", "/dev/null"], check=False, timeout=60, text=False)
        said = done.stdout.decode()
        self.assertEqual(done.returncode, 1, said)
        self.assertRegex(said, r"\r\033\[K\[=+ *>? *\] [12] of 2")
        shown = [line.rpartition("\033[K")[2] for line in said.splitlines()]
        self.assertRegex("\n".join(shown), rf"(?m)^{movable}: 2 -> [13], frozen ")
        reasons = [line for line in shown if line.startswith(f"{stuck}: stays: ")]
        self.assertEqual(len(reasons), 1, shown)
        self.assertIn("socket", reasons[0])
        self.assertEqual(
            shown[-1],
            "node 2 is drained: 1 moved, 1 stays, 1 of other nodes; `cluster bring 2` opens it again")
        print(reasons[0])
        self.assert_all_end_well(flock)

    def test_ssid_of_the_drained_node_dies_on_the_way(self):
        flock = self.flock(1, 16, at=2)
        before = self.lab.services(2)["ssid"]["restarts"]
        watchers = {
            asked: self.lab.popen(asked, ["cluster", "drain", "2"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
            for asked in (3, 2)
        }
        self.assertRegex(watchers[2].stdout.readline(), MOVED)
        # Dies when all the moves that it makes at a time stand in the midst.
        faults = self.lab.path(2, "/run/ssid/faults")
        faults.write_text("migrate.after_send pause\n" * MOVES_OUT_MAX)
        self.lab.wait_for(
            lambda: faults.read_text().count(" paused ") == MOVES_OUT_MAX, 30, "the midst of the moves")
        self.lab.service(2, "kill", "ssid")
        faults.write_text("")
        self.assertEqual(
            watchers[2].communicate(timeout=60)[1], "cluster: drain 2: ssid closed the connection\n")
        self.assertEqual(watchers[2].returncode, 1)
        # Another node's ssid waits for the next one there.
        said = watchers[3].communicate(timeout=60)
        self.assertEqual((watchers[3].returncode, said[1]), (0, ""))
        self.assertRegex(said[0].splitlines()[-1], r"^node 2 is drained: \d+ moved, none stays;")
        self.lab.wait_for(lambda: self.lab.services(2)["ssid"]["restarts"] > before, 30, "ssid is back")
        self.lab.wait_ready([2])
        self.wait_agreed()
        self.assert_drained(2)
        last = self.drain().stdout.splitlines()[-1]
        self.assertRegex(last, r"^node 2 is drained: \d+ moved, none stays;")
        self.assertNotIn(2, self.where(flock.pids).values())
        self.assert_all_end_well(flock)

    def test_interrupted_it_stays_drained_and_goes_on(self):
        flock = self.flock(3, 8, at=2)
        self.lab.run(1, ["loadlevel", "off"])  # the balancers of all nodes: a drain is another matter
        command = self.lab.popen(
            1, ["cluster", "drain", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertRegex(command.stdout.readline(), MOVED)
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=30)[1].strip()
        self.assertEqual(command.returncode, 128 + signal.SIGINT)
        self.assertEqual(
            said, "cluster: drain 2: interrupted; the node stays drained and goes on sending its processes "
            "away; `cluster bring 2` opens it again")
        self.assert_drained(2)
        self.lab.wait_for(lambda: 2 not in self.where(flock.pids).values(), 30, "all have left")
        self.assert_all_end_well(flock)

    def test_a_node_is_drained_over_its_reboot_until_it_is_brought(self):
        self.lab.run(2, ["cluster", "drain", "n3"])
        self.lab.crash(3)
        self.lab.wait_for(
            lambda: observe.ask(self.lab, 1, "cluster")["members"] == 2, 30, "node 3 is away")
        away = self.lab.run(1, ["cluster", "drain", "3"])
        self.assertEqual(
            away.stdout, "node 3 is drained; it is not up; `cluster bring 3` opens it again\n")
        self.lab.boot(3)
        self.wait_agreed()
        observe.wait_for_loads(self.lab)
        self.assert_drained(3)
        flock = self.flock(1, 1)
        self.assertEqual(
            observe.try_to_migrate(self.lab, flock.pids[0], 3),
            (1, f"migrate: {flock.pids[0]}: {REFUSED.format(3)}"))
        self.assertEqual(self.lab.run(1, ["cluster", "bring", "3"]).stdout, "node 3 takes guests again\n")
        self.assert_drained(3, drained=False)
        observe.migrate(self.lab, flock.pids[0], 3)
        self.assert_all_end_well(flock)

    def test_brought_back_it_gets_its_share_of_the_work(self):
        self.drain()
        self.lab.run(1, ["cluster", "drain", "3"])
        work = "loadlevel run perl -e '1 while 1' & "
        shell = self.lab.popen(1, ["bash", "-c", work * 4 + "jobs -p; wait"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
        pids = [int(shell.stdout.readline()) for _ in range(4)]
        try:
            time.sleep(QUIET_S)
            self.assertEqual(set(self.where(pids).values()), {1})
            self.lab.run(3, ["cluster", "bring", "2"])
            self.lab.wait_for(lambda: 2 in self.where(pids).values(), 30, "node 2 works again")
            self.assertNotIn(3, self.where(pids).values())
        finally:
            self.lab.run(1, ["kill", "-KILL", *map(str, pids)], check=False)
            shell.communicate(timeout=30)

    def test_wrong_input_and_no_quorum(self):
        for node in ("9", "home", "x", "0"):
            done = self.lab.run(1, ["cluster", "drain", node], check=False)
            self.assertEqual(
                (done.returncode, done.stdout, done.stderr),
                (2, "", f"cluster: drain {node}: no node '{node}' in this cluster\n"))
        done = self.lab.run(
            1, ["setpriv", "--reuid=65534", "--clear-groups", "cluster", "bring", "2"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^cluster: bring 2: .*root.*\n$")
        self.lab.partition("1:2,3")
        self.lab.wait_for(lambda: not observe.ask(self.lab, 1, "cluster")["quorate"], 30, "no quorum")
        for word in ("drain", "bring"):
            done = self.lab.run(1, ["cluster", word, "2"], check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"^cluster: {word} 2: .*quorum.*\n$")
        self.lab.heal()
        self.wait_agreed()
        self.assert_drained(2, drained=False)


if __name__ == "__main__":
    unittest.main(verbosity=2)
