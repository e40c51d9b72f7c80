#!/usr/bin/python3
"""Sockets that are no network connections, and handles on processes: a program that works with all of them is moved
around three nodes, and says at its end whether all was right. What can't be moved is refused, with its reason."""

import statistics
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from probe import Program  # noqa: E402

NODES = 3
MOVES = 50
FAULTS = "/run/ssid/faults"
PROGRAM = Path(__file__).resolve().parents[1] / "programs/socket_fds.py"
PEER = Path(__file__).resolve().parents[1] / "programs/socket_peer.py"
RELAYED = ["relayed", "relayed-bulk", "shut"]
WITHIN = ["stream", "datagrams", "seqpacket", "half-closed", "in-flight", "accepted", "pidfd"]

# What a program does before it waits, and what `migrate` says of it. {} is a number or a name.
REFUSED = {
    "listening, to clients whom it asks who they are": (
        "s = socket.socket(socket.AF_UNIX); s.bind('/tmp/y.sock'); s.listen(); s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)",
        "fd 3 is a unix socket (/tmp/y.sock) whose clients are asked for their identity with each message"),
    "datagrams, by a name, whose senders it asks who they are": (
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('\\0x'); s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)",
        "fd 3 is a unix socket (@x) whose clients are asked for their identity with each message"),
    "datagrams, a pair with another process": (
        "a, b = socket.socketpair(type=socket.SOCK_DGRAM); subprocess.Popen(['sleep', '60'], stdin=a, start_new_session=True); "
        "a.close(); subprocess.run(['sleep', '1'])",
        "(sleep), who sends it datagrams, which are not relayed yet"),
    "a shared one": (
        "a, b = socket.socketpair(); subprocess.Popen(['sleep', '60'], stdin=a, start_new_session=True); "
        "os.kill(os.getpid(), 0)",
        "that process {} (sleep) has open, too"),
    "a descriptor in flight": (
        "a, b = socket.socketpair(); p = os.pidfd_open(os.getpid()); socket.send_fds(a, [b'x'], [p])",
        "fd 4 has in its queue a handle on a process (pidfd)"),
    "an epoll in flight, of what is closed": (
        "a, b = socket.socketpair(); e = select.epoll(); c = os.dup(a.fileno()); e.register(c); "
        "socket.send_fds(a, [b'x'], [e.fileno()]); os.close(c)",
        "fd 4 has in its queue an epoll that watches what it has under another number, or not at all"),
    "a handle on another process": (
        "f = os.pidfd_open(1)", "fd 3 is a handle on a process (pidfd) of process 1, which stays"),
    "the kernel's": (
        "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.bind((0, 1))",
        "fd 3 is a socket to this machine's kernel (NETLINK) that is told of changes here (by a multicast group)"),
    "the kernel's, with an answer": (
        "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); "
        "s.send(b'\\x14\\0\\0\\0\\x12\\0\\x01\\x03' + bytes(12))",
        "fd 3 is a socket to this machine's kernel (NETLINK) with an answer that was not read yet"),
    "packets": (
        "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "fd 3 is a socket of a kind that can't be moved (PACKET)"),
    "raw": (
        "s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)", 
        "fd 3 is a network socket (raw 0.0.0.0:255) that gets packets of all of this machine"),
    "raw, of IPv6": (
        "s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 255)", "fd 3 is a network socket (raw6 [::]:255)"),
    "pings, with a number": (
        "open('/proc/sys/net/ipv4/ping_group_range', 'w').write('0 0'); "
        "s = socket.socket(type=socket.SOCK_DGRAM, proto=socket.IPPROTO_ICMP); s.bind(('', 7))",
        "fd 3 is a network socket (icmp 0.0.0.0:7) that has a number for its pings, which it can't keep"),
    "UDP-Lite, checksum of a part": (
        "s = socket.socket(type=socket.SOCK_DGRAM, proto=socket.IPPROTO_UDPLITE); s.setsockopt(socket.IPPROTO_UDPLITE, 10, 8)",
        "fd 3 is a network socket (UDP-Lite) with a checksum of its own kind (UDPLITE_SEND_CSCOV), which would be forgotten"),
    "bound to a device": (
        "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, 25, b'lo')",
        "bound to this machine's network device lo"),
    "an unfinished datagram": (
        "s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('127.0.0.1', 9)); "
        "s.setsockopt(socket.IPPROTO_UDP, 1, 1); s.send(b'half')",
        "with a datagram that is not complete yet (UDP_CORK)"),
}


