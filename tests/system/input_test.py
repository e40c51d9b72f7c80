#!/usr/bin/python3
"""Wrong input: processes that can't be moved, callers that may not, arguments without sense, garbage on every
socket. Each gets one clear line or a closed connection; nothing moves, nothing is lost, ssid lives."""

import hashlib
import hmac
import json
import random
import struct
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from probe import Probe  # noqa: E402

NODES = (1, 2, 3)
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
NOBODY = 65534
SEED = 20260101
LINK_PORT = 7788
CARRIER_PORT = 7789
CONTROL = "/run/ssid/ssid.sock"
DEPUTIES = "/run/ssid/deputy.sock"
CARRIER = "/run/ssid/carrier.sock"
REALM = "/run/ssid/realms/1.sock"  # on node 2
HANDSHAKES_MAX = 16  # connections that have not shown the key; more are refused at once
IDLE_CLOSED_S = 30  # a connection to the control socket on which no whole request comes


def elf32():
    """A 32-bit program that sleeps: pause(2) for ever."""
    code = bytes.fromhex("b81d000000cd80ebf7")
    base, entry = 0x08048000, 0x08048000 + 84
    header = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, entry, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    size = 84 + len(code)
    return header + struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 0x1000) + code


AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


class OnThreeNodes(unittest.TestCase):
    """One lab for all tests of a class. A guest and a process at home are there all the time; after each test
    they are where they were and answer, and the services are those that were started."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name=f"t_input_{cls.__name__}")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)
        cls.guest = Probe(cls.lab, 1, name="guest")
        observe.migrate(cls.lab, cls.guest.pid, 2)
        cls.local = Probe(cls.lab, 1, name="local")

    def setUp(self):
        self.before = self.whole()
        self.addCleanup(self.check_nothing_happened)

    def whole(self):
        services = {
            (node, name): (service["pid"], service["state"])
            for node in NODES
            if self.lab.init_pid(node) is not None
            for name, service in self.lab.services(node).items()
        }
        copies = [observe.copies(self.lab, probe.report_path) for probe in (self.guest, self.local)]
        events = observe.ask(self.lab, 1, "cluster", "events")["events"]
        return services, copies, [event for event in events if "to" in event]

    def check_nothing_happened(self):
        self.assertEqual(self.whole(), self.before)
        for probe in (self.guest, self.local):
            report = probe.report()
            good = report["memory_good"] and report["descriptors_good"] and report["same_pid"]
            self.assertTrue(good, report)

    def start(self, *command, node=1, ready="ready"):
        """Starts a command on a node and waits for its line; returns its PID there and the line's words."""
        started = self.lab.popen(
            node, ["sh", "-c", 'echo $$; exec "$@"', "sh", *command], stdout=subprocess.PIPE, text=True)
        pid = int(started.stdout.readline())

        def end():
            self.lab.run(node, ["kill", "-KILL", "--", f"-{pid}"], check=False)  # with its children
            started.communicate(timeout=30)

        self.addCleanup(end)
        words = started.stdout.readline().split() if ready else []
        if ready:
            self.assertEqual(words[:1], [ready])
        return pid, words

    def start_python(self, script, **options):
        script += "\nimport time\nprint('ready', flush=True)\ntime.sleep(600)"
        return self.start("python3", "-c", script, **options)[0]

    def assert_refused(self, *command, node=1, why=r".+", status=1, nobody=False):
        """One line on stderr that begins with the command's name, nothing on stdout."""
        line = (AS_NOBODY if nobody else []) + list(map(str, command))
        done = self.lab.run(node, line, check=False)
        what = f"{' '.join(line)}: {done}"
        self.assertEqual(done.returncode, status, what)
        self.assertEqual(done.stdout, "", what)
        self.assertRegex(done.stderr, rf"\A{command[0]}: {why}\n\Z", what)
        self.assertEqual(done.stderr.count("\n"), 1, what)


