"""One of CRIU's test programs in a lab: started on node 1, moved to node 2 while it waits, told to finish by SIGTERM,
judged by the last line of its output. Whatever happens is told as an Outcome, and nothing of it stays behind."""

import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from lab import LabError

ROOM = "/srv/zdtm"
MARK = "SSID_ZDTM"  # in the environment of all that a test starts
MIGRATE_TIMEOUT_S = 60
SETTLE_S = 0.3  # for a test that works all the time: somewhere in the midst of it
OWN_MOUNTS = ("/run/ssid", "/proc/")


class Kind(Enum):
    PASSED = "moved, PASS"
    MOVED_OTHERWISE = "moved, its own check can't pass there"
    REFUSED = "refused before the freeze, PASS at home"
    RIGHTLY_REFUSED = "refused before the freeze, as criu's own runner wants it, PASS at home"
    REFUSED_NOT_PASS = "refused before the freeze, does not PASS without a move"
    THAWED = "failed after the freeze, PASS at home"
    LOST = "LOST"
    NOT_HERE = "can't run here"


@dataclass
class Outcome:
    kind: Kind
    reason: str = ""
    frozen_ms: float = 0
    clean: bool = True  # the lab is as it was before


class Run:
    def __init__(self, lab, test):
        self.lab = lab
        self.test = test
        # As in criu's source: its hooks are run in the directory above zdtm/.
        self.top = f"{ROOM}/{test.name}"
        self.stem = f"zdtm/{test.part}/{test.name}"
        self.directory = f"{self.top}/zdtm/{test.part}"
        self.pid = 0
        self.mounts_before = self._mounts()
        self.restarts_before = self._restarts()

    def run(self, move=True):
        try:
            outcome = self._run(move)
            if self._restarts() != self.restarts_before:
                outcome = Outcome(Kind.LOST, f"ssid ended and was started again ({outcome.reason})")
            outcome.clean = self._clean_up()
        except (LabError, subprocess.TimeoutExpired, OSError) as error:
            outcome = Outcome(Kind.LOST, f"the run broke off: {error}", clean=False)
        return outcome

    def _run(self, move):
        self._place()
        why_not = self._own_check() or self._start()
        if why_not:
            return Outcome(Kind.NOT_HERE, why_not)
        self.pid = int(self._text(".pid"))
        if self.test.part == "transition":
            time.sleep(SETTLE_S)
        self._hook("--pre-dump")
        if not self._exists():
            return Outcome(Kind.NOT_HERE, f"it ends by itself before it is moved: {_last(self._output())}")
        moved = self._migrate() if move else Outcome(Kind.PASSED)
        self._hook("--pre-restore")  # between the two, if it were criu's own runner
        self._hook("--post-restore")
        if self.test.part == "transition":
            time.sleep(SETTLE_S)
        bad = self._finish()
        if not bad:
            return moved
        kind = Kind.REFUSED_NOT_PASS if moved.kind is Kind.REFUSED else Kind.LOST
        return Outcome(kind, f"{bad} (the move: {moved.reason or 'done'})")

    # Start

    def _place(self):
        there = self.lab.path(1, self.directory)
        there.mkdir(parents=True)
        for path in (there, there.parent, there.parent.parent):
            path.chmod(0o777)
        for file in (self.test.file, *(self._beside(suffix) for suffix in (".hook", ".checkskip"))):
            if file.exists():
                shutil.copy2(file, there / file.name)

    def _beside(self, suffix):
        return self.test.file.with_name(self.test.file.name + suffix)

    def _own_check(self):
        if not self._beside(".checkskip").exists():
            return None
        asked = self.lab.run(1, [f"{self.stem}.checkskip"], check=False, cwd=self.top)
        if asked.returncode == 0:
            return None
        return f"its own check says so: {_last(asked.stdout + asked.stderr)}".removesuffix(": ")

    def _start(self):
        """Returns when it waits, or what it said when it did not start."""
        command = ["sh", "-c", f'exec "$@" >{self.test.name}.said 2>&1', "sh",
                   f"./{self.test.name}", *self.test.arguments]
        environment = self.test.environment() | {MARK: self.test.name}
        starting = self.lab.popen(
            1, command, cwd=self.directory, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._hook("--post-start")  # some connect to it now
        try:
            status = starting.wait(self.test.timeout_s)
        except subprocess.TimeoutExpired:
            starting.kill()
            starting.wait()
            return "it does not get ready"
        if status == 0 and self._text(".pid").strip():
            return None
        return "it does not start: " + _last(self._text(".said") + "\n" + self._output())

    def _hook(self, word):
        """What criu's own test runner calls at some steps; what it checks is of no interest here."""
        if not self._beside(".hook").exists():
            return
        self.lab.run(
            1, ["timeout", "10", f"{self.stem}.hook", word], check=False, cwd=self.top,
            env={MARK: self.test.name, "ZDTM_TEST_PID": self.pid},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    # Move

    def _migrate(self):
        done = self._ask_migrate()
        if done.returncode == 0:
            match = re.search(r'"frozen_ms":\s*([0-9.]+)', done.stdout)
            return Outcome(Kind.PASSED, frozen_ms=float(match[1]) if match else 0)
        said = done.stderr.strip().removeprefix(f"migrate: {self.pid}: ")
        # check() is asked once more: what it does not object to came later, with the process frozen.
        before = ("does not take it now", "it does not take the connections or datagrams that wait")
        refused = '"code": "busy"' in done.stdout or any(words in said for words in before) or (
            not re.match(r"dump|node \d", said) and self._ask_migrate("--dry-run").returncode != 0)
        return Outcome(Kind.REFUSED if refused else Kind.THAWED, said)

    def _ask_migrate(self, *options):
        return self.lab.run(
            1, ["migrate", "--tree", *options, str(self.pid), "2", "--json"], check=False, timeout=MIGRATE_TIMEOUT_S)

    # End

    def _finish(self):
        """None if the last line is PASS, else what is wrong."""
        self.lab.run(1, ["kill", "-TERM", str(self.pid)], check=False)
        deadline = time.monotonic() + self.test.timeout_s
        while self._exists():
            if time.monotonic() > deadline:
                return f"it does not end: {_last(self._output())}"
            time.sleep(0.02)
        last = _last(self._text(".out"))
        if "PASS" in last.split():
            return None
        return f"wrong result: {last or _last(self._text('.out.inprogress')) or 'no output at all'}"

    def _exists(self):
        try:
            stat = self.lab.path(1, f"/proc/{self.pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return stat.rsplit(")", 1)[1].split()[0] not in "ZX"

    # What stays

    def _output(self):
        return self._text(".out.inprogress") or self._text(".out")

    def _text(self, suffix):
        try:
            return self.lab.path(1, f"{self.directory}/{self.test.name}{suffix}").read_text(errors="replace")
        except OSError:
            return ""

    def _restarts(self):
        return [self.lab.services(node)["ssid"]["restarts"] for node in self.lab.numbers()]

    def _clean_up(self):
        """True if all of it is gone."""
        self._hook("--clean")
        gone = self._kill_all()
        self._unmount()
        left = set(self._mounts()) - set(self.mounts_before)
        if left:
            return False  # what is mounted there may be anything: nothing is removed
        shutil.rmtree(self.lab.path(1, self.top), ignore_errors=True)
        return gone

    def _kill_all(self, timeout_s=10):
        deadline = time.monotonic() + timeout_s
        while True:
            left = [pid for node in self.lab.numbers() for pid in self.lab.processes(node) if self._is_ours(pid)]
            if not left:
                return True
            if time.monotonic() > deadline:
                return False
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)

    def _is_ours(self, pid):
        try:
            return f"{MARK}={self.test.name}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def _mounts(self):
        """Mount points of node 1, in the order they were made; not ssid's."""
        lines = Path(f"/proc/{self.lab.init_pid(1)}/mountinfo").read_text().splitlines()
        points = [line.split()[4] for line in lines]
        return [point for point in points if not point.startswith(OWN_MOUNTS)]

    def _unmount(self):
        for point in reversed(self._mounts()):
            if point not in self.mounts_before:
                self.lab.run(1, ["umount", "-l", point.encode().decode("unicode_escape")], check=False)


def _last(text):
    """The last line that says something, without its time and PID."""
    lines = [line for line in text.splitlines() if line.strip() and "Test exited unexpectedly" not in line]
    return re.sub(r"^[0-9:.]+: +\d+: ", "", lines[-1].strip()) if lines else ""
