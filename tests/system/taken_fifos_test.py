#!/usr/bin/python3
"""Named pipes that are open for both directions go along with who has them (tests/programs/fifo_queue.py), with what is in them;
whoever opens one at home calls the guest home. No record is lost or comes twice, whatever dies."""

import os
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402

NODES = 3
MOVES = 50
FAULTS = "/run/ssid/faults"
PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "fifo_queue.py"
GOOD = re.compile(r"good (\d+) (\d+) (\d+) ")
SIZE = 16


class Queue:
    def __init__(self, lab, name):
        self.lab = lab
        self.fifo = f"/root/{name}.fifo"
        self.report = lab.path(1, f"/root/{name}.report")
        os.mkfifo(lab.path(1, self.fifo))
        self.shell = lab.popen(1, ["sh", "-c", f"python3 /root/fifo_queue.py {self.fifo} /root/{name}.report </dev/null >/dev/null"
                                   f" 2>/root/{name}.error & echo $!; wait $!; exit $?"], stdout=subprocess.PIPE, text=True)
        self.pid = int(self.shell.stdout.readline())
        lab.wait_for(lambda: self.words(), 20, "the program to begin")

    def words(self):
        return self.report.read_text().splitlines() if self.report.exists() else []

    def move(self, to):
        return observe.migrate(self.lab, self.pid, to, options=["--tree"])

    def where(self):
        return observe.ask(self.lab, 1, "loadlevel", "status", str(self.pid))["node"]

    def comes_home(self):
        self.lab.wait_for(lambda: self.where() == 1, 20, "it comes home")

    def hears(self, others):
        self.lab.wait_for(lambda: f"others {others}" in self.words(), 20, f"{others} records of others")

    def write(self, count):
        self.lab.run(1, ["python3", "/root/fifo_queue.py", "--write", self.fifo, str(count)])

    def end(self):
        """How many records it has written, got from others, and missed; after its last word."""
        self.lab.run(1, ["kill", "-TERM", str(self.pid)])
        status = self.shell.wait(20)
        self.shell.stdout.close()
        found = GOOD.fullmatch(self.words()[-1])
        if status != 0 or not found:
            raise AssertionError(f"status {status}: {self.words()[-1]}")
        return tuple(map(int, found.groups()))


class TakenFifos(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(NODES, name="t_fifos", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        cls.lab.path(1, "/root/fifo_queue.py").write_bytes(PROGRAM.read_bytes())
        observe.wait_for_loads(cls.lab)

    def fault(self, node, step, action):
        self.lab.path(node, FAULTS).write_text(f"migrate.{step} {action}\n")

    def test_around_three_nodes(self):
        queue = Queue(self.lab, "around")
        frozen = []
        for i in range(MOVES):
            if i in (0, 1, 2):
                for step in ("after_freeze", "after_dump", "after_restore"):
                    self.fault(i % NODES + 1, step, "error")
                    self.assertIn("fault", self.refused(queue, (i + 1) % NODES + 1))
            frozen.append(queue.move((i + 1) % NODES + 1)["frozen_ms"])
            time.sleep(0.03)
        written, others, missing = queue.end()
        self.assertEqual((others, missing), (0, 0))
        print(f"\n{MOVES} moves, {written} records, frozen: median {sorted(frozen)[MOVES // 2]:.0f} ms", flush=True)
        observe.nothing_left(self.lab)

    def refused(self, queue, to):
        said = self.lab.run(1, ["migrate", "--tree", str(queue.pid), str(to)], check=False)
        self.assertNotEqual(said.returncode, 0)
        return said.stderr

    def test_who_writes_to_it_at_home_calls_it_home(self):
        queue = Queue(self.lab, "written")
        others = 0
        for i in range(8):
            queue.move(2 + i % 2)
            if i % 3 == 2:
                queue.move(3 - i % 2)
            others += 3
            queue.write(3)
            queue.hears(others)
            queue.comes_home()
        self.assertIn(f"is called home: somebody has opened {queue.fifo}", self.lab.run(1, ["cluster", "events"]).stdout)
        written, heard, missing = queue.end()
        self.assertEqual((heard, missing), (others, 0))
        self.assertGreater(written, 100)
        observe.nothing_left(self.lab)

    def test_who_reads_it_at_home_calls_it_home_and_keeps_it_there(self):
        queue = Queue(self.lab, "read")
        queue.move(2)
        reader = self.lab.popen(1, ["sh", "-c", f"exec 3<{queue.fifo}; head -c {SIZE} <&3 | wc -c; read x"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(reader.kill)
        self.assertEqual(int(reader.stdout.readline()), SIZE)
        queue.comes_home()
        self.assertRegex(self.refused(queue, 3), rf"fd \d+ is a named pipe .*\(O_RDWR\) that process .* has open, too \({queue.fifo}\)")
        reader.communicate("\n", timeout=20)
        queue.move(3)
        self.assertEqual(queue.end()[1:], (0, 1))
        observe.nothing_left(self.lab)

    def test_what_died_meanwhile(self):
        """ssid: at home after the commit; while the guest is away, with somebody who opens it before ssid is there again."""
        queue = Queue(self.lab, "killed")
        self.fault(1, "after_commit", "kill")
        self.lab.run(1, ["migrate", "--tree", str(queue.pid), "2"], check=False)
        self.ssid_is_back()
        self.lab.wait_for(lambda: queue.where() == 2, 20, "it is on node 2")
        time.sleep(1)
        self.assertEqual(queue.where(), 2)  # nothing of it was left at home that would call it
        self.lab.service(1, "kill", "ssid")
        queue.write(5)
        self.ssid_is_back()
        queue.hears(5)
        queue.comes_home()
        queue.move(3)
        queue.write(5)
        queue.hears(10)
        self.assertEqual(queue.end()[1:], (10, 0))
        observe.nothing_left(self.lab)

    def ssid_is_back(self):
        self.lab.wait_for(lambda: self.lab.run(1, ["cluster"], check=False).returncode == 0, 30, "ssid answers again")


if __name__ == "__main__":
    unittest.main(verbosity=2)