class Processes(OnThreeNodes):
    def refused(self, pid, why):
        self.assert_refused("migrate", pid, 2, why=rf"{pid}: {why}")
        self.assert_refused("migrate", pid, 2, "--dry-run", why=rf"{pid}: {why}")
        self.assertTrue(observe.exists(self.lab, 1, pid) or "zombie" in why)

    def test_unknown_pids(self):
        self.assert_refused("migrate", 99999, 2, why="99999: .*[Nn]o such process")
        self.assert_refused("migrate", "1:99999", 2, why="1:99999: .*[Nn]o such process")
        self.assert_refused("migrate", "2:99999", 3, why="2:99999: .*[Nn]o such process")
        # A thread of the kernel: a lab node shows none, so there this is one more unknown PID; what check
        # says of a real one is tested by read_facts_test.
        self.assert_refused("migrate", "1:2", 2, why=".*([Nn]o such process|thread of the kernel)")

    def test_a_zombie(self):
        # It ends when its parent is no shell any more, which might wait for it.
        child = "while [ $(cat /proc/$PPID/comm) != sleep ]; do sleep 0.05; done"
        pid, words = self.start("sh", "-c", f"sh -c '{child}' & echo ready $!; exec sleep 600")
        zombie = int(words[1])
        self.lab.wait_for(lambda: observe.state_of(self.lab, 1, zombie) == "Z", 10, "a zombie")
        self.assert_refused("migrate", zombie, 2, why=rf"{zombie}: .*zombie.*")
        self.assertEqual(observe.state_of(self.lab, 1, zombie), "Z")

    def test_the_first_process_and_ssid_itself(self):
        services = self.lab.services(1)
        self.assert_refused("migrate", "1:1", 2, why=".*first process.*")
        for name in ("ssid", "ssid-carrier", "corosync"):
            pid = f"1:{services[name]['pid']}"
            self.assert_refused("migrate", pid, 2, why=f"{pid}: it is a part of ssid itself")
            self.assert_refused("loadlevel", "enable", pid, why=f"{pid}: .*belongs to ssid itself")

    def test_io_uring(self):
        pid = self.start_python(
            "import ctypes\nfd = ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120))\n"
            "assert fd >= 0")
        self.refused(pid, r".*io_uring.*")

    def test_an_open_device(self):
        pid = self.start_python("f = open('/dev/net/tun', 'rb+', buffering=0)")
        self.refused(pid, r".*a device \(/dev/net/tun.*")

    def test_sockets(self):
        pid = self.start_python("import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)")
        self.refused(pid, r".*a socket of a kind that can't be moved \(PACKET\).*")
        pid = self.start_python("import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 255)")
        self.refused(pid, r".*a network socket.*raw6.*")
        pid = self.start_python("import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/tmp/input.sock'); "
                                "s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)")
        self.refused(pid, r".*a unix socket \(/tmp/input.sock\) whose clients are asked for their identity.*")

    def test_a_32_bit_program(self):
        program = self.lab.path(1, "/root/elf32")
        program.write_bytes(elf32())
        program.chmod(0o755)
        pid, _ = self.start("/root/elf32", ready=None)
        self.lab.wait_for(lambda: observe.state_of(self.lab, 1, pid) == "S", 10, "it sleeps")
        self.refused(pid, r".*32-bit program.*")

    def test_a_process_with_children(self):
        pid, _ = self.start("sh", "-c", "sleep 600 & echo ready; wait")
        self.refused(pid, r".*child process.*sleep.*")

    def test_one_that_is_there_already(self):
        self.assert_refused("migrate", self.guest.pid, 2, why=rf"{self.guest.pid}: .*node 2 already")
        self.assert_refused("migrate", self.local.pid, "home", why=rf"{self.local.pid}: .*node 1 already")

    def test_one_that_has_ended(self):
        pid, _ = self.start("sh", "-c", "echo ready")
        self.lab.wait_for(lambda: self.lab.run(1, ["kill", "-0", str(pid)], check=False).returncode, 10, "it ends")
        for to in (1, 2, "home"):
            self.assert_refused("migrate", pid, to, why=rf"{pid}: no such process")

    def test_processes_of_somebody_else(self):
        mine = self.start_python("import os; os.setgid(%d); os.setuid(%d)" % (NOBODY, NOBODY))
        for command in (["migrate", self.local.pid, 2], ["migrate", self.guest.pid, 3],
                        ["migrate", self.guest.pid, "home"], ["migrate", "2:1", 1],
                        ["loadlevel", "enable", self.local.pid], ["loadlevel", "disable", self.guest.pid]):
            self.assert_refused(*command, nobody=True, why=r".*not your process")
        for command in (["loadlevel", "off"], ["loadlevel", "on"], ["loadlevel", "add", "/usr/bin/true"]):
            self.assert_refused(*command, nobody=True, why=r".*only root may do that")
        # What is theirs they may ask for.
        said = self.lab.run(1, [*AS_NOBODY, "migrate", str(mine), "2", "--dry-run"])
        self.assertEqual(said.stdout, f"{mine}: 1 -> 2, can be moved\n")

    def test_arguments_without_sense(self):
        pid = self.local.pid
        bad_pids = ["", "abc", "1:", ":1", "1:x", "-1", "0", "1:0", "1:-5", f"{pid}x", f" {pid}", "9" * 30,
                    "9" * 5000, "\x1b[31m", "9:1"]
        bad_nodes = ["", 99, "nowhere", "-1", "2x", "9" * 5000, "2\n3"]
        for arguments in ([], [pid], [pid, 2, 3], [pid, 2, "--nonsense"], *([bad, 2] for bad in bad_pids),
                          *([pid, bad] for bad in bad_nodes)):
            with self.subTest(arguments=arguments):
                done = self.lab.run(1, ["migrate", *map(str, arguments)], check=False)
                self.assertIn(done.returncode, (1, 2), done)
                self.assertEqual(done.stdout, "", done)
                self.assertRegex(done.stderr, r"\Amigrate: [^\n]{1,6000}\n\Z", done)
                self.assertNotIn("\x1b", done.stderr)
        for line in (["cluster", "nonsense"], ["cluster", "--nonsense"], ["cluster", "-v", "extra"],
                     ["ssips", "-o", "nonsense"], ["ssips", "nonsense"], ["loadlevel"],
                     ["loadlevel", "nonsense"], ["loadlevel", "enable"], ["loadlevel", "enable", "nonsense"]):
            with self.subTest(line=line):
                self.assert_refused(*line, status=2)
        for line in (["loadlevel", "enable", "99999"], ["loadlevel", "why", "99999"],
                     ["loadlevel", "status", "99999"]):
            with self.subTest(line=line):
                self.assert_refused(*line)
        self.assert_refused("loadlevel", "add", "relative/path", status=2)

    def test_a_node_that_is_down(self):
        self.lab.crash(3)
        try:
            self.lab.wait_for(
                lambda: "3: DOWN" in self.lab.run(1, ["cluster", "-v"]).stdout, 10, "node 3 is down")
            for node in ("3", "n3"):
                for pid in (self.local.pid, self.guest.pid):
                    self.assert_refused("migrate", pid, node, why=rf"{pid}: node 3 is not up")
        finally:
            self.lab.boot(3)
            self.lab.wait_quorate()
            observe.wait_for_loads(self.lab)
            # Its services are others now.
            self.before = (self.whole()[0], *self.before[1:])


