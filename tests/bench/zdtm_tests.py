"""CRIU's own test programs as its source describes them: which there are, how each is started, and why one can't
run here. As its own zdtm.py decides for the host flavour."""

import ast
import os
import re
import subprocess
from dataclasses import dataclass

PARTS = ("static", "transition")
CRIU = "/usr/lib/ssid/criu"
# zdtm.py's, known to some of the tests.
USER = {"ZDTM_UID": "18943", "ZDTM_GID": "58467", "ZDTM_GROUPS": "27495 48244"}
ENVIRONMENT = {"TMPDIR": "/tmp", "ZDTM_THREAD_BOMB": "5"}
NOTIFY = {"ZDTM_NOTIFY_FDIN": "100", "ZDTM_NOTIFY_FDOUT": "101"}


@dataclass(frozen=True)
class Test:
    part: str
    name: str
    arguments: tuple
    description: dict
    file: os.PathLike

    @property
    def title(self):
        return f"{self.part}/{self.name}"

    @property
    def timeout_s(self):
        return int(self.description.get("timeout") or 30)

    def has_flag(self, flag):
        return flag in self.description.get("flags", "").split()

    def environment(self):
        values = dict(ENVIRONMENT)
        if self.has_flag("pre-dump-notify"):
            values |= NOTIFY
        if not self.has_flag("suid"):
            values |= USER
        return values


def read_tests(source):
    """All that the Makefiles know, with the arguments these start them with."""
    return [
        Test(part, name, arguments, _description(source / part / name), source / part / name)
        for part in PARTS
        for name, arguments in sorted(_start_lines(source / part).items())
    ]


def _start_lines(directory):
    # It only says what it would do; it would also build what could not be built.
    said = subprocess.run(
        ["make", "-n", "-k", "--no-print-directory", "-C", directory, "start"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    found = {}
    for line in said.splitlines():
        match = re.fullmatch(r"\./(\S+) (--pidfile=.*)", line.strip())
        if match:
            found[match[1]] = tuple(match[2].split())
    return found


def _description(file):
    try:
        return ast.literal_eval(file.with_name(file.name + ".desc").read_text().strip() or "{}")
    except FileNotFoundError:
        return {}
    except (ValueError, SyntaxError):  # a program, not a value: it asks for a device
        return {"flags": "noauto"}


def is_host_flavour(test):
    return "h" in test.description.get("flavor", "h ns uns").split()


class Here:
    """What this machine has, as a node of the lab sees it."""

    def __init__(self, lab):
        self._lab = lab
        self._features = {}

    def why_not(self, test):
        """Why the test can't run here; None if it can."""
        arch = test.description.get("arch", os.uname().machine)
        if arch != os.uname().machine:
            return f"is for {arch}"
        for feature in test.description.get("feature", "").split():
            if not self._has(feature):
                return f"needs what criu calls {feature}"
        if not os.access(test.file, os.X_OK):
            return "could not be built"
        return None

    def _has(self, feature):
        if feature not in self._features:
            asked = self._lab.run(1, [CRIU, "check", "--no-default-config", "--feature", feature], check=False)
            self._features[feature] = asked.returncode == 0
        return self._features[feature]
