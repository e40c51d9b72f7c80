#!/usr/bin/python3
"""Everything that a process can have open, moved around three nodes while it is used without pause
(tests/programs/fds_probe/), and judged by the program's own last word. Processes at home look on: one has the deleted
file open, too, one tries to take the lock, one talks to it by named pipes.
Long because it is a list of independent tests, one a kind."""

import collections
import fcntl
import os
import random
import re
import statistics
import struct
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
BETWEEN_S = 0.03  # it works at each place
# Sends 1, 2, .. and wants 2, 3, .., until nobody answers; says how many answers were right and wrong.
TALKER = """
import os, struct, sys
out, back = os.open(sys.argv[1], os.O_WRONLY), os.open(sys.argv[2], os.O_RDONLY)
n, right, wrong = 0, 0, 0
try:
    while True:
        n += 1
        os.write(out, struct.pack("Q", n))
        answer = os.read(back, 8)
        if not answer: break
        if answer == struct.pack("Q", n + 1): right += 1
        else: wrong += 1
except BrokenPipeError:
    pass
print(right, wrong, flush=True)
"""


# Writes 1, 2, .. into a FIFO, marked as its own, until it is told to end; says how many.
WRITER = """
import os, signal, struct, sys, time
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
out, n = os.open(sys.argv[1], os.O_WRONLY), 0
print("open", flush=True)
while not ended:
    n += 1
    os.write(out, struct.pack("Q", n | 1 << 63))
    time.sleep(0.0005)
print(n, flush=True)
"""
# Takes a number out of it now and then.
TAKER = """
import os, signal, sys, time
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
file, n = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK), 0
print("open", flush=True)
while not ended:
    try:
        n += len(os.read(file, 8)) == 8
    except BlockingIOError:
        pass
    time.sleep(0.003)
print(n, flush=True)
"""
# Does with its record locks what it is told; the lock is that of its process.
RECORD_LOCKER = """
import fcntl, os, sys
file, other = open("/root/record", "r+b"), open("/root/record", "rb")
kinds = {"read": fcntl.LOCK_SH | fcntl.LOCK_NB, "write": fcntl.LOCK_EX | fcntl.LOCK_NB, "free": fcntl.LOCK_UN}
print(os.getpid(), flush=True)
for line in sys.stdin:
    act, *range = line.split()
    try:
        if act == "close": other.close()
        elif act == "end": break
        else: fcntl.lockf(file, kinds[act], *map(int, range))
        print("done", flush=True)
    except OSError as e:
        print(e.strerror, flush=True)
"""
FAULTS = "/run/ssid/faults"
F_OFD_GETLK, F_OFD_SETLK = 36, 37


def try_flock(file):
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def record_lock(kind, start, length):
    return struct.pack("hhxxxxqqixxxx", kind, os.SEEK_SET, start, length, 0)


def try_record_lock(file):
    """What fds_probe has: bytes 10 to 19, and all from 100 on. Either is one too much."""
    for start, length in ((15, 1), (12, 30), (1 << 40, 0)):
        try:
            fcntl.fcntl(file, F_OFD_SETLK, record_lock(fcntl.F_WRLCK, start, length))
            return
        except BlockingIOError:
            pass
    raise BlockingIOError


class Contender:
    """Somebody at home who tries to get a lock, again and again."""

    def __init__(self, path, attempt=try_flock):
        self.path = path
        self.attempt = attempt
        self.tries = self.taken = 0
        self._stop = threading.Event()
        self._busy = threading.Lock()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            with self._busy, open(self.path, "r+b") as file:
                self.tries += 1
                try:
                    self.attempt(file)
                    self.taken += 1
                except BlockingIOError:
                    pass
            time.sleep(0.0002)

    def paused(self):
        return self._busy

    def stop(self):
        self._stop.set()
        self._thread.join()

# When it is told to, it binds a socket to the kernel to a number; it ends with 7 if it has that at its end.
BINDER = """
import os, signal, socket, sys, time
kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
signal.signal(signal.SIGTERM, lambda *_: os._exit(7 if kernel.getsockname()[0] == 70000 else 3))
print(os.getpid(), flush=True)
while not os.path.exists("/root/bind"):
    time.sleep(0.01)
kernel.bind((70000, 0))
os.unlink("/root/bind")
while True:
    time.sleep(1)
"""


class Opener:
    """Somebody at home who opens a leased file now and then, and finds it let go."""

    def __init__(self, path):
        self.path = path
        self.times = 0
        self.wrong = []
        self.waited_s = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        pause = random.Random(7)
        while not self._stop.wait(pause.uniform(0.2, 1.5)):
            since = time.monotonic()
            with open(self.path, "r+b", buffering=0) as file:
                own, count = struct.unpack("QQ", file.read(16))
                self.waited_s.append(time.monotonic() - since)
                self.times += 1
                if own:
                    self.wrong.append(count)

    def stop(self):
        self._stop.set()
        self._thread.join()


