#!/usr/bin/python3
"""runon and onall: a command on another node has everything that it would have had here, and whoever started
it sees no difference; what can't be run is said in one line, with nothing half-done behind it."""

import fcntl
import os
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
NOBODY = 65534
FAULTS = "/run/ssid/faults"
# Where it runs: each node has a PID namespace, and each realm too.
WHERE = ["readlink", "/proc/self/ns/pid"]


class Runon(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_runon", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def tearDown(self):
        """Nothing is left of any of them."""
        observe.nothing_left(self.lab)

    def run_on(self, node, *command, **options):
        """As typed on node 1."""
        options.setdefault("check", False)
        return self.lab.run(1, ["runon", str(node), *command], **options)

    def text(self, *command, **options):
        done = self.run_on(2, *command, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.strip()

    def local(self, *command, **options):
        return self.lab.run(1, command, **options).stdout.strip()

    def fails(self, status, line, *command, **options):
        done = self.lab.run(1, command, check=False, **options)
        self.assertEqual((done.returncode, done.stdout, done.stderr.strip()), (status, "", line))

    def start(self, *command):
        return self.lab.popen(
            1, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    # It runs there, and is the same

    def test_it_runs_there(self):
        here = self.local(*WHERE)
        self.assertNotEqual(self.text(*WHERE), here)
        self.assertEqual(self.run_on(1, *WHERE).stdout.strip(), here)
        self.assertEqual(self.run_on("home", *WHERE).stdout.strip(), here)
        self.assertEqual(self.run_on("n2", "true").returncode, 0)
        self.assertEqual(self.run_on("best", "true").returncode, 0)

    def test_what_it_has(self):
        for command in (["pwd"], ["id"], ["hostname"], ["sh", "-c", "umask; ulimit -a; nice"]):
            with self.subTest(command):
                self.assertEqual(self.text(*command, cwd="/usr/share"), self.local(*command, cwd="/usr/share"))
        self.assertEqual(self.text("printenv", "FOO", env={"FOO": "as here"}), "as here")
        shell = "cd /tmp; umask 027; ulimit -n 333; exec runon 2 sh -c 'pwd; umask; ulimit -n; touch made; stat -c %a made'"
        self.assertEqual(self.local("sh", "-c", shell).split(), ["/tmp", "0027", "333", "640"])

    def test_what_the_cluster_says_of_it(self):
        """/cluster is home's there, too: a file of it has no size, and says something all the same."""
        says = "cd /cluster/proc/$$ && cat where loadlevel && echo 1 >loadlevel && cat loadlevel"
        self.assertEqual(self.text("sh", "-c", says).split(), ["2", "0", "1"])

    def test_an_ordinary_user(self):
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--groups=5,6"]
        self.assertEqual(self.local(*drop, "runon", "2", "id"), self.local(*drop, "id"))

    def test_the_files_are_those_of_where_it_was_typed(self):
        listing = ["ls", "-alR", "/usr/share/doc"]
        self.lab.path(2, "/usr/share/doc/only-here").write_text("on node 2\n")
        there = self.lab.run(2, ["runon", "1", *listing], cwd="/").stdout
        self.assertIn("only-here", there)
        self.assertEqual(there, self.lab.run(2, listing, cwd="/").stdout)

    def test_its_pid_and_its_parent(self):
        shell = "sh -c 'echo $$; exec runon 2 sh -c \"echo \\$\\$\"' & child=$!; wait; echo $child"
        self.assertEqual(len(set(self.local("sh", "-c", shell).split())), 1)

    # Pipes, ends, signals

    def test_pipes_on_either_side(self):
        words = "\n".join(f"word {i}" for i in range(20000)) + "\n"
        self.assertEqual(self.run_on(2, "cat", input=words).stdout, words)
        shell = "seq 100000 | runon 2 sort -rn | runon 3 head -n 3"
        self.assertEqual(self.local("sh", "-c", shell).split(), ["100000", "99999", "99998"])
        late = self.local("sh", "-c", "(sleep 1; echo late) | runon 2 cat")
        self.assertEqual(late, "late")

    def test_how_it_ends(self):
        self.assertEqual(self.run_on(2, "sh", "-c", "exit 7").returncode, 7)
        self.assertEqual(self.local("sh", "-c", "runon 2 sh -c 'kill -9 $$'; echo $?"), "137")
        self.assertEqual(self.local("sh", "-c", "(runon 2 sh -c 'kill -TERM $$') 2>&-; echo $?"), "143")

    def test_signals(self):
        trap = 'trap "echo usr1" USR1; trap "echo int; exit 3" INT; echo ready; while :; do sleep 0.05; done'
        job = self.start("runon", "2", "sh", "-c", trap)
        self.assertEqual(job.stdout.readline(), "ready\n")
        job.send_signal(signal.SIGUSR1)
        self.assertEqual(job.stdout.readline(), "usr1\n")
        job.send_signal(signal.SIGINT)
        self.assertEqual(job.communicate(timeout=20), ("int\n", ""))
        self.assertEqual(job.returncode, 3)

    def test_it_is_a_guest_like_any_other(self):
        shell = "runon 2 sleep 300 & sleep 1; migrate $! 3 >/dev/null; ssips -p $!; kill $!; wait $!"
        lines = self.local("sh", "-c", shell, check=False).splitlines()
        self.assertEqual(lines[1].split()[1:4], ["3", "1", "2"], "NODE HOME MIGS")

    def test_pinned(self):
        shell = "runon -p 2 sleep 300 & sleep 1; loadlevel status $!; kill $!"
        self.assertIn("not enabled, on node 2: pinned by uid 0", self.local("sh", "-c", shell))

    def test_many_at_once(self):
        shell = "for i in $(seq 40); do runon $((i % 2 + 2)) echo $i & done; wait"
        self.assertEqual(sorted(map(int, self.local("sh", "-c", shell).split())), list(range(1, 41)))

    # What goes wrong

    def test_wrong_usage(self):
        self.fails(2, "runon: usage: NODE is missing (see --help)", "runon")
        self.fails(2, "runon: usage: CMD is missing (see --help)", "runon", "2")
        self.fails(2, "runon: usage: unknown option -q (see --help)", "runon", "-q", "2", "ls")
        self.fails(2, "runon: nowhere: no node 'nowhere' in this cluster", "runon", "nowhere", "ls")
        self.fails(2, "onall: usage: CMD is missing (see --help)", "onall", "--")
        self.fails(127, "runon: nosuch: No such file or directory", "runon", "2", "nosuch")
        self.fails(126, "runon: /etc/passwd: Permission denied", "runon", "2", "/etc/passwd")

    def test_what_can_not_be_moved_is_not_run(self):
        out = self.lab.run(
            1, ["sh", "-c", "exec 9< /proc/self/mounts; runon 2 touch /tmp/ran; echo $?; ls /tmp/ran"], check=False)
        self.assertEqual(out.stdout, "1\n")
        self.assertRegex(out.stderr, r"runon: 2: fd 9 is a file of this machine's kernel.* \(/proc/\d+/mounts\)")

    def arm(self, node, line):
        with open(self.lab.path(node, FAULTS), "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(line + "\n")

    def test_ssid_dies_on_the_way(self):
        for node, point in ((1, "after_freeze"), (2, "target_received"), (2, "restore"), (1, "after_commit")):
            with self.subTest(node=node, point=point):
                before = self.lab.services(node)["ssid"]["restarts"]
                self.arm(node, f"migrate.{point} kill")
                done = self.run_on(2, "sh", "-c", "echo ran")
                if done.returncode == 0:
                    self.assertEqual((done.stdout, done.stderr), ("ran\n", ""))
                else:
                    self.assertEqual((done.returncode, done.stdout), (1, ""))
                    self.assertRegex(done.stderr, r"^runon: 2: [^\n]+\n$")
                self.lab.wait_for(lambda: self.lab.services(node)["ssid"]["restarts"] > before, 30, "it died")
                self.lab.wait_ready()
                self.lab.wait_quorate()
                observe.wait_for_loads(self.lab)

    # onall

    def test_onall(self):
        done = self.lab.run(1, ["onall", "sh", "-c", "readlink /proc/self/ns/pid; echo oops >&2; pwd"], cwd="/tmp")
        lines = sorted(done.stdout.splitlines())
        self.assertEqual([line[:3] for line in lines], ["1: "] * 2 + ["2: "] * 2 + ["3: "] * 2)
        self.assertEqual(lines[::2], ["1: /tmp", "2: /tmp", "3: /tmp"])
        self.assertEqual(len({line[3:] for line in lines[1::2]}), 3)
        self.assertEqual(sorted(done.stderr.splitlines()), ["1: oops", "2: oops", "3: oops"])
        worst = "test $(readlink /proc/self/ns/pid) = %s || exit 4" % self.local(*WHERE)
        self.assertEqual(self.lab.run(1, ["onall", "sh", "-c", worst], check=False).returncode, 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
