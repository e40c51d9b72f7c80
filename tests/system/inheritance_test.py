#!/usr/bin/python3
"""Who is enabled with whom: the table "Inheritance" of docs/load-levelling.md, a test for each of its rows. What is
born asks for its own mark before anything else (tests/programs/heir.c); then ssid is asked once, without waiting."""

import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from postgres import AS_POSTGRES, DATA, SOCKETS, Server, program  # noqa: E402

HOWS = ("fork", "exec", "vfork", "posix_spawn", "clone", "thread", "daemon", "daemon-exec")
KINDS = ("dynamic", "static", "musl")
MARK = 417  # loadlevel/tracker/inherited_mark.h
BY_HAND = "enabled by uid 0"


class Heir:
    """tests/programs/heir.c on node 1."""

    number = 0

    def __init__(self, lab, kind, hows, before=()):
        Heir.number += 1
        self.lab = lab
        self.born = []
        self.file = f"/root/born{Heir.number}"
        lab.path(1, self.file).touch()
        program = f"/root/heir-{kind}"
        if not lab.path(1, program).exists():
            built = lab.state.checkout / "build" / lab.preset / "bin" / f"heir-{kind}"
            lab.path(1, program).write_bytes(built.read_bytes())
            lab.path(1, program).chmod(0o755)
        # It says who it is itself: what is put before it may fork.
        script = f"echo $$; exec {' '.join(before)} {program} {self.file} {' '.join(hows)}"
        self.job = lab.popen(1, ["sh", "-c", script], stdout=subprocess.PIPE, text=True)
        self.pid = int(self.job.stdout.readline())
        assert self.job.stdout.readline() == "ready\n"

    def bear(self, node=1):
        """(PID, slack) of the next one, as it says itself."""
        self.lab.run(1, ["kill", "-USR1", str(self.pid)])
        return self.next_line()

    def next_line(self):
        def lines():
            found = self.lab.path(1, self.file).read_text().splitlines()
            return found if len(found) > len(self.born) else None

        how, pid, slack = self.lab.wait_for(lines, 20, "one more is born")[len(self.born)].split()
        self.born.append(int(pid))
        return int(pid), int(slack)

    def end(self):
        for pid in [*self.born, self.pid]:
            self.lab.run(1, ["kill", "-KILL", str(pid)], check=False)
        self.job.communicate(timeout=20)