class Sockets(OnThreeNodes):
    def setUp(self):
        self.random = random.Random(SEED)
        super().setUp()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for node in NODES:
            program = cls.lab.path(node, "/usr/local/bin/garbage.py")
            program.write_bytes((PROGRAMS / "garbage.py").read_bytes())

    def throw(self, node, address, kind, connections, nobody=False):
        """Each of `connections` is a list of messages. All have to be closed; returns what came back."""
        line = (AS_NOBODY if nobody else []) + ["python3", "/usr/local/bin/garbage.py", address, kind]
        messages = json.dumps([[message.hex() for message in connection] for connection in connections])
        said = json.loads(self.lab.run(node, line, input=messages, timeout=300).stdout)
        self.assertEqual(len(said), len(connections))
        for connection, result in zip(connections, said):
            sent = [message[:64].hex() for message in connection]
            what = f"not closed after {sent} (seed {SEED}): {result['came_back'][:200]}"
            self.assertTrue(result["closed"], what)
        return [bytes.fromhex(result["came_back"]) for result in said]

    def noise(self, most=4096):
        return self.random.randbytes(self.random.randint(1, most))

    def damaged(self, good):
        """A good message with some bits turned, or cut, or longer."""
        bad = bytearray(good)
        how = self.random.randrange(4)
        if how == 0:
            return bytes(bad[: self.random.randrange(len(bad))]) or b"\0"
        if how == 1:
            return bytes(bad) + self.noise(64)
        for _ in range(self.random.randint(1, 8)):
            bad[self.random.randrange(len(bad))] ^= 1 << self.random.randrange(8)
        return bytes(bad)

    def recorded(self, node, *command):
        """The bytes that a command sends to the control socket."""
        script = (
            "import os, socket\n"
            "if os.path.exists('/tmp/recorder'): os.unlink('/tmp/recorder')\n"
            "s = socket.socket(socket.AF_UNIX); s.bind('/tmp/recorder'); s.listen()\n"
            "print('ready', flush=True)\n"
            "print(s.accept()[0].recv(65536).hex(), flush=True)\n")
        recorder = self.lab.popen(node, ["python3", "-c", script], stdout=subprocess.PIPE, text=True)
        self.assertEqual(recorder.stdout.readline(), "ready\n")
        self.lab.run(node, command, check=False, env={"SSID_SOCKET": "/tmp/recorder"})
        return bytes.fromhex(recorder.communicate(timeout=20)[0])

    def assert_only_for_root(self, node, path):
        script = f"import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect({path!r})"
        done = self.lab.run(node, [*AS_NOBODY, "python3", "-c", script], check=False)
        self.assertIn("PermissionError", done.stderr)

    def test_the_control_socket(self):
        # One that changes nothing, whatever damage makes of its arguments.
        request = self.recorded(1, "loadlevel", "why", str(self.local.pid), "--json")
        self.assertEqual(request[:4], b"SSI1")
        header = request[:12]
        huge = header[:8] + struct.pack("<I", 0xFFFFFFFF)
        one_too_long = header[:8] + struct.pack("<I", 65537) + b"x" * 65537
        connections = [[b""], [b"\0" * 65536], [huge], [huge + b"x" * 65536], [header], [request[:-1]],
                       [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], [one_too_long],
                       [header[:8] + struct.pack("<I", 0)], [header[:8] + struct.pack("<I", 4) + b"\xff" * 4]]
        connections += [[self.noise()] for _ in range(100)]
        connections += [[self.damaged(request)] for _ in range(300)]
        connections += [[header[:8] + struct.pack("<I", len(body)) + body] for body in
                        (self.noise(2000) for _ in range(100))]
        for nobody in (False, True):
            self.throw(1, CONTROL, "stream", connections, nobody=nobody)

    def test_a_caller_that_never_finishes_its_request(self):
        request = self.recorded(1, "cluster", "--json")
        script = (
            "import socket, sys, time\n"
            f"s = socket.socket(socket.AF_UNIX); s.connect({CONTROL!r})\n"
            f"s.send(bytes.fromhex({request[:20].hex()!r}))\n"
            f"s.settimeout({IDLE_CLOSED_S + 15}); t = time.monotonic()\n"
            "print('closed' if s.recv(1) == b'' else 'answered', time.monotonic() - t)\n")
        word, seconds = self.lab.run(1, ["python3", "-c", script], timeout=90).stdout.split()
        self.assertEqual(word, "closed")
        self.assertLess(float(seconds), IDLE_CLOSED_S + 5)

    def test_too_many_callers(self):
        script = (
            "import socket, sys\nheld = []\n"
            "for i in range(600):\n"
            f"  s = socket.socket(socket.AF_UNIX); s.connect({CONTROL!r}); held.append(s)\n"
            "print('ready', flush=True); sys.stdin.read()\n")
        crowd = self.lab.popen(
            1, [*AS_NOBODY, "python3", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(crowd.stdout.readline(), "ready\n")
        self.assertIn("1: UP", self.lab.run(1, ["cluster"]).stdout)  # root still gets in
        crowd.communicate("")

    def test_the_socket_of_the_deputies(self):
        """Anyone may connect; nobody is believed who is no deputy."""
        magic, version = 0x50454453, 1

        def message(kind, size, magic=magic, version=version):
            body = struct.pack("<IHH", magic, version, kind)
            return body + self.random.randbytes(max(0, size - len(body)))

        hello = struct.pack("<IHHiIQ", magic, version, 1, self.guest.pid, 0, 1)  # somebody else's PID
        signal_kill = struct.pack("<IHHQiiQiI", magic, version, 2, 1, 9, 0, 0, 0, 0)
        connections = [[hello], [hello, signal_kill], [signal_kill], [hello, hello, signal_kill], [bytes(64)]]
        connections += [[message(kind, size)] for kind in (1, 2, 3, 65, 66, 67, 68, 0, 999) for size in
                        (8, 9, 16, 24, 40, 64, 65, 4096)]
        connections += [[message(1, 24, magic=1)], [message(1, 24, version=9)]]
        connections += [[self.noise(200) for _ in range(3)] for _ in range(100)]
        connections += [[hello, self.damaged(signal_kill), self.noise(100)] for _ in range(100)]
        for nobody in (False, True):
            for node in (1, 2):
                self.throw(node, DEPUTIES, "seqpacket", connections, nobody=nobody)

    def test_the_carriers_local_socket(self):
        connections = [[b"\0"], [b"\0\0\0"], [b"\0" * 65536], [b"\xff" * 65536]]
        ops = (2, 3, 5, 10, 11, 12, 13, 14, 15, 16)
        connections += [[struct.pack("<I", op)] for op in (*ops, 0, 9, 17, 255, 2**32 - 1)]
        connections += [[struct.pack("<I", op) + b"\xff" * 64] for op in ops]
        connections += [[struct.pack("<I", self.random.choice(ops)) + self.noise(300)] for _ in range(100)]
        connections += [[self.noise()] for _ in range(50)]
        for node in (1, 2):
            self.throw(node, CARRIER, "seqpacket", connections)
        self.assert_only_for_root(1, CARRIER)

    def test_the_socket_of_a_realms_init(self):
        def message(op, pid=0, value=0, error=0):
            return struct.pack("<Iiii", op, pid, value, error)

        connections = [[b"\0"], [b"\0" * 15], [b"\0" * 17], [b"\xff" * 16], [b"\xff" * 65536]]
        connections += [[message(op)] for op in (0, 9, 50, 99, 100, 101, 103, 106, 2**32 - 1)]
        # Requests that lack their descriptors, or are about nobody.
        connections += [[message(1)], [message(2)], [message(2, pid=1)], [message(5, pid=99999, value=9)],
                        [message(5, pid=self.guest.pid, value=0)],
                        [message(5, pid=self.guest.pid, value=999)],
                        [message(5, pid=-1, value=9)], [message(5, pid=0, value=9)], [message(3, pid=99999)],
                        [message(3, pid=-1)], [message(4, pid=99999)], [message(7, pid=99999)],
                        [message(8)]]  # to end: refused, it has a guest
        connections += [[self.noise(15)] for _ in range(100)]
        connections += [[self.noise(2000) + b"x" * 16] for _ in range(100)]
        self.throw(2, REALM, "seqpacket", connections)
        self.assert_only_for_root(2, REALM)

    # The links between nodes

    def link_key(self):
        """The pre-shared key of the links: HKDF-SHA256 of the cluster's key."""
        cluster_key = self.lab.path(1, "/etc/corosync/authkey").read_bytes()
        extracted = hmac.new(b"ssid link", cluster_key, hashlib.sha256).digest()
        return hmac.new(extracted, b"tls 1.3 external psk, sha256, 1\x01", hashlib.sha256).digest()

    def talk_tls(self, port, key, data, identity="ssid-1:3", hang_up=False):
        """What node 2 answers to `data` from node 3, who shows `key`. Node 2 has to close the connection,
        unless the caller hangs up by himself when all is said."""
        line = ["openssl", "s_client", "-connect", f"{self.lab.address(2)}:{port}", "-tls1_3", "-quiet",
                "-groups", "X25519", "-ciphersuites", "TLS_AES_128_GCM_SHA256",
                "-no_ign_eof" if hang_up else "-ign_eof"]
        if key is not None:
            line += ["-psk", key.hex(), "-psk_identity", identity]
        done = self.lab.run(
            3, ["timeout", "25", *line], check=False, input=data, text=False, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.assertNotEqual(done.returncode, 124, f"not closed: {line}: {done}")
        return done

    def test_raw_garbage_on_the_links(self):
        hello = bytes.fromhex("16030100050100000100")
        connections = [[b""], [b"\0" * 65536], [hello], [hello * 1000], [b"SSI1" + b"\0" * 60],
                       [b"GET / HTTP/1.1\r\n\r\n"], [b"\x16\x03\x01\xff\xff" + b"x" * 65535]]
        connections += [[self.noise()] for _ in range(60)]
        for port in (LINK_PORT, CARRIER_PORT):
            for came_back in self.throw(3, f"{self.lab.address(2)}:{port}", "stream", connections):
                self.assertLess(len(came_back), 64)  # a TLS alert at most

    def test_links_without_the_key(self):
        good = self.link_key()
        for port in (LINK_PORT, CARRIER_PORT):
            bad = [(None, ""), (bytes(32), "ssid-1:3"), (good[::-1], "ssid-1:3")]
            bad += [(good, identity) for identity in ("ssid-1:0", "root", "ssid-1:3x", "ssid-9:3")]
            for key, identity in bad:
                with self.subTest(port=port, identity=identity, good=key == good):
                    done = self.talk_tls(port, key, b"x" * 1000, identity)
                    self.assertEqual(done.stdout, b"")
                    self.assertRegex(done.stderr.decode(), r"alert|error|unexpected eof|reset")

    def test_garbage_from_who_has_the_key(self):
        """A node gone mad: it gets through the handshake, and no further."""
        key = self.link_key()
        types = {LINK_PORT: (0x10, 0x11), CARRIER_PORT: (0x401,)}

        def frame(kind, body=b"", length=None, version=1):
            length = len(body) if length is None else length
            return struct.pack("<IHHI", 0x31495353, version, kind, length) + body

        for port in (LINK_PORT, CARRIER_PORT):
            messages = [b"\0" * 70000, frame(999, b"x" * 8), frame(types[port][0], b"x" * 8, version=9)]
            cut_off = [b"", b"SSI1", frame(types[port][0], length=100),
                       frame(types[port][0], b"x" * 10, length=1000)]
            for kind in types[port]:
                messages += [frame(kind, length=0xFFFFFFFF), frame(kind), frame(kind, b"\xff" * 8),
                             frame(kind, self.noise(5000)), frame(kind, self.noise(100)) * 20]
            if port == CARRIER_PORT:
                for link_kind in (1, 2, 3):  # files, streams, what does not exist
                    hello = struct.pack("<IHHII16sII", 0x43495353, 1, link_kind, 3, 2, b"t" * 16, 0, 0)
                    after = (frame(0x401), frame(0x401, b"\xff" * 4), frame(0x401, self.noise(64)) * 50,
                             frame(0x401, length=0xFFFFFFFF), self.noise(5000))
                    messages += [frame(0x401, hello) + more for more in after]
                    messages += [frame(0x401, hello[:20]), frame(0x401, hello + b"x")]
                    cut_off += [frame(0x401, hello), frame(0x401, hello) + frame(0x401, length=64)]
            messages += [self.noise(20000) for _ in range(10)]
            for message in messages:
                with self.subTest(port=port, message=message[:80].hex(), seed=SEED):
                    self.talk_tls(port, key, message)
            for message in cut_off:
                self.talk_tls(port, key, message, hang_up=True)
        self.assert_links_work()

    def test_connections_that_say_nothing(self):
        """They hold nothing up, and are ended."""
        script = (
            "import socket, sys, time\n"
            f"held = [socket.create_connection(('{self.lab.address(2)}', port))"
            f" for port in ({LINK_PORT}, {CARRIER_PORT}) for _ in range({HANDSHAKES_MAX // 2})]\n"
            "print('ready', flush=True)\n"
            "for s in held:\n  s.settimeout(30)\n  assert s.recv(100) == b''\n"
            "print('closed', flush=True)\n")
        crowd = self.lab.popen(3, ["python3", "-c", script], stdout=subprocess.PIPE, text=True)
        self.assertEqual(crowd.stdout.readline(), "ready\n")
        self.assert_links_work()
        self.assertEqual(crowd.communicate(timeout=60)[0], "closed\n")

    def assert_links_work(self):
        """Moves something else from 3 to 2 and back; that much of `before` is brought up to date."""
        other = Probe(self.lab, 3, name=f"other{self.id().rsplit('.', 1)[1]}")
        try:
            for to in (2, 3):
                observe.migrate(self.lab, other.pid, to, node=3)
                self.assertTrue(other.report()["memory_good"])
            self.assertEqual(other.end(), 42)
        finally:
            other.kill(9)
        self.before = (*self.before[:2], self.whole()[2])


if __name__ == "__main__":
    unittest.main(verbosity=2)
