#!/usr/bin/python3
"""/cluster from every node: etc/ is one and the same, survives cuts of network and power, and refuses what it can't
keep; proc/ says and does what the commands do, with the rights of who asks."""

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
LIST = "/cluster/etc/loadlevellist"
AT_ONCE_S = 2  # the balancer looks at the processes once a second
# Opens, writes and closes; says which of them failed, and how.
WRITER = """
import errno, os, sys
path, text, flags = sys.argv[1], sys.argv[2], int(sys.argv[3])
step = "open"
try:
    fd = os.open(path, flags, 0o644)
    if sys.stdin.readline() == "go\\n": pass
    step = "write"
    os.write(fd, text.encode())
    step = "close"
    os.close(fd)
    print("done")
except OSError as e:
    print(step, errno.errorcode[e.errno])
"""
O_WRONLY, O_CREAT, O_EXCL, O_TRUNC, O_APPEND = 1, 0o100, 0o200, 0o1000, 0o2000


class ClusterFs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_clusterfs")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def sh(self, node, line, check=True):
        return self.lab.run(node, ["sh", "-c", line], check=check)

    def cat(self, node, path):
        return self.lab.run(node, ["cat", path]).stdout

    def writer(self, node, path, text, flags=O_WRONLY | O_CREAT | O_TRUNC, uid=0):
        """A writer that has the file open and goes on when it is told."""
        return self.lab.popen(
            node, ["setpriv", f"--reuid={uid}", "--clear-groups", "python3", "-c", WRITER, path, text, str(flags)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def write(self, node, path, text, flags=O_WRONLY | O_CREAT | O_TRUNC, uid=0):
        """"done", or what failed."""
        return self.writer(node, path, text, flags, uid).communicate("go\n", timeout=60)[0].strip()

    def start(self, node, *command, uid=0):
        """PID of a process without a terminal or children."""
        done = self.sh(node, f"setpriv --reuid={uid} --clear-groups {' '.join(command)} "
                       "</dev/null >/dev/null 2>&1 & echo $!")
        pid = int(done.stdout)
        self.addCleanup(self.lab.run, node, ["kill", "-KILL", str(pid)], check=False)
        return pid

    def established(self):
        self.lab.wait_quorate()
        for node in NODES:
            self.lab.wait_for(lambda node=node: self.write(node, "/cluster/etc/probe", "x") == "done", 20,
                              f"n{node} may write")

    # etc/

    def test_what_one_node_writes_all_read(self):
        for node in NODES:
            self.sh(node, f"echo from {node} > /cluster/etc/motd")
            self.assertEqual([self.cat(n, "/cluster/etc/motd") for n in NODES], [f"from {node}\n"] * 3)
            self.sh(node, f"echo more of {node} >> /cluster/etc/motd")
            self.assertEqual([self.cat(n, "/cluster/etc/motd") for n in NODES], [f"from {node}\nmore of {node}\n"] * 3)
        self.sh(2, "sed -i s/from/by/ /cluster/etc/motd && chmod 600 /cluster/etc/motd")  # by a file beside it and rename
        self.assertEqual(self.cat(1, "/cluster/etc/motd"), "by 3\nmore of 3\n")
        self.assertEqual(self.sh(3, "stat -c '%a %s %U' /cluster/etc/motd").stdout, "600 15 root\n")
        self.sh(3, "truncate -s 4 /cluster/etc/motd; cp /cluster/etc/motd /cluster/etc/copy; rm /cluster/etc/motd")
        names = self.sh(1, "ls /cluster/etc").stdout.split()
        self.assertEqual((names.count("copy"), names.count("motd")), (1, 0))
        self.assertEqual(self.cat(1, "/cluster/etc/copy"), "by 3")
        self.sh(1, ": > /cluster/etc/copy")
        self.lab.wait_for(lambda: self.cat(2, "/cluster/etc/copy") == "", 5, "the file is empty")
        self.sh(1, "rm /cluster/etc/copy")
        self.assertNotEqual(self.sh(2, "cat /cluster/etc/copy", check=False).returncode, 0)

    def test_changes_by_one_open_file_are_not_in_each_others_way(self):
        self.sh(1, "printf abc > /cluster/etc/edited")
        self.lab.run(2, ["python3", "-c", """
import os
fd = os.open("/cluster/etc/edited", os.O_RDWR)
os.fchmod(fd, 0o640)
os.pwrite(fd, b"B", 1); os.fsync(fd)
os.pwrite(fd, b"D", 3)
assert (os.fstat(fd).st_mode & 0o777, os.read(fd, 9)) == (0o640, b"aBcD")
os.ftruncate(fd, 3); os.close(fd)"""])
        self.assertEqual(self.sh(3, "stat -c '%a %s' /cluster/etc/edited; cat /cluster/etc/edited").stdout, "640 3\naBc")

    def test_only_root_writes_and_only_what_fits(self):
        self.sh(1, "echo x > /cluster/etc/open; chmod 666 /cluster/etc/open; echo y > /cluster/etc/shut; "
                "chmod 600 /cluster/etc/shut")
        self.assertEqual(self.write(2, "/cluster/etc/open", "y", O_WRONLY, uid=NOBODY), "open EACCES")
        self.assertEqual(self.write(2, "/cluster/etc/new", "y", uid=NOBODY), "open EACCES")
        self.assertEqual(self.sh(3, f"setpriv --reuid={NOBODY} --clear-groups cat /cluster/etc/open").stdout, "x\n")
        self.assertNotEqual(
            self.sh(3, f"setpriv --reuid={NOBODY} --clear-groups cat /cluster/etc/shut", check=False).returncode, 0)
        self.assertIn("File too large",
                      self.sh(1, "head -c 65537 /dev/zero > /cluster/etc/large", check=False).stderr)
        self.sh(1, "head -c 65536 /dev/zero > /cluster/etc/large; rm /cluster/etc/large")
        for line in ("mkdir /cluster/etc/d", "ln -s x /cluster/etc/l", "mkfifo /cluster/etc/f", "touch /cluster/x"):
            self.assertNotEqual(self.sh(1, line, check=False).returncode, 0)

    def test_of_two_who_create_a_file_one_does(self):
        writers = [self.writer(node, "/cluster/etc/lock", f"{node}", O_WRONLY | O_CREAT | O_EXCL) for node in NODES]
        said = [writer.communicate("go\n", timeout=60)[0].strip() for writer in writers]
        self.assertEqual(sorted(said), ["done", "open EEXIST", "open EEXIST"])
        self.assertEqual(self.cat(1, "/cluster/etc/lock"), str(NODES[said.index("done")]))

    def test_who_changes_what_somebody_else_has_changed_is_told(self):
        self.sh(1, "echo old > /cluster/etc/contended")
        slow = self.writer(1, "/cluster/etc/contended", "SLOW", O_WRONLY)
        time.sleep(0.5)  # it has it open
        self.sh(2, "echo new > /cluster/etc/contended")
        self.assertEqual(slow.communicate("go\n", timeout=60)[0].strip(), "close ESTALE")
        self.assertEqual(self.cat(3, "/cluster/etc/contended"), "new\n")

    # The loadlevellist

    def test_adds_and_appends_at_the_same_time_lose_none(self):
        before = self.lab.run(1, ["loadlevel", "list"]).stdout.split()
        each = 10
        jobs = []
        for node in (1, 2):
            line = f"for i in $(seq {each}); do loadlevel add /opt/add{node}.$i || exit 1; done"
            jobs.append(self.lab.popen(node, ["sh", "-c", line], stdout=subprocess.DEVNULL))
        line = f"for i in $(seq {each}); do echo /opt/hand3.$i >> {LIST} || exit 1; done"
        jobs.append(self.lab.popen(3, ["sh", "-c", line]))
        self.assertEqual([job.wait(timeout=120) for job in jobs], [0, 0, 0])
        wanted = {f"/opt/{who}.{i}" for who in ("add1", "add2", "hand3") for i in range(1, each + 1)}
        for node in NODES:
            now = self.lab.run(node, ["loadlevel", "list"]).stdout.split()
            self.assertEqual(set(now), wanted | set(before))
            self.assertEqual(len(now), len(set(now)))

    def test_the_list_edited_by_hand_works_at_once(self):
        self.sh(2, "cp /bin/sleep /usr/local/bin/listed")
        pid = self.start(2, "/usr/local/bin/listed", "500")
        self.assertEqual(self.cat(1, f"/cluster/proc/{pid}/loadlevel"), "0\n")
        self.sh(3, f"echo '/usr/local/bin/listed  # by hand' >> {LIST}")
        begun = time.monotonic()
        self.lab.wait_for(lambda: self.cat(1, f"/cluster/proc/{pid}/loadlevel") == "1\n", 10, "it is enabled")
        self.assertLess(time.monotonic() - begun, AT_ONCE_S)
        self.assertIn("/usr/local/bin/listed\n", self.lab.run(1, ["loadlevel", "list"]).stdout)
        self.lab.run(1, ["loadlevel", "remove", "/usr/local/bin/listed"])
        self.assertNotIn("by hand", self.cat(2, LIST))
        self.lab.wait_for(lambda: self.cat(3, f"/cluster/proc/{pid}/loadlevel") == "0\n", 10, "it is not any more")

    def test_a_link_on_the_list_that_leads_to_cluster_holds_up_nobody(self):
        pid = self.start(1, "sleep", "500")
        self.sh(1, f"ln -s /cluster/proc/{pid}/where /usr/local/bin/detour")
        self.lab.run(2, ["loadlevel", "add", "/usr/local/bin/detour"], timeout=10)
        self.assertEqual(self.cat(1, f"/cluster/proc/{pid}/where"), "1\n")
        self.lab.run(2, ["loadlevel", "remove", "/usr/local/bin/detour"], timeout=10)

    # proc/

    def test_a_process_from_every_node(self):
        pid = self.start(1, "sleep", "500")
        directory = f"/cluster/proc/{pid}"
        where, nmigs = 1, 0
        for node, to in ((2, "3"), (3, "n2"), (1, "home"), (3, "1"), (2, "2")):
            self.sh(node, f"echo {to} > {directory}/goto")
            target = {"n2": 2, "home": 1}.get(to) or int(to)
            nmigs += target != where  # where it is already, nothing is done
            where = target
            for n in NODES:
                said = self.sh(n, f"cd {directory}; cat where nmigs cantmove").stdout
                self.assertEqual(said, f"{where}\n{nmigs}\n")
        for node in NODES:
            for value in ("1", "0"):
                self.sh(node, f"echo {value} > {directory}/loadlevel")
                self.assertEqual([self.cat(n, f"{directory}/loadlevel") for n in NODES], [f"{value}\n"] * 3)
            self.assertIn(f"{pid}\n", self.sh(node, "ls /cluster/proc").stdout)
        enabled = self.sh(1, f"echo 1 > {directory}/loadlevel; loadlevel status {pid}").stdout
        self.assertEqual(enabled, f"{pid}: enabled, on node 2: enabled by uid 0\n")

    def test_what_can_not_be_is_an_error_of_its_own(self):
        pid = self.start(1, "sleep", "500")
        goto, loadlevel = f"/cluster/proc/{pid}/goto", f"/cluster/proc/{pid}/loadlevel"
        self.assertEqual(self.write(2, goto, "9\n", O_WRONLY), "write EINVAL")
        self.assertEqual(self.write(2, loadlevel, "2\n", O_WRONLY), "write EINVAL")
        self.assertEqual(self.write(2, f"/cluster/proc/{pid}/where", "2\n", O_WRONLY), "write EINVAL")
        self.assertEqual(self.write(2, "/cluster/proc/1:1/goto", "2\n", O_WRONLY), "write ENOTSUP")
        self.assertRegex(self.cat(3, "/cluster/proc/1:1/cantmove"), r"^it is the first process")
        for name in ("65999", "99999999", "x", "0", "-1", "1:0"):
            self.assertEqual(self.sh(3, f"ls /cluster/proc/{name}", check=False).stderr,
                             f"ls: cannot access '/cluster/proc/{name}': No such file or directory\n")
        self.lab.run(1, ["kill", "-KILL", str(pid)])
        self.lab.wait_for(lambda: self.sh(3, f"test -d /cluster/proc/{pid}", check=False).returncode != 0, 10,
                          "an ended process is gone")

    def test_rights_are_those_of_kill(self):
        own, others = self.start(1, "sleep", "500", uid=NOBODY), self.start(1, "sleep", "500")
        self.assertEqual(self.write(2, f"/cluster/proc/{own}/loadlevel", "1\n", O_WRONLY, uid=NOBODY), "done")
        self.assertEqual(self.cat(3, f"/cluster/proc/{own}/loadlevel"), "1\n")
        self.assertEqual(self.write(2, f"/cluster/proc/{own}/goto", "3\n", O_WRONLY, uid=NOBODY), "done")
        self.assertEqual(self.cat(1, f"/cluster/proc/{own}/where"), "3\n")
        for name in ("loadlevel", "goto"):
            self.assertEqual(self.write(2, f"/cluster/proc/{others}/{name}", "1\n", O_WRONLY, uid=NOBODY), "open EACCES")

    def test_a_guest_has_it_too(self):
        self.sh(1, "runon 2 sh -c 'echo from a guest > /cluster/etc/guest; cat /cluster/etc/guest'")
        self.assertEqual(self.cat(3, "/cluster/etc/guest"), "from a guest\n")

    # Faults

    def test_without_quorum_writes_are_refused_and_reads_go_on(self):
        self.established()
        self.sh(1, "echo before > /cluster/etc/cut")
        caught = self.writer(3, "/cluster/etc/cut", "caught")
        time.sleep(0.5)  # it has it open
        self.lab.partition("1,2:3")
        self.addCleanup(self.lab.heal)
        self.lab.wait_for(lambda: self.write(3, "/cluster/etc/cut", "minority") == "open EROFS", 30, "n3 refuses")
        self.assertEqual(caught.communicate("go\n", timeout=60)[0].strip(), "close EROFS")
        self.assertEqual(self.write(3, "/cluster/etc/fresh", "minority"), "open EROFS")
        done = self.sh(3, "loadlevel add /opt/minority", check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (1, "loadlevel: /opt/minority: no quorum: nothing may be changed now\n"))
        self.assertIn("/cluster/etc/cut: no quorum: nothing may be changed now", self.lab.log(3, "ssid"))
        self.assertEqual(self.cat(3, "/cluster/etc/cut"), "before\n")
        self.lab.wait_for(lambda: self.write(1, "/cluster/etc/cut", "majority") == "done", 30, "n1 may write")
        self.lab.heal()
        self.established()
        self.assertEqual([self.cat(n, "/cluster/etc/cut") for n in NODES], ["majority"] * 3)

    def test_a_killed_ssid_leaves_nobody_waiting_and_mounts_anew(self):
        self.established()
        self.sh(1, "echo kept > /cluster/etc/kept")
        pid = self.start(2, "sleep", "500")
        ssid = self.lab.services(1)["ssid"]["pid"]
        for stopped in (False, True):
            holder = self.lab.popen(1, ["sh", "-c", "exec 3< /cluster/etc/kept; echo open; sleep 1000"],
                                    stdout=subprocess.PIPE, text=True)
            self.assertEqual(holder.stdout.readline(), "open\n")
            if stopped:  # who asks now waits for it
                ssid = self.lab.services(1)["ssid"]["pid"]
                self.lab.run(1, ["kill", "-STOP", str(ssid)])
            asker = self.lab.popen(1, ["cat", f"/cluster/proc/{pid}/where"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.3)
            self.lab.service(1, "kill", "ssid", signal.SIGKILL)
            asker.wait(timeout=5)
            self.lab.wait_for(lambda: self.sh(1, "cat /cluster/etc/kept", check=False).stdout == "kept\n", 20,
                              "it is mounted again")
            self.assertEqual(self.sh(1, "grep -c ' /cluster ' /proc/self/mountinfo").stdout, "1\n")
            holder.send_signal(signal.SIGTERM)
            holder.wait(timeout=10)
        self.lab.service(1, "stop", "ssid")
        self.assertEqual(self.sh(1, "grep -c ' /cluster ' /proc/self/mountinfo", check=False).stdout, "0\n")
        self.lab.service(1, "start", "ssid")
        self.lab.wait_for(lambda: self.sh(1, "cat /cluster/etc/kept", check=False).stdout == "kept\n", 20, "it is back")

    def test_a_power_cut_of_all_nodes_at_once_keeps_it_and_the_newest_wins(self):
        self.established()
        self.sh(1, "echo 1 > /cluster/etc/durable; loadlevel add /opt/durable")
        self.lab.crash(1)  # it will come back with an older copy
        self.lab.wait_for(lambda: self.write(2, "/cluster/etc/durable", "2\n") == "done", 30, "n2 may write")
        for node in (2, 3):
            self.lab.crash(node)
        for node in NODES:
            self.lab.boot(node, wait=False)
        self.lab.wait_ready()
        self.established()
        for node in NODES:
            self.assertEqual(self.cat(node, "/cluster/etc/durable"), "2\n")
            self.assertIn("/opt/durable\n", self.lab.run(node, ["loadlevel", "list"]).stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
