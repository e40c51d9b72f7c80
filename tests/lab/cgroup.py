"""The lab's subtree of the machine's cgroup v2 hierarchy: LAB/keeper, LAB/n1, LAB/n2, ..."""

import os
import time
from pathlib import Path

from .errors import LabError


def mount_point():
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == "cgroup2":
                return Path(fields[1])
    raise LabError("lab: no cgroup v2 hierarchy is mounted")


def enter(path):
    """Moves the calling process; its children follow."""
    (path / "cgroup.procs").write_text("0")


def processes(path):
    """PIDs in the subtree; 0 stands for one outside our view."""
    pids = []
    for directory, _, _ in os.walk(path):
        try:
            pids += [int(pid) for pid in (Path(directory) / "cgroup.procs").read_text().split()]
        except OSError:
            continue  # gone meanwhile
    return pids


def is_populated(path):
    try:
        return "populated 1" in (path / "cgroup.events").read_text()
    except FileNotFoundError:
        return False


def kill(path, timeout_s=20):
    """Kills all in the subtree at once, frozen ones too, and waits until none is left."""
    try:
        (path / "cgroup.kill").write_text("1")
    except FileNotFoundError:
        return
    deadline = time.monotonic() + timeout_s
    while is_populated(path):
        if time.monotonic() > deadline:
            raise LabError(f"lab: {path.name}: still there after SIGKILL: {processes(path)}")
        time.sleep(0.005)


def remove(path):
    """Removes the subtree; it must be empty of processes."""
    for directory, _, _ in os.walk(path, topdown=False):
        for attempt in range(100):
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError:
                if attempt == 99:
                    raise
                time.sleep(0.01)  # the last zombie is being reaped
