#!/usr/bin/python3
"""/cluster/node/N from every node and from guests: what is there, who may, that it has an end, and that a node that is away
holds nobody up and comes back by itself. tests/system/posix_fs_test.py asks whether it is a file system."""

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
AT_ONCE_S = 1  # on a busy machine
# Keeps a file open; for each line it is told, appends it and says how that went.
KEEPER = """
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
print("open", flush=True)
for line in sys.stdin:
    try:
        os.write(fd, line.encode())
        print("written", os.fstat(fd).st_size, flush=True)
    except OSError as e:
        print(errno.errorcode[e.errno], flush=True)
"""


class NodeFs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_nodefs")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        cls.wait_shown(NODES)
        observe.wait_for_loads(cls.lab)

    @classmethod
    def wait_shown(cls, nodes, by=NODES):
        for node in by:
            for other in nodes:
                cls.lab.wait_for(
                    lambda node=node, other=other: cls.lab.run(
                        node, ["cat", f"/cluster/node/{other}/etc/hostname"], check=False).stdout == f"n{other}\n",
                    20, f"n{node} shows n{other}")

    def sh(self, node, line, check=True, uid=None, groups=()):
        drop = []
        if uid is not None:
            drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}",
                    f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"]
        return self.lab.run(node, [*drop, "sh", "-c", line], check=check)

    def timed(self, node, line):
        start = time.monotonic()
        done = self.sh(node, line, check=False)
        return done, time.monotonic() - start

    def keeper(self, node, path):
        """A process with the file open."""
        process = self.lab.popen(node, ["python3", "-c", KEEPER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)

        def end():
            process.stdin.close()
            process.wait(30)
            process.stdout.close()
        self.addCleanup(end)
        self.assertEqual(process.stdout.readline(), "open\n")
        return process

    def tell(self, process, line):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    # What is there

    def test_each_nodes_files_from_each(self):
        self.assertEqual(self.sh(1, "ls /cluster/node").stdout.split(), ["1", "2", "3"])
        for node in NODES:
            for other in NODES:
                at = f"/cluster/node/{other}/var/tmp"
                self.sh(node, f"umask 027; mkdir {at}/by{node}; echo by {node} > {at}/by{node}/file")
                self.assertEqual(self.sh(other, f"cd /var/tmp/by{node}; cat file; stat -c %a:%U . file").stdout,
                                 f"by {node}\n750:root\n640:root\n")
                self.sh(other, f"rm -r /var/tmp/by{node}")
                # Names that the kernel of the node believes in for a second.
                self.lab.wait_for(lambda: self.sh(node, f"ls {at}/by{node}", check=False).returncode != 0, 5, "it is gone")

    def test_a_guest_sees_what_it_saw_at_home(self):
        everywhere = "cat /cluster/node/1/etc/hostname /cluster/node/2/etc/hostname /cluster/node/3/etc/hostname"
        for node in NODES:
            self.assertEqual(self.lab.run(1, ["runon", str(node), "sh", "-c", everywhere]).stdout, "n1\nn2\nn3\n")
        made = "umask 022; echo made > /cluster/node/3/var/tmp/by-guest; ls /cluster/node/2/run/ssid | wc -l"
        self.assertEqual(self.lab.run(1, ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                                          "runon", "2", "sh", "-c", made]).stdout, "0\n")
        self.assertEqual(self.sh(3, "stat -c '%a %u:%g %s' /var/tmp/by-guest; rm /var/tmp/by-guest").stdout,
                         f"644 {NOBODY}:{NOBODY} 5\n")

    def test_it_has_an_end(self):
        """A node is not seen through a node."""
        inner = " ".join(f"/cluster/node/{{}}/{name}" for name in ("cluster", "proc", "sys", "dev", "run/ssid"))
        for node in NODES:
            paths = inner.replace("{}", str(node))
            self.assertEqual(self.sh(1, f"find {paths}").stdout.split(), paths.split())
            self.assertEqual(self.lab.run(1, ["runon", "2", "find", *paths.split()]).stdout.split(), paths.split())
        self.sh(2, "mkdir /mnt/other; mount --bind /cluster/node/1 /mnt/other; ls /mnt/other/etc/hostname")
        self.addCleanup(self.sh, 2, "umount /mnt/other; rmdir /mnt/other")
        self.assertEqual(self.sh(1, "find /cluster/node/2/mnt/other").stdout, "/cluster/node/2/mnt/other\n")
        self.assertNotEqual(self.sh(1, "mkdir /cluster/node/2/cluster/x", check=False).returncode, 0)
        for path in ("/cluster/node/4", "/cluster/node/02", "/cluster/node/n2"):
            self.assertIn("No such file", self.sh(1, f"ls {path}", check=False).stderr)

    def test_an_ordinary_user_is_himself(self):
        self.sh(2, "cd /var/tmp; mkdir -p r; echo x > r/secret; chmod 600 r/secret; echo y > r/team; chgrp 4711 r/team; "
                "chmod 640 r/team; chmod 777 r")
        self.addCleanup(self.sh, 2, "rm -r /var/tmp/r")
        at = "/cluster/node/2/var/tmp/r"
        self.assertIn("Permission denied", self.sh(1, f"cat {at}/secret", False, NOBODY).stderr)
        self.assertIn("Permission denied", self.sh(1, f"cat {at}/team", False, NOBODY).stderr)
        self.assertEqual(self.sh(1, f"cat {at}/team", True, NOBODY, [4711]).stdout, "y\n")
        self.assertIn("not permitted", self.sh(1, f"chmod 644 {at}/secret", False, NOBODY).stderr)
        self.sh(1, f"touch {at}/mine", uid=NOBODY)
        self.assertEqual(self.sh(2, "stat -c %u:%g /var/tmp/r/mine").stdout, f"{NOBODY}:{NOBODY}\n")
        self.sh(1, f"cat {at}/secret; chown 12:34 {at}/mine")
        self.assertEqual(self.sh(2, "stat -c %u:%g /var/tmp/r/mine").stdout, "12:34\n")

    def test_nothing_of_a_node_gives_rights_elsewhere(self):
        self.sh(2, "cp /usr/bin/id /var/tmp/suid; chmod 4755 /var/tmp/suid; mknod -m 666 /var/tmp/null c 1 3")
        self.addCleanup(self.sh, 2, "rm /var/tmp/suid /var/tmp/null")
        self.assertEqual(self.sh(1, "/cluster/node/2/var/tmp/suid -u", uid=NOBODY).stdout, f"{NOBODY}\n")
        self.assertIn("Permission denied", self.sh(1, "cat /cluster/node/2/var/tmp/null", check=False).stderr)

    # Who is away

    def assert_away(self, node, other, within_s=AT_ONCE_S):
        for line, said in ((f"ls /cluster/node/{other}", "Host is down"), (f"stat /cluster/node/{other}/etc", "Host is down"),
                           ("ls /cluster/node", "1\n2\n3"), ("df", "/cluster"),
                           (f"df /cluster/node/{other}/etc; ls -l /cluster/node; :", "Host is down")):
            done, took = self.timed(node, line)
            self.assertIn(said, done.stdout + done.stderr, line)
            self.assertLess(took, within_s, line)
        self.assertEqual(self.sh(node, "df >/dev/null").stderr, "")

    def wait_away(self, node, other):
        self.lab.wait_for(lambda: "Host is down" in self.sh(node, f"cat /cluster/node/{other}/etc/hostname", False).stderr,
                          20, f"n{node} knows that n{other} is down")

    def test_a_power_cut(self):
        self.sh(3, "echo one > /var/tmp/kept")
        keeper = self.keeper(1, "/cluster/node/3/var/tmp/kept")
        self.assertEqual(self.tell(keeper, "two"), "written 8")
        inside = self.lab.popen(1, ["sh", "-c", "while :; do cat etc/hostname >/dev/null; sleep 0.01; done"],
                                cwd="/cluster/node/3", stderr=subprocess.PIPE, text=True)
        self.addCleanup(inside.communicate)
        self.addCleanup(inside.kill)
        self.lab.crash(3)
        start = time.monotonic()
        self.assertIn("Host is down", inside.stderr.readline())
        noticed = time.monotonic() - start
        self.wait_away(1, 3)
        self.wait_away(2, 3)
        self.assert_away(1, 3)
        self.assertEqual(self.tell(keeper, "lost"), "EHOSTDOWN")
        self.assertIn("Host is down", self.lab.run(1, ["runon", "2", "ls", "/cluster/node/3"], check=False).stderr)
        self.lab.boot(3)
        self.lab.wait_quorate()
        self.wait_shown([3])
        # The open file is found again by its name, in a store that has never heard of it; unless the boot has given the
        # file system another device number (an overlay's is as it comes): then nobody knows whether it is the same file.
        said = self.tell(keeper, "three")
        self.assertIn(said, ("written 14", "ESTALE"))
        self.assertEqual(self.sh(3, "cat /var/tmp/kept").stdout, "one\ntwo\n" + "three\n" * (said != "ESTALE"))
        self.sh(1, "echo four >> /cluster/node/3/var/tmp/kept")
        self.assertTrue(self.sh(3, "cat /var/tmp/kept").stdout.endswith("four\n"))
        print(f"\n    power cut: EHOSTDOWN after {noticed:.1f} s", file=sys.stderr)

    def test_a_cut(self):
        keeper = self.keeper(1, "/cluster/node/3/var/tmp/cut")
        self.assertEqual(self.tell(keeper, "a"), "written 2")
        locker = self.keeper(1, "/cluster/node/3/var/tmp/lock")
        flock = self.lab.popen(1, ["flock", "/cluster/node/3/var/tmp/lock", "sleep", "1"])
        self.addCleanup(flock.wait)
        time.sleep(0.3)
        self.lab.partition("1,2:3")
        self.wait_away(1, 3)
        self.wait_away(3, 1)
        self.assert_away(1, 3)
        self.assertEqual(self.sh(3, "cat /cluster/node/3/etc/hostname").stdout, "n3\n")
        self.assertEqual(self.tell(keeper, "b"), "EHOSTDOWN")
        flock.wait(30)  # it ends, and with it its lock, of which node 3 can't hear now
        self.lab.heal()
        self.lab.wait_quorate()
        self.wait_shown(NODES)
        self.assertEqual(self.tell(keeper, "c"), "written 4")
        self.assertEqual(self.sh(3, "cat /var/tmp/cut").stdout, "a\nc\n")
        self.lab.wait_for(lambda: self.sh(3, "flock -n /var/tmp/lock true", False).returncode == 0, 10, "the lock is free")
        self.assertEqual(self.tell(locker, "x"), "written 2")

    # Daemons that die

    def test_ssid_dies(self):
        keeper = self.keeper(1, "/cluster/node/2/var/tmp/open")
        for _ in range(3):
            self.assertRegex(self.tell(keeper, "a"), "written")
            before = self.lab.services(1)["ssid"]["restarts"]
            self.lab.service(1, "kill", "ssid")
            self.lab.wait_for(lambda: self.lab.services(1)["ssid"]["restarts"] > before, 30, "it died")
            self.lab.wait_ready()
            self.wait_shown(NODES, [1])
            self.assertRegex(self.tell(keeper, "b"), "written")  # by a mount that has no name any more
            mounts = self.sh(1, "grep -c ' /cluster/node/' /proc/self/mountinfo").stdout
            self.assertEqual(mounts, "3\n")
        self.assertEqual(self.sh(2, "cat /var/tmp/open").stdout, "a\nb\n" * 3)

    def test_a_carrier_dies(self):
        keeper = self.keeper(1, "/cluster/node/2/var/tmp/held")
        self.assertEqual(self.tell(keeper, "a"), "written 2")
        self.lab.service(2, "kill", "ssid-carrier")  # home's
        self.assertEqual(self.tell(keeper, "b"), "written 4")
        self.lab.service(3, "kill", "ssid-carrier")  # the user's
        self.wait_shown(NODES, [3])
        self.lab.wait_for(lambda: self.sh(3, "grep -c ' /cluster/node/' /proc/self/mountinfo").stdout == "3\n", 10, "3 mounts")

    def test_all_of_a_guests_way_dies_at_once(self):
        """A guest on node 2 holds a file of node 3, so node 1 holds it, too: nothing there waits for itself."""
        guest = self.lab.popen(1, ["runon", "2", "python3", "-c", KEEPER, "/cluster/node/3/var/tmp/far"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(guest.stdout.close)
        self.addCleanup(guest.wait, 30)
        self.addCleanup(guest.stdin.close)
        self.assertEqual(guest.stdout.readline(), "open\n")
        self.assertEqual(self.tell(guest, "a"), "written 2")
        before = self.lab.services(1)["ssid-carrier"]
        self.lab.service(1, "kill", "ssid-carrier")
        self.lab.wait_for(lambda: self.lab.services(1)["ssid-carrier"]["restarts"] > before["restarts"], 10, "it is started again")
        self.lab.wait_for(lambda: not self.sh(1, f"ls -d /proc/{before['pid']}", False).stdout, 10, "nothing is left of it")
        self.wait_shown(NODES, [1])
        self.assertEqual(self.sh(3, "cat /var/tmp/far").stdout, "a\n")

    def test_a_carrier_that_is_not_there(self):
        self.lab.service(2, "stop", "ssid-carrier", wait=False)
        self.addCleanup(self.wait_shown, NODES)
        self.addCleanup(self.lab.service, 2, "start", "ssid-carrier")
        self.lab.wait_for(lambda: self.lab.services(2)["ssid-carrier"]["pid"] == 0, 20, "it is stopped")
        done, took = self.timed(1, "cat /cluster/node/2/etc/hostname")
        self.assertIn("Host is down", done.stderr)
        self.assertLess(took, 5)  # patience
        done, took = self.timed(1, "for i in 1 2 3 4 5; do cat /cluster/node/2/etc/$i; done")
        self.assertEqual(done.stderr.count("Host is down"), 5)
        self.assertLess(took, AT_ONCE_S)

    def test_a_hung_ssid_over_there(self):
        self.lab.service(2, "kill", "ssid", signal=signal.SIGSTOP)
        self.addCleanup(self.lab.service, 2, "kill", "ssid", signal=signal.SIGCONT)
        done, took = self.timed(1, "ls -l /cluster/node/2 /cluster/node/2/cluster; find /cluster/node/2 -maxdepth 2 | wc -l")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertLess(took, 5)

    def test_at_rest(self):
        """Views that nobody uses take no time."""
        time.sleep(12)
        pid = self.sh(1, "pgrep -f 'ssid-carrier --nodes'").stdout.split()[0]

        def switches():
            return sum(int(line.split()[1]) for line in self.sh(
                1, f"cat /proc/{pid}/task/*/status").stdout.splitlines() if line.startswith("voluntary_ctxt"))
        before = switches()
        time.sleep(4)
        rate = (switches() - before) / 4
        print(f"\n    carrier at rest: {rate:.1f} wake-ups a second", file=sys.stderr)
        self.assertLess(rate, 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
