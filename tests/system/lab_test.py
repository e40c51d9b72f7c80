#!/usr/bin/python3
"""The lab itself: nodes share nothing but packets, a power cut is one, and nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lab import Lab, LabError, cgroup  # noqa: E402

CHECKOUT = Path(__file__).resolve().parents[2]
QUORUM_SEES_CRASH_S = 3.0  # `cluster -v` shows DOWN within this
EXEC_S = 0.050


def traces(key):
    """All that a lab of this key could have left on the machine."""
    found = [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if key in line]
    found += [f"cgroup {path}" for path in cgroup.mount_point().glob(f"*{key}*")]
    for directory in ("/run/ssid-lab", "/var/lib/ssid-lab"):
        if os.path.isdir(directory):
            found += [f"file {directory}/{name}" for name in os.listdir(directory) if key in name]
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    found += [f"link {line}" for line in links.splitlines() if re.match(r"(n\d+e\d|br\d)\b", line)]
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if key in status.read_text():
                found.append(f"process {status}")
        except OSError:
            continue
    return found


def network_namespaces(started_before=float("inf")):
    """Of all processes, or of those that were started (in clock ticks since boot) before that: the number of a
    namespace that is gone is soon another's."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rsplit(")", 1)[1].split()[19]) < started_before:
                found.add(os.readlink(process / "ns/net"))
        except OSError:
            continue
    return found


