"""Where a lab keeps what it knows: named for the checkout and the lab, so that two do not meet.

    /run/ssid-lab/KEY/        lab.json, sockets, logs of the keeper; KEY = hash of the checkout + lab name
    /var/lib/ssid-lab/KEY/    the nodes' disks
    CHECKOUT/.ssid-dev/       the lock: one change of a lab at a time
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from .errors import LabError

RUN_ROOT = Path("/run/ssid-lab")
DISK_ROOT = Path("/var/lib/ssid-lab")


def own_checkout():
    return Path(__file__).resolve().parents[2]


class State:
    def __init__(self, checkout, name):
        if not re.fullmatch(r"[A-Za-z0-9_]{1,24}", name):
            raise LabError(f"lab: bad name: {name}: want letters, digits and _")
        self.checkout = Path(checkout).resolve()
        self.name = name
        digest = hashlib.sha256(f"{self.checkout}\n".encode()).hexdigest()[:12]
        self.key = f"{digest}-{name}"
        self.run_dir = RUN_ROOT / self.key
        self.disk_dir = DISK_ROOT / self.key
        self.dev_dir = self.checkout / ".ssid-dev"

    @property
    def keeper_socket(self):
        return self.run_dir / "keeper.sock"

    def node_socket(self, number):
        return self.run_dir / f"n{number}.sock"

    def save(self, facts):
        path = self.run_dir / "lab.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(facts, indent=1))
        temporary.rename(path)

    def load(self):
        try:
            return json.loads((self.run_dir / "lab.json").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def create(self):
        for path in (self.run_dir, self.disk_dir):
            path.mkdir(parents=True, mode=0o700)

    def remove(self):
        for path in (self.run_dir, self.disk_dir):
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):  # another lab's is there: stays
                path.parent.rmdir()

    @contextlib.contextmanager
    def lock(self):
        self.dev_dir.mkdir(exist_ok=True)
        with open(self.dev_dir / f"lab-{self.name}.lock", "w") as file:
            os.set_inheritable(file.fileno(), False)
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
