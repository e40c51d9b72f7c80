#!/usr/bin/python3
"""A program whose sockets had names that something else has by now goes round the nodes. What has the names at home must not
notice: somebody looks at them all the time."""

import os
import socket
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402

NODES = 3
MOVES = 50
FAULTS = "/run/ssid/faults"
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"


class Watcher:
    """Looks whether names in a directory are of the same files all the time."""

    def __init__(self, directory, names):
        self.directory = directory
        self.before = {name: self.seen(name) for name in names}
        self.looks, self.wrong = 0, []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def seen(self, name):
        st = os.lstat(self.directory / name)
        # Where the guest's own is bound again its mode is set, too.
        return st.st_ino, st.st_mode, st.st_uid, st.st_nlink, st.st_ctime_ns if name != "own" else 0

    def _run(self):
        everything = set(os.listdir(self.directory))
        while not self._stop.is_set() and not self.wrong:
            self.looks += 1
            try:
                for name, before in self.before.items():
                    if self.seen(name) != before:
                        self.wrong.append(f"{name} has changed: {before}, {self.seen(name)}")
                more = set(os.listdir(self.directory)) - everything
                if more:
                    self.wrong.append(f"{more} came")
            except FileNotFoundError as e:
                self.wrong.append(str(e))

    def stop(self):
        self._stop.set()
        self._thread.join()


class DeletedNames(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(NODES, name="t_deleted", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def start(self):
        self.directory = self.lab.path(1, "/tmp/deleted")
        self.directory.mkdir()
        self.report = self.lab.path(1, "/root/report")
        self.lab.path(1, "/root/deleted_names.py").write_bytes((PROGRAMS / "deleted_names.py").read_bytes())
        go = self.lab.path(1, "/root/go")
        os.mkfifo(go)
        words = "python3 /root/deleted_names.py /tmp/deleted /root/report < /root/go > /root/said 2> /root/errors"
        self.shell = self.lab.popen(1, ["sh", "-c", f"{words} & echo $!; wait $!"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.shell.kill)
        self.addCleanup(self.shell.stdout.close)
        self.pid = int(self.shell.stdout.readline())
        with open(go, "w", encoding="ascii") as begin:
            said = self.lab.path(1, "/root/said")
            self.lab.wait_for(lambda: said.read_text() == "deleted\n", 20, "it has bound and deleted")
            self.give_names_away()
            print("go", file=begin, flush=True)
            self.lab.wait_for(lambda: self.report.exists() and self.report.read_text(), 20, "it begins")

    def give_names_away(self):
        (self.directory / "stream").write_text("content")
        os.mkfifo(self.directory / "taker")
        (self.directory / "packets").mkdir()
        (self.directory / "relative").symlink_to("stream")
        listen = "import socket,time; s=socket.socket(socket.AF_UNIX); s.bind('/tmp/deleted/unused'); s.listen(9)\nwhile 1: s.accept()[0].send(b'other')"
        other = self.lab.popen(1, ["python3", "-c", listen])
        self.addCleanup(other.kill)
        self.lab.wait_for((self.directory / "unused").exists, 20, "another socket has the name")
        self.names = ["stream", "taker", "packets", "relative", "unused"]

    def answer(self, name):
        """Of who has that name at home."""
        ask = ("import socket; s=socket.socket(socket.AF_UNIX); s.settimeout(20); "
               f"s.connect('/tmp/deleted/{name}'); print(s.recv(9).decode())")
        return self.lab.run(1, ["python3", "-c", ask]).stdout.strip()

    def test_names_that_are_something_elses(self):
        self.start()
        watcher = Watcher(self.directory, [*self.names, "own"])
        self.addCleanup(watcher.stop)
        for step in ("after_freeze", "after_restore"):
            self.lab.path(1, FAULTS).write_text(f"migrate.{step} error\n")
            self.assertIn("fault", observe.try_to_migrate(self.lab, self.pid, 2)[1])
        frozen = []
        for i in range(MOVES):
            frozen.append(observe.migrate(self.lab, self.pid, 2 + i % 2, options=["--wait"])["frozen_ms"])
            if i % 5 == 0:
                self.assertEqual((self.answer("own"), self.answer("unused")), ("own", "other"))
            time.sleep(0.02)
        self.lab.path(3, FAULTS).write_text("migrate.after_restore error\n")
        self.assertIn("fault", observe.try_to_migrate(self.lab, self.pid, 2)[1])
        status, said = observe.try_to_migrate(self.lab, self.pid, 1)
        self.assertNotEqual(status, 0)
        self.assertIn("whose name was given to something else, so it can't come home", said)
        watcher.stop()
        self.assertEqual(watcher.wrong, [])
        self.assertGreater(watcher.looks, 100 * MOVES)
        self.assertEqual((self.directory / "stream").read_text(), "content")
        print(f"\n{MOVES} moves, frozen: median {sorted(frozen)[MOVES // 2]:.0f} ms; {watcher.looks} looks", flush=True)
        self.comes_home()
        self.lab.run(1, ["kill", "-TERM", str(self.pid)])
        self.shell.wait(20)
        errors = self.lab.path(1, "/root/errors").read_text()
        self.assertTrue(self.report.read_text().splitlines()[-1].startswith("good:"), self.report.read_text() + errors)
        print(self.report.read_text(), flush=True)
        self.lab.wait_for(lambda: not observe.left_over(self.lab), 10, "nothing is left in ssid's cgroups")

    def comes_home(self):
        """When the names are free. `own` is that of one of its own, beside which the first can't be bound there."""
        for name in ("stream", "taker", "relative", "unused"):
            (self.directory / name).unlink()
        (self.directory / "packets").rmdir()
        time.sleep(1.2)  # so long a view believes what it knows
        self.assertIn("(/tmp/deleted/own) whose name was given", observe.try_to_migrate(self.lab, self.pid, 1)[1])
        self.assertEqual(self.answer("own"), "own")
        self.lab.run(1, ["kill", "-USR1", str(self.pid)])
        self.lab.wait_for(lambda: observe.try_to_migrate(self.lab, self.pid, 1)[0] == 0, 10, "it comes home")
        self.assertEqual(self.answer("own"), "own")
        self.assertEqual(os.listdir(self.directory), ["own"])
        for to in (2, 3, 1, 3):
            observe.migrate(self.lab, self.pid, to)
            self.assertEqual(self.answer("own"), "own")
        self.assertEqual(os.listdir(self.directory), ["own"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