def clock_ticks():
    return float(Path("/proc/uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK")


class OneLab(unittest.TestCase):
    """Tests that share a lab of three nodes."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(3, name="labtest")
        started = time.monotonic()
        cls.lab.up()
        cls.up_s = time.monotonic() - started

    @classmethod
    def tearDownClass(cls):
        cls.lab.down()

    def out(self, number, *command, **options):
        return self.lab.run(number, command, **options).stdout.strip()

    def test_up_is_quick(self):
        print(f"up 3, quorate: {self.up_s:.1f} s")
        self.assertLess(self.up_s, 6)

    # Isolation

    def test_a_file_of_one_node_does_not_exist_on_the_others(self):
        for directory in ("/root", "/etc", "/usr/bin", "/var/lib", "/tmp", "/run", "/dev/shm", "/home"):
            path = f"{directory}/only-on-1"
            self.out(1, "sh", "-c", f"echo one > {path}")
            self.assertEqual(self.out(1, "cat", path), "one")
            for number in (2, 3):
                self.assertNotEqual(self.lab.run(number, ["test", "-e", path], check=False).returncode, 0)
            self.assertFalse(Path(path).exists(), f"{path} is on the machine itself")

    def test_no_node_sees_the_disks_of_the_others(self):
        self.out(1, "sh", "-c", "echo secret-of-1 > /root/secret-of-1")
        self.assertEqual(self.out(2, "ls", "/var/lib").count("ssid-lab"), 0)
        self.assertEqual(self.out(2, "sh", "-c", "ls /run/ssid-lab 2>/dev/null | wc -l"), "0")

    def test_a_change_to_a_file_of_the_machine_stays_on_the_node(self):
        before = Path("/etc/passwd").read_text()
        self.out(1, "sh", "-c", "echo lab:x:999:999::/:/bin/sh >> /etc/passwd; rm /etc/group")
        self.assertEqual(Path("/etc/passwd").read_text(), before)
        self.assertEqual(self.out(2, "cat", "/etc/passwd"), before.strip())
        self.assertTrue(self.out(2, "ls", "/etc/group"))

    def test_processes_are_invisible_from_another_node(self):
        sleeper = self.lab.popen(1, ["sleep", "4711"])
        try:
            self.lab.wait_for(
                lambda: "sleep 4711" in self.out(1, "ps", "ax"), 5, "sleep on n1"
            )
            self.assertNotIn("sleep 4711", self.out(2, "ps", "ax"))
            self.assertEqual(self.out(2, "cat", "/proc/1/comm"), "lab-init")
        finally:
            sleeper.terminate()
            sleeper.wait(5)

    def test_each_has_its_own_name_ipc_and_cgroup_root(self):
        for number in (1, 2, 3):
            self.assertEqual(self.out(number, "hostname"), f"n{number}")
            self.assertIn("0::/\n", self.lab.run(number, ["cat", "/proc/self/cgroup"]).stdout)
            self.assertEqual(self.out(number, "sh", "-c", "ls -d /sys/fs/cgroup/*ssid-lab* 2>/dev/null | wc -l"), "0")
        self.out(1, "ipcmk", "-Q")
        self.assertNotIn("0x", self.out(2, "ipcs", "-q"))
        kinds = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
        for kind in kinds:
            seen = {self.out(n, "readlink", f"/proc/self/ns/{kind}") for n in (1, 2, 3)}
            seen.add(os.readlink(f"/proc/self/ns/{kind}"))
            self.assertEqual(len(seen), 4, f"{kind} namespaces: {seen}")

    def test_packets_pass_on_both_networks_and_only_inside_the_lab(self):
        for link in (0, 1):
            script = (
                "import socket; s=socket.create_server(('', 7000)); print('up', flush=True);"
                "c=s.accept()[0]; print(c.recv(9).decode())"
            )
            server = self.lab.popen(2, ["python3", "-c", script], stdout=subprocess.PIPE, text=True)
            self.assertEqual(server.stdout.readline(), "up\n")
            client = f"import socket; socket.create_connection(('{self.lab.address(2, link)}', 7000), 3).send(b'hello')"
            self.out(1, "python3", "-c", client)
            self.assertEqual(server.communicate(timeout=5)[0], "hello\n")
        self.assertNotIn("default", self.out(1, "ip", "route"))
        addresses = subprocess.run(["ip", "-br", "addr"], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("10.77.0.", addresses)

    def test_a_node_runs_on_its_cpu(self):
        cpus = sorted(os.sched_getaffinity(0))
        for number in (1, 2, 3):
            self.assertEqual(self.out(number, "nproc"), "1")
            listed = self.out(number, "sh", "-c", "grep Cpus_allowed_list /proc/self/status").split()[1]
            self.assertEqual(listed, str(cpus[number % len(cpus)]))

    # Commands

    def test_exec_passes_bytes_and_status(self):
        data = os.urandom(3_000_000)
        done = self.lab.run(1, ["sh", "-c", "cat; echo no >&2; exit 7"], check=False, input=data, text=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, data, b"no\n"))
        self.assertEqual(self.lab.run(1, ["sh", "-c", "kill -9 $$"], check=False).returncode, 137)
        self.assertEqual(self.lab.run(1, ["no-such-program"], check=False).returncode, 127)
        self.assertEqual(self.out(1, "pwd", cwd="/usr"), "/usr")
        self.assertEqual(self.out(1, "printenv", "A", env={"A": "b c"}), "b c")

    def test_exec_passes_files_too(self):
        with tempfile.TemporaryDirectory() as directory:
            source = Path(directory) / "in"
            source.write_bytes(os.urandom(1_000_000))
            target = Path(directory) / "out"
            with open(source, "rb") as stdin, open(target, "wb") as stdout:
                self.lab.run(2, ["cat"], stdin=stdin, stdout=stdout)
            self.assertEqual(source.read_bytes(), target.read_bytes())

    def test_exec_passes_signals(self):
        script = "trap 'echo got it; exit 3' USR1; echo ready; while :; do sleep 0.05; done"
        command = self.lab.popen(1, ["sh", "-c", script], stdout=subprocess.PIPE, text=True)
        self.assertEqual(command.stdout.readline(), "ready\n")
        command.send_signal(signal.SIGUSR1)
        self.assertEqual(command.communicate(timeout=5)[0], "got it\n")
        self.assertEqual(command.returncode, 3)

    def test_a_command_ends_when_its_asker_is_killed(self):
        command = self.lab.popen(1, ["sh", "-c", "echo $$; sleep 300"], stdout=subprocess.PIPE, text=True)
        pid = command.stdout.readline().strip()
        command.kill()
        command.communicate()
        self.lab.wait_for(
            lambda: self.lab.run(1, ["test", "-e", f"/proc/{pid}"], check=False).returncode != 0,
            5,
            "the command's end",
        )

    def test_exec_with_a_terminal(self):
        command = self.lab.enter_command(1, ["sh", "-c", "tty; test -t 0 && test -t 1 && echo both"], tty=True)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
        self.assertEqual(done.stdout.split(), ["/dev/pts/0", "both"])

    def test_exec_is_quick(self):
        times = []
        for _ in range(20):
            started = time.monotonic()
            self.lab.run(1, ["true"])
            times.append(time.monotonic() - started)
        median = sorted(times)[10]
        print(f"exec: {median * 1000:.0f} ms")
        self.assertLess(median, EXEC_S)

    def test_a_process_of_a_node_can_be_checkpointed(self):
        criu = "/usr/lib/ssid/criu"
        if self.lab.run(1, ["test", "-x", criu], check=False).returncode != 0:
            self.skipTest("no criu")
        script = "mkdir /tmp/i; setsid sh -c 'echo $$ > /tmp/pid; exec sleep 300' </dev/null >/dev/null 2>&1 &"
        self.out(1, "sh", "-c", script)
        pid_file = self.lab.path(1, "/tmp/pid")
        self.lab.wait_for(lambda: pid_file.exists() and pid_file.read_text(), 5, "the process")
        pid = pid_file.read_text().strip()
        self.out(1, criu, "dump", "--no-default-config", "-D", "/tmp/i", "-t", pid)
        self.assertFalse(self.lab.path(1, f"/proc/{pid}/exe").exists())
        self.out(1, criu, "restore", "--no-default-config", "-D", "/tmp/i", "-d")
        self.assertEqual(self.out(1, "cat", f"/proc/{pid}/comm"), "sleep")
        self.out(1, "kill", pid)

    # Network faults

    def test_partition_and_heal(self):
        self.lab.partition("1,2:3")
        self.lab.wait_quorate([1, 2])
        self.lab.wait_for(lambda: self.lab.quorum(3) == (False, [3]), 10, "n3 alone")
        self.lab.heal()
        self.lab.wait_quorate()

    def test_one_network_is_enough(self):
        self.lab.partition("1:2:3", links=[0])
        time.sleep(3)  # longer than corosync takes to notice a dead node
        for number in (1, 2, 3):
            self.assertEqual(self.lab.quorum(number), (True, [1, 2, 3]))
        self.lab.heal()
        self.lab.wait_quorate()

    def test_one_way_loss_splits_too(self):
        self.lab.partition("1,2:3", one_way=True)
        self.lab.wait_quorate([1, 2])
        self.lab.heal()
        self.lab.wait_quorate()

    # Power

    def test_a_crash_is_silent_and_seen_in_time_and_the_disk_stays(self):
        script = "import socket; c=socket.create_server(('', 7001)).accept()[0]; c.send(b'x'); c.recv(1)"
        server = self.lab.popen(3, ["python3", "-c", script])
        script = (
            "import socket, time\n"
            "while True:\n"
            "  try: s = socket.create_connection(('10.77.0.3', 7001)); break\n"
            "  except ConnectionRefusedError: time.sleep(0.05)\n"
            "s.recv(1); print('connected', flush=True); s.settimeout(1.5)\n"
            "try: print('heard', s.recv(1))\n"
            "except TimeoutError: print('silence')\n"
        )
        client = self.lab.popen(1, ["python3", "-c", script], stdout=subprocess.PIPE, text=True)
        self.assertEqual(client.stdout.readline(), "connected\n")
        self.out(3, "sh", "-c", "echo kept > /root/kept; echo lost > /run/lost")
        pids = self.lab.processes(3)
        started = time.monotonic()
        self.lab.crash(3)
        self.assertFalse([pid for pid in pids if is_running(pid)])
        self.lab.wait_quorate([1, 2])
        seen_s = time.monotonic() - started
        print(f"crash seen by the quorum: {seen_s:.1f} s")
        self.assertLess(seen_s, QUORUM_SEES_CRASH_S)
        self.assertEqual(client.communicate(timeout=5)[0], "silence\n")
        self.assertEqual(server.wait(5), 255)
        self.assertEqual(self.lab.run(3, ["true"], check=False).returncode, 255)
        self.lab.boot(3)
        self.assertEqual(self.out(3, "cat", "/root/kept"), "kept")
        self.assertFalse(self.lab.path(3, "/run/lost").exists())
        self.lab.wait_quorate()

    def test_power_commands_that_make_no_sense_are_refused(self):
        with self.assertRaisesRegex(LabError, "n1 is up already"):
            self.lab.boot(1)
        with self.assertRaisesRegex(LabError, "no such node: 9"):
            self.lab.crash(9)
        with self.assertRaisesRegex(LabError, "want sides"):
            self.lab.partition("1,2")

    # Services

    def test_a_killed_service_comes_back_and_a_stopped_one_does_not(self):
        before = self.lab.services(2)["corosync"]
        self.lab.service(2, "kill", "corosync")

        def is_back():
            now = self.lab.services(2)["corosync"]
            return now["state"] == "ready" and now["restarts"] == before["restarts"] + 1

        self.lab.wait_for(is_back, 10, "corosync's restart")
        self.lab.service(2, "stop", "corosync")
        self.lab.wait_quorate([1, 3])
        self.assertEqual(self.lab.services(2)["corosync"]["state"], "stopped")
        self.lab.service(2, "start", "corosync")
        self.lab.wait_quorate()
        self.assertIn("corosync", self.lab.log(2, "corosync").lower())


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class WholeLabs(unittest.TestCase):
    def assert_no_trace(self, lab, pids=()):
        self.assertEqual([pid for pid in pids if is_running(pid)], [])
        self.assertEqual(traces(lab.state.key), [])

    def test_down_leaves_nothing(self):
        lab = Lab(2, name="labtest_down")
        mounts = set(Path("/proc/self/mountinfo").read_text().splitlines())
        lab.up()
        lab.run(1, ["sh", "-c", "setsid sleep 300 >/dev/null 2>&1 & mkdir /sys/fs/cgroup/deep; mkdir /sys/fs/cgroup/deep/er"])
        lab.run(1, ["sh", "-c", "setsid sleep 300 >/dev/null 2>&1 & echo $! > /sys/fs/cgroup/deep/er/cgroup.procs"])
        lab.run(1, ["sh", "-c", "echo 1 > /sys/fs/cgroup/deep/cgroup.freeze"])
        pids = cgroup.processes(lab._group())
        held = {os.readlink(f"/proc/{pid}/ns/net") for pid in pids} - {os.readlink("/proc/self/ns/net")}
        self.assertGreaterEqual(len(held), 3)
        before = clock_ticks()
        lab.down()
        self.assert_no_trace(lab, pids)
        self.assertEqual(held & network_namespaces(started_before=before), set())
        self.assertFalse({m for m in Path("/proc/self/mountinfo").read_text().splitlines() if "ssid-lab" in m} - mounts)
        lab.down()  # nothing to do is fine

    def test_a_killed_up_leaves_nothing_after_down(self):
        command = [sys.executable, "-B", "-m", "lab", "--name", "labtest_half", "up", "3"]
        lab = Lab(3, name="labtest_half")
        for delay_s in (0.05, 0.15, 0.25, 0.4, 0.6, 0.9, 1.3):
            start = subprocess.Popen(command, cwd=CHECKOUT / "tests", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay_s)
            start.kill()
            start.wait()
            pids = cgroup.processes(lab._group())
            lab.down()
            self.assert_no_trace(lab, pids)

    def test_a_failed_boot_leaves_nothing(self):
        lab = Lab(3, name="labtest_fail")
        boot_all = lab._boot_all
        pids = []

        def boot_with_a_broken_disk(numbers):
            boot_all([1])
            pids.extend(cgroup.processes(lab._group()))
            (lab._disk(2) / "upper/usr/lib/ssid-lab/lab-init").unlink()
            boot_all([2, 3])

        lab._boot_all = boot_with_a_broken_disk
        with self.assertRaisesRegex(LabError, "boot n2: .*lab-init"):
            lab.up()
        self.assertTrue(pids)
        self.assert_no_trace(lab, pids)

    def test_each_node_has_its_part_of_a_cpu(self):
        busy = ["python3", "-c", "import time; end = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint(time.process_time())"]
        with Lab(2, name="labtest_part", cpu_part=0.25) as lab:
            self.assertLess(float(lab.run(1, busy).stdout), 1)  # of two seconds
            lab.crash(1)
            lab.boot(1)
            self.assertLess(float(lab.run(1, busy).stdout), 1)
        self.assert_no_trace(lab)
        self.assertEqual(list(Path("/sys/fs/cgroup").glob(f"*/*{lab.state.key}*")), [])
        for part in (0, -1, 1.5):
            with self.assertRaises(LabError):
                Lab(1, name="labtest_part", cpu_part=part).up()

    def test_up_replaces_what_a_killed_up_left(self):
        lab = Lab(2, name="labtest_again")
        lab.up()
        pids = cgroup.processes(lab._group())
        with Lab(2, name="labtest_again") as second:
            self.assertEqual([pid for pid in pids if is_running(pid)], [])
            self.assertEqual(second.run(1, ["hostname"]).stdout, "n1\n")
        self.assert_no_trace(lab)

    def test_labs_of_two_checkouts_do_not_meet(self):
        with tempfile.TemporaryDirectory() as other:
            (Path(other) / "build").symlink_to(CHECKOUT / "build")
            (Path(other) / ".ssid-dev").mkdir()
            (Path(other) / ".ssid-dev/criu").symlink_to(CHECKOUT / ".ssid-dev/criu")
            here = Lab(2, name="labtest_two")
            there = Lab(2, name="labtest_two", checkout=other)
            with here:
                with there:
                    here.run(1, ["sh", "-c", "echo here > /root/where"])
                    self.assertFalse(there.path(1, "/root/where").exists())
                    there.partition("1:2")
                    there.wait_for(lambda: not there.quorum(1)[0], 10, "the other lab's split")
                    self.assertEqual(here.quorum(1), (True, [1, 2]))
                    there.crash(1)
                    self.assertEqual(here.run(1, ["hostname"]).stdout, "n1\n")
                self.assertEqual(here.quorum(2), (True, [1, 2]))
                self.assert_no_trace(there)
            self.assert_no_trace(here)


if __name__ == "__main__":
    unittest.main(verbosity=2)
