#!/usr/bin/python3
"""A server that is found by the name of its unix socket goes round three nodes while its clients stay where they are."""

import json
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
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
USER = 1234


class Server:
    def __init__(self, lab, name, address, programs="name", clients=()):
        self.lab, self.address = lab, address
        self.report = lab.path(1, f"/root/{name}.server")
        self.answers = lab.path(1, f"/tmp/{name}.clients")
        self.shell = self.start(f"{programs}_server.py", address, f"/root/{name}.server")
        self.pid = int(self.shell.stdout.readline())
        lab.wait_for(lambda: self.report.exists() and self.report.read_text(), 20, "the server to listen")
        self.answers.parent.mkdir(exist_ok=True)
        self.clients = self.start(f"{programs}_client.py", address, f"/tmp/{name}.clients", *([str(USER)] if programs == "name" else clients))
        self.clients_pid = int(self.clients.stdout.readline())

    def start(self, program, *arguments):
        self.lab.path(1, f"/root/{program}").write_bytes((PROGRAMS / program).read_bytes())
        words = " ".join(["/usr/bin/python3", f"/root/{program}", *(f"'{a}'" for a in arguments)])
        return self.lab.popen(1, ["sh", "-c", f"chmod 755 /root; {words} </dev/null >/dev/null 2>&1 & echo $!; wait $!"],
                              stdout=subprocess.PIPE, text=True)

    def move(self, to, pid=None):
        return observe.ask(self.lab, 1, "migrate", str(pid or self.pid), str(to), "--wait")

    def try_to_move(self, to):
        said = self.lab.run(1, ["migrate", str(self.pid), str(to)], check=False)
        return said.returncode, said.stderr

    def end(self):
        """What the clients say, then the server."""
        self.lab.run(1, ["kill", "-TERM", str(self.clients_pid)])
        self.clients.wait(60)
        self.clients.stdout.close()
        counts = json.loads(self.answers.read_text())
        self.lab.run(1, ["kill", "-TERM", str(self.pid)])
        self.shell.wait(20)
        self.shell.stdout.close()
        return counts, self.report.read_text().splitlines()[-1]


class UnixNames(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(NODES, name="t_names", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def assert_good(self, server, rounds):
        counts, word = server.end()
        for who in ("stays", "come"):
            self.assertEqual(counts[who]["failures"], [], counts)
            self.assertGreater(counts[who]["rounds"], rounds, counts)
        self.assertTrue(word.startswith("good:"), word)
        self.lab.wait_for(lambda: not observe.left_over(self.lab), 10, "nothing is left in ssid's cgroups")
        print(f"\n{counts}, {word}", flush=True)

    def around(self, name, address):
        server = Server(self.lab, name, address)
        self.go_around(server)
        self.assert_good(server, MOVES)

    def go_around(self, server, pid=None):
        frozen = []
        for i in range(MOVES):
            frozen.append(server.move((i + 1) % NODES + 1, pid)["frozen_ms"])
            time.sleep(0.05)
        print(f"{MOVES} moves, frozen: median {sorted(frozen)[MOVES // 2]:.0f} ms, at most {max(frozen):.0f} ms", flush=True)

    def test_a_name_among_files(self):
        path = self.lab.path(1, "/tmp/names.sock")
        path.parent.mkdir(exist_ok=True)
        self.around("files", "/tmp/names.sock")
        self.assertTrue(path.is_socket())

    def test_an_abstract_name(self):
        self.around("abstract", "@ssid.names")

    def test_a_socket_for_messages(self):
        self.around("packets", "packets:@ssid.packets")

    def test_a_socket_for_datagrams(self):
        for name, address in (("datagrams", "/tmp/datagrams.sock"), ("abstract-datagrams", "@ssid.datagrams")):
            with self.subTest(address):
                server = Server(self.lab, name, address, "datagram")
                self.go_around(server)
                counts, word = server.end()
                self.assertEqual(counts["failures"], [], counts)
                self.assertGreater(counts["one"], 10 * MOVES)
                self.assertEqual(word, f"good: many={counts['many']} one={counts['one']}")
                print(f"{counts}", flush=True)

    def test_who_sends_datagrams(self):
        """As a program that logs: its server stays at home."""
        server = Server(self.lab, "log", "/tmp/log.sock", "datagram", ("one",))
        self.lab.wait_for(server.answers.exists, 20, "the client to be connected")  # One that is away finds nobody by a name (docs/sockets.md).
        self.go_around(server, server.clients_pid)
        counts, word = server.end()
        self.assertEqual(counts["failures"], [], counts)
        self.assertGreater(counts["one"], 10 * MOVES)
        self.assertEqual(word, f"good: one={counts['one']}")
        print(f"{counts}", flush=True)

    def test_moves_that_come_to_nothing(self):
        server = Server(self.lab, "aborted", "/tmp/aborted.sock")
        inode = self.lab.path(1, "/tmp/aborted.sock").stat().st_ino
        for at, to in ((1, 2), (2, 3), (3, 1), (1, 3)):
            for step in ("after_freeze", "after_dump", "after_restore"):
                self.lab.path(at, FAULTS).write_text(f"migrate.{step} error\n")
                status, said = server.try_to_move(to)
                self.assertNotEqual(status, 0, step)
                self.assertIn("fault", said)
                time.sleep(0.1)
            server.move(to)
        self.assertEqual(self.lab.path(1, "/tmp/aborted.sock").stat().st_ino, inode)
        self.assert_good(server, 20)

    def test_it_ends_where_it_is(self):
        """Then its name leads nowhere, and its clients see their connections end."""
        server = Server(self.lab, "ended", "/tmp/ended.sock")
        server.move(2)
        self.lab.run(1, ["kill", "-KILL", str(server.pid)])
        server.shell.wait(20)
        self.lab.run(1, ["kill", "-TERM", str(server.clients_pid)])
        server.clients.wait(60)
        counts = json.loads(server.answers.read_text())
        self.assertTrue(counts["stays"]["failures"], counts)
        once = "import socket; socket.socket(socket.AF_UNIX).connect('/tmp/ended.sock')"
        done = self.lab.run(1, ["python3", "-c", once], check=False)
        self.assertIn("ConnectionRefusedError", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
