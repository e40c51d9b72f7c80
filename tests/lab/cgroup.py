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


PERIOD_US = 10_000  # short: who has used up his part stands still for the rest of it


def _cpu_hierarchy():
    """Where version 1 has the cpu controller; None: nowhere."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, where, kind, options, *_ = line.split()
            if kind == "cgroup" and "cpu" in options.split(","):
                return Path(where)
    return None


def _with_cpu_limit(group):
    """The group whose limit counts for who is in `group` (and in this one): itself, or its like in version 1's hierarchy."""
    root = mount_point()
    if "cpu" in (root / "cgroup.controllers").read_text().split():
        return group
    other = _cpu_hierarchy()
    if other is None:
        raise LabError("lab: a part of a CPU: the kernel has no cpu controller for its cgroups")
    return other / group.relative_to(root)


def limit_cpu(group, part):
    """What is in `group`, which nobody has entered yet, gets this part of one CPU. Returns the group to enter as well."""
    limited = _with_cpu_limit(group)
    quota = round(PERIOD_US * part)
    try:
        limited.mkdir(parents=True, exist_ok=True)
        if limited == group:
            for above in (group.parent.parent, group.parent):
                (above / "cgroup.subtree_control").write_text("+cpu")
            (limited / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (limited / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (limited / "cpu.cfs_quota_us").write_text(str(quota))
    except OSError as error:
        raise LabError(f"lab: a part of a CPU: {error.filename}: {error.strerror}") from error
    return limited


def remove_cpu_limits(group):
    """Of the groups in `group`; nobody is left in them."""
    other = _cpu_hierarchy()
    if other is not None:
        remove(other / group.relative_to(mount_point()))


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