class Probe:
    """fds_probe on node 1, started by a shell that waits for it."""

    started = []

    def __init__(self, lab, name, kinds):
        self.lab = lab
        self.dir = f"/root/{name}"
        self.report_path = f"/root/{name}.report"
        lab.path(1, self.dir).mkdir(exist_ok=True)
        program = lab.path(1, "/root/fds_probe")
        if not program.exists():
            program.write_bytes((lab.state.checkout / "build" / lab.preset / "bin/fds_probe").read_bytes())
            program.chmod(0o755)
        words = ["/root/fds_probe", self.report_path, self.dir, *kinds]
        self.shell = lab.popen(
            1, ["sh", "-c", f"{' '.join(words)} </dev/null >/dev/null & echo $!; wait $!; exit $?"],
            stdout=subprocess.PIPE, text=True)
        self.pid = int(self.shell.stdout.readline())
        Probe.started.append(self)

    def path(self, name):
        return self.lab.path(1, f"{self.dir}/{name}")

    def report(self):
        try:
            return self.lab.path(1, self.report_path).read_text()
        except FileNotFoundError:
            return ""

    def wait_ready(self):
        self.lab.wait_for(lambda: self.report().startswith("ready\n"), 20, "the program to begin")

    def end(self):
        """{kind: (its last word, rounds)}, the last line, and the status that its parent saw."""
        self.lab.run(1, ["kill", "-TERM", str(self.pid)])
        status = self.shell.wait(20)
        lines = self.report().splitlines()
        words = re.findall(r"^(\S+): (.*), (\d+) rounds$", self.report(), re.MULTILINE)
        return {kind: (word, int(rounds)) for kind, word, rounds in words}, lines[-1:], status


def change(probe, i):
    """As one who is at home."""
    file, moved = (probe.path(f"watched/other-{i}{end}") for end in ("", "b"))
    file.write_text("x")
    file.rename(moved)
    moved.chmod(0o600)
    moved.unlink()


def heard_of(i):
    return [f"256 other-{i}", f"8 other-{i}", f"64 other-{i}", f"128 other-{i}b", f"4 other-{i}b", f"512 other-{i}b"]