class Inheritance(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(2, name="t_inheritance")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)
        cls.lab.run(1, ["loadlevel", "off"])  # nothing moves by itself

    def heir(self, kind="dynamic", hows=("fork",), before=()):
        heir = Heir(self.lab, kind, hows, before)
        self.addCleanup(heir.end)
        return heir

    def say(self, *command):
        return self.lab.run(1, command).stdout

    def status(self, pid):
        """Asked once: (is it enabled, why)."""
        row = observe.ask(self.lab, 1, "loadlevel", "status", str(pid))
        return row["enabled"], row["reason"]

    def assert_inherited(self, born):
        pid, slack = born
        self.assertEqual(slack % 1000, MARK, "it had the mark before its first instruction")
        on, why = self.status(pid)
        self.assertTrue(on, why)
        self.assertRegex(why, r"^inherited from (\d|a process that was enabled)")

    def assert_off(self, born):
        self.assertNotEqual(born[1] % 1000, MARK)
        self.assertEqual(self.status(born[0]), (False, "not enabled"))

    def test_born_after_however_it_is_born(self):
        """Rows 1, 4 to 7: by each C library, dynamic or static."""
        for kind in KINDS:
            heir = self.heir(kind, HOWS)
            self.say("loadlevel", "enable", str(heir.pid))
            for how in HOWS:
                with self.subTest(kind=kind, how=how):
                    self.assert_inherited(heir.bear())

    def test_born_before(self):
        """Row 2: at once, with those below it; also those that have lost their parents meanwhile."""
        heir = self.heir(hows=("fork", "exec"))
        born = [heir.bear(), heir.bear()]
        for one in born:
            self.assert_off(one)
        self.say("loadlevel", "enable", str(heir.pid))
        for pid, _ in born:
            self.assertEqual(self.status(pid), (True, f"inherited from {heir.pid}"))

    def test_loadlevel_run(self):
        """Row 3."""
        heir = self.heir(hows=("daemon-exec", "fork"), before=("loadlevel", "run"))
        self.assertEqual(self.status(heir.pid), (True, BY_HAND))
        self.assert_inherited(heir.bear())
        self.assert_inherited(heir.bear())

    def test_through_programs_that_are_not_on_the_list(self):
        """Row 8: shells and others between them, none of which is known."""
        self.say("loadlevel", "add", "/usr/bin/env")
        self.addCleanup(self.say, "loadlevel", "remove", "/usr/bin/env")
        out = self.say("env", "sh", "-c", "sh -c 'loadlevel status $$'; exit 0")
        self.assertRegex(out, r"^\d+: enabled, on node 1: (on the list: /usr/bin/env|inherited from )")

    def test_the_list_is_all_it_takes(self):
        """Row 9: started by somebody who is not enabled, asked at once; and what it leaves behind at once."""
        for kind in KINDS:
            path = f"/root/heir-{kind}"
            self.heir(kind).end()  # it is there
            self.say("loadlevel", "add", path)
            self.addCleanup(self.say, "loadlevel", "remove", path)
            heir = self.heir(kind, ("daemon-exec", "fork"))
            self.assertEqual(self.status(heir.pid), (True, f"on the list: {path}"))
            self.assertEqual(heir.bear()[1] % 1000, MARK)
            pid, slack = heir.bear()
            self.assertEqual((slack % 1000, self.status(pid)), (MARK, (True, f"on the list: {path}")))

    def test_a_line_that_is_removed(self):
        """Row 10: it is not enabled any more, and what it starts from then on; those before are."""
        heir = self.heir("static")
        self.say("loadlevel", "add", "/root/heir-static")
        self.lab.wait_for(lambda: self.status(heir.pid)[0], 5, "it was there before its line")
        before = heir.bear()
        pid, _ = before
        self.say("loadlevel", "remove", "/root/heir-static")
        self.lab.wait_for(lambda: not self.status(heir.pid)[0], 5, "it is not enabled")
        self.assertEqual(before[1] % 1000, MARK)
        self.assertFalse(self.status(pid)[0], "it is the same program: the list had enabled it as well")
        self.assert_off(heir.bear())

    def test_disabled(self):
        """Rows 11 and 12: one child; the parent."""
        heir = self.heir(hows=HOWS)
        self.say("loadlevel", "enable", str(heir.pid))
        first, second = heir.bear(), heir.bear()
        self.say("loadlevel", "disable", str(first[0]))
        self.assertEqual(self.status(first[0]), (False, "disabled by uid 0"))
        self.assert_inherited(second)
        self.assert_inherited(heir.bear())
        before = heir.bear()  # of which nobody has asked yet
        self.say("loadlevel", "disable", str(heir.pid))
        after = heir.bear()
        self.assert_inherited(before)
        self.assert_off(after)
        self.say("loadlevel", "enable", str(heir.pid))
        self.assertEqual(self.status(after[0])[0], True)
        self.assertEqual(self.status(first[0]), (False, "disabled by uid 0"))

    def test_a_disabled_one_has_no_heirs(self):
        """Row 11."""
        heir = self.heir(before=("loadlevel", "run"))
        self.say("loadlevel", "disable", str(heir.pid))
        self.assert_off(heir.bear())

    def test_without_ssid(self):
        """Row 13: born, and left by its parent, while ssid was killed and not there yet."""
        heir = self.heir(hows=("daemon-exec", "fork"))
        self.say("loadlevel", "enable", str(heir.pid))
        ssid = self.lab.services(1)["ssid"]["pid"]
        self.lab.run(1, ["kill", "-KILL", str(ssid)])
        orphan, child = heir.bear(), heir.bear()
        self.lab.wait_for(lambda: self.answers(), 30, "ssid is back")
        self.assert_inherited(orphan)
        self.assert_inherited(child)
        self.assertEqual(self.status(heir.pid), (True, BY_HAND))

    def answers(self):
        return self.lab.run(1, ["loadlevel", "status"], check=False).returncode == 0 and \
            observe.ask(self.lab, 1, "cluster")["quorate"]

    def test_away_and_home_again(self):
        """Row 14: what it starts there; and after it came home."""
        heir = self.heir(hows=("fork", "exec"))
        self.say("loadlevel", "enable", str(heir.pid))
        observe.migrate(self.lab, heir.pid, 2)
        pid, slack = heir.bear()
        self.assertEqual(slack % 1000, MARK)
        self.assertEqual(heir.bear()[1] % 1000, MARK)
        self.lab.wait_for(lambda: self.known(pid), 10, "home knows it")
        self.assertTrue(self.status(pid)[0])
        observe.ask(self.lab, 1, "migrate", str(heir.pid), "home")
        for born in (pid, heir.pid):
            self.assertTrue(self.status(born)[0])
        born = heir.bear()
        self.lab.wait_for(lambda: self.known(born[0]), 10, "its number is known")
        self.assert_inherited(born)

    def known(self, pid):
        return self.lab.run(1, ["loadlevel", "status", str(pid)], check=False).returncode == 0

    def test_a_slack_of_its_own_goes_along(self):
        """Row 15: who sets its timer slack itself has no mark; its children are enabled by their parent."""
        script = "import ctypes, os, time; ctypes.CDLL(None).prctl(29, 123000); print(os.getpid(), flush=True); time.sleep(1000)"
        job = self.lab.popen(1, ["python3", "-c", script], stdout=subprocess.PIPE, text=True)
        pid = int(job.stdout.readline())
        self.addCleanup(job.communicate, timeout=20)
        self.addCleanup(self.lab.run, 1, ["kill", "-KILL", str(pid)])
        self.assertEqual(self.slack(1, pid), 123000)
        observe.migrate(self.lab, pid, 2)
        copy, = [c for c in observe.copies(self.lab, script) if c.runs]
        self.assertEqual((copy.node, self.slack(2, copy.pid)), (2, 123000))
        self.say("loadlevel", "enable", str(pid))
        self.assertEqual(self.slack(2, copy.pid), 123000 + MARK)

    def test_postgres(self):
        """The server that runs already; then only the list. Asked about a backend that has just begun."""
        server = Server(self.lab)
        self.addCleanup(server.run, "pg_ctl", "-D", DATA, "-m", "immediate", "stop", output=False)

        def backend():
            """What is said of one that has just begun, and waits."""
            session = self.lab.popen(
                1, [*AS_POSTGRES, program("psql"), "-qAtX", "-h", SOCKETS, "postgres"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True, bufsize=1, cwd="/tmp")
            session.stdin.write("select pg_backend_pid();\n")
            status = self.status(int(session.stdout.readline()))
            session.communicate("\\q\n", timeout=20)
            return status

        self.assertEqual(backend(), (False, "not enabled"))
        self.say("sh", "-c", f"loadlevel enable $(head -1 {DATA}/postmaster.pid)")
        self.assertEqual(backend(), (True, "inherited from a process that was enabled"))
        helpers = [int(pid) for pid in self.say("pgrep", "-P", str(server.pid)).split()]
        self.assertGreater(len(helpers), 3)
        for helper in helpers:
            self.assertEqual(self.status(helper), (True, f"inherited from {server.pid}"))
        postgres = program("postgres")
        self.say("loadlevel", "add", postgres)
        self.addCleanup(self.say, "loadlevel", "remove", postgres)
        server.run("pg_ctl", "-D", DATA, "-w", "-l", "/var/tmp/pg.log", "restart", output=False)
        self.assertEqual(backend(), (True, f"on the list: {postgres}"))
        self.assertEqual(self.status(int(self.say("head", "-1", f"{DATA}/postmaster.pid"))), (True, f"on the list: {postgres}"))

    def slack(self, node, pid):
        return int(self.lab.run(node, ["cat", f"/proc/{pid}/timerslack_ns"]).stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