class SocketFds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(NODES, name="t_socket_fds", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def move_around(self, program, moves=MOVES):
        frozen_ms, rounds = [], {}
        started = time.monotonic()
        for i in range(moves):
            frozen_ms.append(observe.migrate(
                self.lab, program.pid, (i + 1) % NODES + 1, options=["--wait"])["frozen_ms"])
            report = program.report()
            self.assertEqual(report["wrong"], [], f"move {i + 1}")
            self.assertGreater(min(report["rounds"].values()), 0, f"move {i + 1}: {report}")
            for kind, made in report["rounds"].items():
                rounds[kind] = rounds.get(kind, 0) + made
        print(f"\n{moves} moves in {time.monotonic() - started:.0f} s, frozen {statistics.median(frozen_ms):.0f} ms, at "
              f"most {max(frozen_ms):.0f} ms; rounds: " + ", ".join(f"{kind} {made}" for kind, made in rounds.items()))

    def test_sockets_that_move_with_both_ends(self):
        program = Program(self.lab, 1, "socket_fds", PROGRAM,
                          "exec python3 {program} {report} " + " ".join(WITHIN))
        self.move_around(program)
        self.assertEqual(program.end(), 42)
        self.assertEqual(program.rest_of_output(), "PASS\n")

    def start_relayed(self, name):
        """(the process that stays, the one that moves)"""
        directory = self.lab.path(1, "/tmp/socket_peer")
        directory.mkdir(exist_ok=True)
        directory.chmod(0o777)
        self.lab.path(1, "/tmp/socket_peer/name").unlink(missing_ok=True)
        self.lab.path(1, "/tmp/socket_peer.py").write_bytes(PEER.read_bytes())
        peer = self.lab.popen(
            1, ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups",
                "python3", "/tmp/socket_peer.py", "/tmp/socket_peer/name"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(peer.stdout.readline(), "listening\n")
        program = Program(self.lab, 1, name, PROGRAM, "exec python3 {program} {report} " + " ".join(RELAYED))
        return peer, program

    def assert_ends(self, program, peer):
        self.assertEqual(program.end(), 42)
        self.assertEqual(program.rest_of_output(), "PASS\n")
        peer.stdin.close()
        self.assertEqual(peer.stdout.read(), "4 ended\n")
        peer.wait()
        peer.stdout.close()

    def test_connections_with_a_process_that_stays(self):
        peer, program = self.start_relayed("relayed")
        self.move_around(program)
        self.assert_ends(program, peer)

    def test_moves_that_come_to_nothing(self):
        """The same connections, with the process thawed at home, and then where it is a guest."""
        peer, program = self.start_relayed("thawed")
        for _ in range(3):
            for step in ("after_dump", "after_restore"):
                for source, to in ((1, 2), (2, 3), (3, 1)):
                    (self.lab.path(source, FAULTS)).write_text(f"migrate.{step} error\n")
                    status, _ = observe.try_to_migrate(self.lab, program.pid, to)
                    self.assertNotEqual(status, 0)
                    self.lab.path(source, FAULTS).write_text("")
                    report = program.report()
                    self.assertEqual(report["wrong"], [], f"{step}, {source} -> {to}")
                    # The copy that came to nothing is done away with there first.
                    self.lab.wait_for(lambda to=to: observe.try_to_migrate(self.lab, program.pid, to)[0] == 0, 20,
                                      f"a move to node {to}")
        self.assert_ends(program, peer)

    def test_what_stays_is_told_with_its_reason(self):
        for name, (does, said) in REFUSED.items():
            with self.subTest(name):
                program = self.lab.popen(
                    1, ["python3", "-c", "import os, select, socket, subprocess, sys\n" + does +
                        "\nprint(os.getpid(), flush=True)\nsys.stdin.read()"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                pid = int(program.stdout.readline())
                status, error = observe.try_to_migrate(self.lab, pid, 2)
                program.stdin.close()
                program.wait()
                program.stdout.close()
                self.assertNotEqual(status, 0)
                before, _, after = said.partition("{}")
                self.assertIn(before, error)
                self.assertIn(after, error)
                self.assertEqual(len(error.splitlines()), 1, error)


if __name__ == "__main__":
    unittest.main()