class Changer:
    """Does what change() does, now and then, and says how often. A process of its own: one that forks others while it
    has a file open hears of its end only when they have closed it, too."""
    PROGRAM = """
import os, random, signal, sys, time
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
os.chdir(sys.argv[1])
print("begins", flush=True)
n = 0
while not ended:
    name = f"other-{n}"
    with open(name, "w") as file: file.write("x")
    os.rename(name, name + "b")
    os.chmod(name + "b", 0o600)
    os.unlink(name + "b")
    n += 1
    time.sleep(random.uniform(0, 0.06))
print(n, flush=True)
"""

    def __init__(self, probe):
        self.process = probe.lab.popen(
            1, ["python3", "-c", self.PROGRAM, f"{probe.dir}/watched"], stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def end(self):
        """What is to be heard."""
        self.process.terminate()
        count = int(self.process.communicate(timeout=20)[0])
        return [line for i in range(count) for line in heard_of(i)]


class Fds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(NODES, name="t_fds", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)
        cls.rows = []

    @classmethod
    def tearDownClass(cls):
        if cls.rows:
            titles = ["kind", "moves", "rounds", "its last word"]
            print("\n" + observe.table(titles, sorted(cls.rows)), flush=True)

    def tearDown(self):
        """What a test that failed leaves would make the others fail, too."""
        for probe in Probe.started:
            if probe.shell.poll() is None:
                self.lab.run(1, ["kill", "-KILL", str(probe.pid)], check=False)
        Probe.started.clear()

    def move_around(self, probe, moves=MOVES, first=1, options=()):
        for i in range(moves):
            observe.migrate(self.lab, probe.pid, (i + first) % NODES + 1, options=options)
            time.sleep(BETWEEN_S)
        return moves

    def assert_passes(self, probe, kinds, moves):
        words, last, status = probe.end()
        for kind, (word, rounds) in words.items():
            self.rows.append([kind, moves, rounds, word])
        self.assertEqual({kind: word for kind, (word, _) in words.items()}, dict.fromkeys(kinds, "ok"))
        self.assertTrue(all(rounds >= moves for _, rounds in words.values()), words)
        self.assertEqual((last, status), (["PASS"], 0))
        observe.nothing_left(self.lab)

    def moves_well(self, name, kinds):
        probe = Probe(self.lab, name, kinds)
        probe.wait_ready()
        self.assert_passes(probe, kinds, self.move_around(probe))

    def test_files_with_names(self):
        self.moves_well("named", ["append", "offset", "directory", "mapping", "path-handle"])

    def test_files_of_the_kernel(self):
        self.moves_well("kernel", ["proc-files", "machine-files", "namespaces", "ended-cwd"])

    def test_what_is_no_file(self):
        self.moves_well("anonymous", [
            "memfd", "shared-memory", "named-memory", "closed-terminal", "eventfd", "signalfd", "timerfd", "nested-epoll", "timer-on-altstack",
            "pending-signals", "robust-futex"])

    def test_system_v_memory(self):
        self.moves_well("system-v", ["system-v-memory"])

    def test_sockets_to_the_kernel(self):
        """Frozen with an answer that it has not read yet, it is asked another time."""
        probe = Probe(self.lab, "netlink", ["netlink"])
        probe.wait_ready()
        self.assert_passes(probe, ["netlink"], self.move_around(probe, options=("--wait",)))

    def test_a_number_at_the_kernel_that_somebody_has_there(self):
        """Who would get another one is called off, and goes on where it was, with its number."""
        go = self.lab.path(1, "/root/bind")

        def binder():
            program = self.lab.popen(1, ["python3", "-c", BINDER], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     text=True)
            self.addCleanup(program.stdout.close)
            return program, int(program.stdout.readline())

        first, at_node_2 = binder()
        observe.migrate(self.lab, at_node_2, 2)
        go.touch()
        self.lab.wait_for(lambda: not go.exists(), 10, "it has bound its socket there")
        second, at_home = binder()
        go.touch()
        self.lab.wait_for(lambda: not go.exists(), 10, "it has bound its socket at home")
        status, said = observe.try_to_migrate(self.lab, at_home, 2)
        self.assertNotEqual(status, 0)
        self.assertIn("the number 70000, which somebody has there", said)
        observe.migrate(self.lab, at_home, 3)
        for program, pid in ((first, at_node_2), (second, at_home)):
            self.lab.run(1, ["kill", "-TERM", str(pid)])
            self.assertEqual(program.wait(20), 7)

    def test_who_watches_away_hears_what_others_do_at_home(self):
        """An inotify instance moves while it watches nothing; it watches where it is, and hears of all, each once."""
        probe = Probe(self.lab, "watcher", ["inotify"])
        probe.wait_ready()
        moves = self.move_around(probe)
        self.move_around(probe, 1, first=1)  # away
        probe.path("watch").touch()
        self.lab.wait_for(probe.path("watching").exists, 20, "it to watch")
        time.sleep(3)  # home is told within a second
        heard = self.heard(probe)
        self.assertEqual([line for line in heard if "other" in line], [])
        expected = []
        for i in range(200):
            change(probe, i)
            expected += heard_of(i)
        others = lambda: [line for line in self.heard(probe) if "other" in line]
        self.lab.wait_for(lambda: len(others()) >= len(expected), 30, "it to hear all")
        time.sleep(1)
        self.assertEqual(others(), expected)
        self.hears_itself(probe)
        self.move_around(probe, 2, first=2)
        self.rows.append(["inotify, heard away", moves, len(expected), "each once, in order"])
        self.assert_passes(probe, ["inotify"], moves)

    def test_who_watches_hears_all_while_it_moves(self):
        """Others change files at home, it changes some itself, and moves: each is heard once, and in order."""
        probe = Probe(self.lab, "watching", ["inotify"])
        probe.wait_ready()
        probe.path("watch").touch()
        self.lab.wait_for(probe.path("watching").exists, 20, "it to watch")
        changer = Changer(probe)
        self.addCleanup(changer.process.kill)
        started = time.monotonic()
        moves = self.move_around(probe)
        took_s = time.monotonic() - started
        expected = changer.end()
        others = lambda: [line for line in self.heard(probe) if "other" in line]
        self.lab.wait_for(lambda: len(others()) >= len(expected), 30, "it to hear all")
        time.sleep(1)
        heard = others()
        at = next((i for i, (one, two) in enumerate(zip(heard, expected)) if one != two), min(len(heard), len(expected)))
        self.assertEqual(heard[at:at + 9], expected[at:at + 9], f"{at} of {len(expected)}, and {len(heard)} heard")
        self.assertGreater(len(expected), 10 * moves)
        self.hears_itself(probe)
        self.rows.append(["inotify, heard while it moved", moves, len(expected), f"each once, in order; {took_s:.0f} s"])
        self.assert_passes(probe, ["inotify"], moves)

    def hears_itself(self, probe):
        probe.path("enough").touch()
        self.lab.wait_for(lambda: self.heard(probe)[-1:] == ["32768 "], 20, "it to watch no more")
        own = [line for line in self.heard(probe) if "own" in line]
        made = [line.split()[1] for line in own if line.startswith("256 ")]
        self.assertGreater(len(made), 10)
        self.assertEqual(own, [f"{mask} {name}" for name in made for mask in (256, 8, 512)])

    def heard(self, probe):
        return probe.path("heard").read_text().splitlines()

    def test_files_without_names(self):
        kinds = ["deleted", "tmpfile", "deleted-mapping", "deleted-cwd", "deleted-fifo", "deleted-path", "deleted-link"]
        probe = Probe(self.lab, "nameless", kinds)
        self.lab.wait_for(probe.path("deleted").exists, 20, "the file")
        before = set(os.listdir(self.lab.path(1, "/"))), set(os.listdir(probe.path("")))
        with open(probe.path("deleted"), "rb", buffering=0) as same:
            probe.path("deleted").unlink()
            probe.path("deleted").write_text("another one")
            probe.wait_ready()
            seen = []
            for i in range(MOVES):
                self.move_around(probe, 1, first=i + 1)
                seen.append(int.from_bytes(os.pread(same.fileno(), 8, 64), sys.byteorder))
            self.assertEqual(seen, sorted(set(seen)), "who has it open at home sees each write")
            self.assertEqual(probe.path("deleted").read_text(), "another one")
            after = set(os.listdir(self.lab.path(1, "/"))), set(os.listdir(probe.path("")))
            self.assertEqual(after[0], before[0])
            self.assertEqual(after[1] - before[1], {"lost"} & after[1])
            self.assert_passes(probe, kinds, MOVES)

    def test_home_takes_a_guests_files_their_names(self):
        """While it is away: one is deleted, one is called otherwise. They are the same files to it."""
        kinds = ["offset", "mapping"]
        probe = Probe(self.lab, "renamed", kinds)
        probe.wait_ready()
        self.move_around(probe, 1, first=1)
        probe.path("offset").unlink()
        probe.path("mapped").rename(probe.path("called otherwise"))
        time.sleep(1.2)  # so long a view believes what it knows
        self.move_around(probe, 4, first=2)
        self.assertEqual([name.name for name in probe.path("").iterdir()], ["called otherwise"])
        self.assert_passes(probe, kinds, 5)

    def test_a_lock_is_never_free_for_others(self):
        self.is_never_free("flock", try_flock)

    def test_record_locks_of_an_open_file_are_never_free_for_others(self):
        self.is_never_free("file-record-lock", try_record_lock)

    def is_never_free(self, kind, attempt):
        """Wherever it was taken. Somebody at home tries all the time, but while it is taken anew."""
        probe = Probe(self.lab, kind, [kind])
        probe.wait_ready()
        contender = Contender(probe.path("lock"), attempt)
        self.addCleanup(contender.stop)
        for i in range(MOVES):
            self.move_around(probe, 1, first=i + 1)
            if i % 5 == 1:
                self.take_anew(probe, contender)
        contender.stop()
        self.assertGreater(contender.tries, MOVES)
        self.assertEqual(contender.taken, 0, f"of {contender.tries} tries")
        self.rows.append([f"{kind}, tried at home", MOVES, contender.tries, "never got it"])
        self.assert_passes(probe, [kind], MOVES)
        with open(probe.path("lock"), "r+b") as file:
            attempt(file)  # free now

    def test_a_lease_is_broken_from_home(self):
        """Somebody at home opens the file now and then, and gets in only when the guest has let go."""
        probe = Probe(self.lab, "lease", ["lease"])
        probe.wait_ready()
        opener = Opener(probe.path("leased"))
        self.addCleanup(opener.stop)
        put_off = collections.Counter()
        moves = 0
        while moves < MOVES or opener.times <= 10 and moves < 5 * MOVES:  # the faster they are the fewer times it has come
            put_off.update(self.move_patiently(probe, (moves + 1) % NODES + 1))
            time.sleep(BETWEEN_S)
            moves += 1
        opener.stop()
        self.assertEqual(opener.wrong, [], f"of {opener.times} times")
        self.assertGreater(opener.times, 10)
        self.assertLess(max(opener.waited_s), 20, "the kernel's patience ends after 45 s")
        waited = f"waited {max(opener.waited_s):.2f} s at most, {statistics.median(opener.waited_s):.2f} mostly"
        self.rows.append(["lease, opened at home", moves, opener.times, f"{waited}; put off {dict(put_off)}"])
        self.assert_passes(probe, ["lease"], moves)

    def test_a_lease_is_broken_wherever_it_is(self):
        """Once at each place. It is taken anew there, and goes on with the next move."""
        probe = Probe(self.lab, "lease-once", ["lease"])
        probe.wait_ready()
        waited_s = []
        for i in range(6):
            for _ in self.move_patiently(probe, (i + 1) % NODES + 1):
                pass
            since = time.monotonic()
            with open(probe.path("leased"), "r+b", buffering=0) as file:
                waited_s.append(time.monotonic() - since)
                self.assertEqual(struct.unpack("QQ", file.read(16)), (0, i + 1))
            time.sleep(2)  # until the file is its own again
        self.assertLess(max(waited_s), 10, waited_s)
        self.rows.append(["lease, opened once a place", 6, 6, f"waited {max(waited_s):.2f} s at most"])
        self.assert_passes(probe, ["lease"], 6)

    def test_a_lease_in_moves_that_come_to_nothing(self):
        """It is where it was, and who opens the file at home after that is let in by its owner."""
        probe = Probe(self.lab, "lease-aborted", ["lease"])
        probe.wait_ready()
        opened = 0
        for at, to in ((1, 2), (2, 3), (3, 1)):
            for step in ("after_freeze", "after_dump", "after_restore"):
                self.lab.path(at, FAULTS).write_text(f"migrate.{step} error\n")
                status, said = observe.try_to_migrate(self.lab, probe.pid, to)
                self.assertNotEqual(status, 0, step)
                self.assertIn("fault", said)
                since = time.monotonic()
                with open(probe.path("leased"), "r+b", buffering=0) as file:
                    self.assertLess(time.monotonic() - since, 10, (at, step))
                    opened += 1
                    self.assertEqual(struct.unpack("QQ", file.read(16)), (0, opened), (at, step))
                time.sleep(1.5)  # until the file is its own again
            for _ in self.move_patiently(probe, to):
                pass
        self.assertEqual(self.held_files(), 0)
        self.assert_passes(probe, ["lease"], 3)

    def move_patiently(self, probe, to):
        """Yields why it did not move at first."""
        seen = []
        for _ in range(30):
            status, said = observe.try_to_migrate(self.lab, probe.pid, to)
            if status == 0:
                return
            why = next((words for words in ("being broken", "broken meanwhile", "away from home", "Resource temporarily",
                                            "just deleted or locked") if words in said), said)
            seen.append(why)
            yield why
            time.sleep(0.3)
        self.fail(f"{said}; before that {seen}; at home it is open: {self.who_has(probe.path('leased'))}")

    def who_has(self, path):
        """Which processes here have that file open, and the leases of it that the kernel knows."""
        inode = path.stat().st_ino
        found = [line.strip() for line in Path("/proc/locks").read_text().splitlines() if f":{inode} " in line]
        for fd in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                same = fd.stat().st_ino == inode
                command = (fd.parents[1] / "cmdline").read_text() if same else ""
            except OSError:
                continue
            if same:
                found.append(f"{fd} of {command!r}: {(fd.parents[1] / 'fdinfo' / fd.name).read_text()!r}")
        return found

    def test_a_lock_that_a_tree_shares(self):
        """By an open file that they inherited: it is one lock, until the last of them has closed it."""
        lock = self.lab.path(1, "/root/shared.lock")
        lock.touch()
        parent = self.lab.popen(
            1, ["sh", "-c", 'echo $$; exec flock /root/shared.lock sh -c "sleep 1000; true"'], stdout=subprocess.PIPE, text=True)
        pid = int(parent.stdout.readline())
        self.lab.wait_for(lambda: self.is_locked(lock), 10, "it is locked")
        contender = Contender(lock)
        self.addCleanup(contender.stop)
        for to in (2, 3, 1, 2, 3):
            observe.ask(self.lab, 1, "migrate", "--tree", str(pid), str(to))
        contender.stop()
        self.assertGreater(contender.tries, 5)
        self.assertEqual(contender.taken, 0, f"of {contender.tries} tries")
        self.lab.run(1, ["pkill", "-P", str(pid)], check=False)
        self.assertTrue(self.is_locked(lock), "its grandchild has it")
        self.lab.run(1, ["pkill", "-f", "^sleep 1000"], check=False)
        self.lab.wait_for(lambda: not self.is_locked(lock), 10, "it is free")
        parent.wait(10)
        parent.stdout.close()

    @staticmethod
    def is_locked(path):
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def take_anew(self, probe, contender):
        before = probe.path("lock").read_bytes()
        with contender.paused():
            self.lab.run(1, ["kill", "-USR1", str(probe.pid)])
            self.lab.wait_for(lambda: probe.path("lock").read_bytes() != before, 10, "the lock is taken anew")

    def test_a_move_that_comes_to_nothing(self):
        """The lock and the deleted file are where they were, and nothing stays held for the movers."""
        kinds = ["flock", "tmpfile", "deleted-mapping", "deleted-cwd"]
        probe = Probe(self.lab, "aborted", kinds)
        probe.wait_ready()
        contender = Contender(probe.path("lock"))
        self.addCleanup(contender.stop)
        moves = 0
        for at, to in ((1, 2), (2, 3), (3, 1)):
            for step in ("after_freeze", "after_dump", "after_restore"):
                self.lab.path(at, FAULTS).write_text(f"migrate.{step} error\n")
                status, said = observe.try_to_migrate(self.lab, probe.pid, to)
                self.assertNotEqual(status, 0, step)
                self.assertIn("fault", said)
            self.move_around(probe, 1, first=to - 1)
            moves += 1
        contender.stop()
        self.assertEqual(contender.taken, 0, f"of {contender.tries} tries")
        self.assertEqual(self.held_files(), 0)
        self.assert_passes(probe, kinds, moves)

    def held_files(self):
        program = self.lab.path(1, "/root/carrierctl")
        program.write_bytes((self.lab.build_dir / "bin/ssid-carrierctl").read_bytes())
        program.chmod(0o755)
        said = self.lab.run(1, ["/root/carrierctl", "stats"]).stdout
        return int(re.search(r"files\.held\D+(\d+)", said)[1])

    def record_locker(self):
        """A program on node 1, its PID, and how to tell it something."""
        self.lab.path(1, "/root/record").write_text("x")
        program = self.lab.popen(1, ["python3", "-c", RECORD_LOCKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)
        self.addCleanup(program.kill)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.stdin.close)

        def tell(*words):
            print(*words, file=program.stdin, flush=True)
            return program.stdout.readline().strip()

        return program, int(program.stdout.readline()), tell

    def free_bytes(self, kind, count=30):
        """Which bytes at the beginning somebody at home could lock."""
        with open(self.lab.path(1, "/root/record"), "r+b") as file:
            def is_free(at):
                told = fcntl.fcntl(file, F_OFD_GETLK, record_lock(kind, at, 1))
                return struct.unpack("hhxxxxqqixxxx", told)[0] == fcntl.F_UNLCK
            return [at for at in range(count) if is_free(at)]

    def test_read_locks_of_a_process_are_never_free_for_others(self):
        """Somebody at home tries to write-lock them all the time. Once home they are its kernel's own again."""
        _, pid, tell = self.record_locker()
        self.assertEqual([tell("read 10 10"), tell("read 0 100")], ["done", "done"])

        def attempt(file):
            fcntl.fcntl(file, F_OFD_SETLK, record_lock(fcntl.F_WRLCK, 15, 1))

        contender = Contender(self.lab.path(1, "/root/record"), attempt)
        self.addCleanup(contender.stop)
        for i in range(MOVES):
            observe.migrate(self.lab, pid, (i + 1) % NODES + 1)
            time.sleep(BETWEEN_S)
        contender.stop()
        self.assertGreater(contender.tries, MOVES)
        self.assertEqual(contender.taken, 0, f"of {contender.tries} tries")
        self.rows.append(["read lock of a process, tried at home", MOVES, contender.tries, "never got it"])
        observe.migrate(self.lab, pid, 1)
        self.assertEqual(self.free_bytes(fcntl.F_RDLCK), list(range(30)), "others may read")
        self.assertEqual(self.free_bytes(fcntl.F_WRLCK), [*range(10), *range(20, 30)])
        self.assertEqual(self.held_files(), 0)
        observe.migrate(self.lab, pid, 2)
        self.assertEqual(tell("free 12 15"), "done")  # bytes 15 to 26
        self.assertEqual(self.free_bytes(fcntl.F_WRLCK), [*range(10), *range(15, 30)])
        self.assertEqual(tell("write 2 11"), "done")
        self.assertEqual(self.free_bytes(fcntl.F_RDLCK), [*range(11), *range(13, 30)])
        self.assertEqual(tell("close"), "done")  # of any descriptor of the file
        self.assertEqual(self.free_bytes(fcntl.F_WRLCK), list(range(30)))

    def test_write_locks_of_a_process_move_on_and_stay_out_of_home(self):
        """Home's store has them, from the moment when they were taken away from home."""
        program, pid, tell = self.record_locker()
        observe.migrate(self.lab, pid, 2)
        self.assertEqual(tell("write 10 5"), "done")
        contender = Contender(self.lab.path(1, "/root/record"),
                              lambda file: fcntl.fcntl(file, F_OFD_SETLK, record_lock(fcntl.F_WRLCK, 8, 1)))
        self.addCleanup(contender.stop)
        for step in ("after_freeze", "after_restore"):
            self.lab.path(2, FAULTS).write_text(f"migrate.{step} error\n")
            self.assertIn("fault", observe.try_to_migrate(self.lab, pid, 3)[1])
        for i in range(MOVES // 5):
            observe.migrate(self.lab, pid, 3 - i % 2)
        self.assertIn("record lock for writing", observe.try_to_migrate(self.lab, pid, 1)[1])
        contender.stop()
        self.assertEqual(contender.taken, 0, f"of {contender.tries} tries")
        self.rows.append(["write lock of a process, tried at home", MOVES // 5, contender.tries, "never got it"])
        self.assertEqual(self.held_files(), 0)
        self.assertEqual(self.free_bytes(fcntl.F_RDLCK), [*range(5), *range(15, 30)])
        self.assertEqual(tell("read 10 5"), "done")
        observe.migrate(self.lab, pid, 1)
        self.assertEqual(self.free_bytes(fcntl.F_RDLCK), list(range(30)))
        self.assertEqual(self.free_bytes(fcntl.F_WRLCK), [*range(5), *range(15, 30)])
        observe.migrate(self.lab, pid, 3)
        self.lab.run(1, ["kill", "-KILL", str(pid)])
        program.wait(10)
        self.lab.wait_for(lambda: self.free_bytes(fcntl.F_WRLCK) == list(range(30)), 10, "its end drops them")

    def test_write_locks_of_a_process_leave_home_with_their_deputy(self):
        """Somebody at home tries to read-lock them all the time. What the guest does with them its deputy does."""
        program, pid, tell = self.record_locker()
        self.assertEqual([tell("write 10 10"), tell("read 5 100")], ["done", "done"])
        contender = Contender(self.lab.path(1, "/root/record"),
                              lambda file: fcntl.fcntl(file, F_OFD_SETLK, record_lock(fcntl.F_RDLCK, 15, 1)))
        self.addCleanup(contender.stop)
        for step in ("after_freeze", "after_restore") * 3:
            self.lab.path(1, FAULTS).write_text(f"migrate.{step} error\n")
            self.assertIn("fault", observe.try_to_migrate(self.lab, pid, 2)[1])
            self.assertEqual(self.free_bytes(fcntl.F_RDLCK), [*range(10), *range(20, 30)])
        observe.migrate(self.lab, pid, 2)
        for step in ("after_freeze", "after_restore"):
            self.lab.path(2, FAULTS).write_text(f"migrate.{step} error\n")
            self.assertIn("fault", observe.try_to_migrate(self.lab, pid, 3)[1])
        for i in range(MOVES - 1):
            observe.migrate(self.lab, pid, 3 - i % 2)
            time.sleep(BETWEEN_S)
        self.assertIn("can't come home without a gap", observe.try_to_migrate(self.lab, pid, 1)[1])
        contender.stop()
        self.assertGreater(contender.tries, MOVES)
        self.assertEqual(contender.taken, 0, f"of {contender.tries} tries")
        self.rows.append(["write lock of a process, from home", MOVES, contender.tries, "never got it"])
        self.assertEqual(self.held_files(), 0)
        self.assertEqual(self.free_bytes(fcntl.F_RDLCK), [*range(10), *range(20, 30)])
        self.assertEqual(tell("free 3 12"), "done")  # bytes 12 to 14
        self.assertEqual(self.free_bytes(fcntl.F_RDLCK), [*range(10), *range(12, 15), *range(20, 30)])
        self.assertEqual(tell("write 1 4"), "done")
        self.assertEqual(self.free_bytes(fcntl.F_RDLCK, 8), [*range(4), *range(5, 8)])
        self.assertEqual(tell("end"), "")
        program.wait(10)
        self.lab.wait_for(lambda: self.free_bytes(fcntl.F_WRLCK) == list(range(30)), 10, "its end drops them")

    def test_a_write_lock_that_left_home_comes_home_for_reading(self):
        _, pid, tell = self.record_locker()
        self.assertEqual(tell("write 10 5"), "done")
        observe.migrate(self.lab, pid, 2)
        self.assertEqual(tell("read 10 5"), "done")
        observe.migrate(self.lab, pid, 1)
        self.assertEqual(self.free_bytes(fcntl.F_RDLCK), list(range(30)))
        self.assertEqual(self.free_bytes(fcntl.F_WRLCK), [*range(5), *range(15, 30)])
        self.assertEqual(tell("close"), "done")
        self.assertEqual(self.free_bytes(fcntl.F_WRLCK), list(range(30)))

    def test_write_locks_that_left_home_end_with_the_descriptor_or_the_process(self):
        _, pid, tell = self.record_locker()
        self.assertEqual(tell("write 10 5"), "done")
        observe.migrate(self.lab, pid, 2)
        observe.migrate(self.lab, pid, 3)
        self.assertEqual(self.free_bytes(fcntl.F_RDLCK), [*range(5), *range(15, 30)])
        self.assertEqual(tell("close"), "done")  # of any descriptor of the file
        self.assertEqual(self.free_bytes(fcntl.F_WRLCK), list(range(30)))
        self.assertEqual(tell("write 10 5"), "done")
        self.assertEqual(self.free_bytes(fcntl.F_RDLCK), [*range(5), *range(15, 30)])
        self.assertEqual(tell("free"), "done")
        for signal, where in (("KILL", 2), ("TERM", 3)):
            program, pid, tell = self.record_locker()
            self.assertEqual(tell("write 20 6"), "done")
            observe.migrate(self.lab, pid, where)
            self.assertEqual(self.free_bytes(fcntl.F_RDLCK, 20), [*range(6)])
            self.lab.run(1, ["kill", f"-{signal}", str(pid)])
            program.wait(10)
            self.lab.wait_for(lambda: self.free_bytes(fcntl.F_WRLCK) == list(range(30)), 10, "its end drops them")

    def test_named_pipes_both_ways(self):
        self.lab.path(1, "/root/piped").mkdir()
        for name in ("in", "out"):
            os.mkfifo(self.lab.path(1, f"/root/piped/{name}"))
        talker = self.lab.popen(
            1, ["python3", "-c", TALKER, "/root/piped/in", "/root/piped/out"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(talker.kill)
        probe = Probe(self.lab, "piped", ["fifo"])
        probe.wait_ready()
        moves = self.move_around(probe)
        self.assert_passes(probe, ["fifo"], moves)
        right, wrong = map(int, talker.communicate(timeout=20)[0].split())
        self.rows.append(["fifo, asked at home", moves, right, f"{wrong} wrong answers"])
        self.assertGreater(right, moves)
        self.assertEqual(wrong, 0)

    def test_both_ends_of_a_named_pipe_that_others_write_to(self):
        self.both_ends_move("both", [WRITER])

    def test_both_ends_of_a_named_pipe_that_others_read_and_write(self):
        self.both_ends_move("shared", [WRITER, TAKER])

    def test_a_tree_that_has_both_ends_of_a_named_pipe(self):
        """In several processes; somebody at home writes there, too. Its end comes when the last of them has gone."""
        fifo, report = "/root/tree.fifo", self.lab.path(1, "/root/tree.report")
        os.mkfifo(self.lab.path(1, fifo))
        program = Path(__file__).resolve().parents[1] / "programs/fifo_tree.py"
        self.lab.path(1, "/root/fifo_tree.py").write_bytes(program.read_bytes())
        words = f"python3 /root/fifo_tree.py {fifo} /root/tree.report"
        shell = self.lab.popen(1, ["sh", "-c", f"{words} </dev/null >/dev/null 2>&1 & echo $!; wait $!; exit $?"],
                               stdout=subprocess.PIPE, text=True)
        self.addCleanup(shell.stdout.close)
        pid = int(shell.stdout.readline())
        self.lab.wait_for(lambda: report.exists() and report.read_text().startswith("ready"), 20, "it begins")
        children = report.read_text().split()[1:]
        other = self.lab.popen(1, ["python3", "/root/fifo_tree.py", "--write", fifo], stdout=subprocess.PIPE, text=True)
        self.addCleanup(other.kill)
        moves = 12
        for i in range(moves):
            if i in (0, 1, 5):
                self.lab.path(i % NODES + 1, FAULTS).write_text("migrate.after_restore error\n")
                said = self.lab.run(1, ["migrate", "--tree", str(pid), str((i + 1) % NODES + 1)], check=False)
                self.assertIn("fault", said.stderr)
            observe.migrate(self.lab, pid, (i + 1) % NODES + 1, options=["--tree"])
            time.sleep(BETWEEN_S)
        self.lab.run(1, ["kill", "-TERM", *children])
        time.sleep(0.3)
        self.assertTrue(report.read_text().count("\n") == 1, "one at home still writes")
        other.terminate()
        written = int(other.communicate(timeout=20)[0])
        self.assertEqual(shell.wait(20), 0)
        word, homes, total = report.read_text().splitlines()[1].rsplit(" ", 2)
        self.assertEqual((word, int(homes)), ("good", written))
        self.rows.append(["fifo of a tree", moves, int(total), f"{homes} from home"])
        observe.nothing_left(self.lab)

    def both_ends_move(self, name, programs):
        """Whatever is written comes out once, by the guest or at home. Some moves come to nothing."""
        self.lab.path(1, f"/root/{name}").mkdir()
        fifo = f"/root/{name}/both"
        os.mkfifo(self.lab.path(1, fifo))
        probe = Probe(self.lab, name, ["fifo-pair"])
        probe.wait_ready()
        others = [self.lab.popen(1, ["python3", "-c", program, fifo], stdout=subprocess.PIPE, text=True)
                  for program in programs]
        for other in others:
            self.addCleanup(other.kill)
            self.assertEqual(other.stdout.readline(), "open\n")
        for at, to in ((1, 2), (2, 3), (3, 1)):
            for step in ("after_freeze", "after_restore"):
                self.lab.path(at, FAULTS).write_text(f"migrate.{step} error\n")
                self.assertIn("fault", observe.try_to_migrate(self.lab, probe.pid, to)[1])
            self.move_around(probe, 1, first=to - 1)
        moves = 3 + self.move_around(probe)
        counts = []
        for other in others:
            other.terminate()
            counts.append(int(other.communicate(timeout=20)[0]))
        self.assert_passes(probe, ["fifo-pair"], moves)
        written, own, homes = map(int, probe.path("counts").read_text().split())
        at_home = sum(counts[1:])
        self.rows.append([f"fifo-pair, {len(others)} at home", moves, homes, f"{written} own, {at_home} taken at home"])
        self.assertGreater(homes, moves)
        self.assertEqual(written + counts[0], own + homes + at_home)


if __name__ == "__main__":
    unittest.main(verbosity=2)
