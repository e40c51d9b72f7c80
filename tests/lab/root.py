"""Builds a node's root inside its new mount namespace and moves into it."""

import os
from pathlib import Path

from . import kernel

DEVICES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("fuse", 10, 229),
    ("net/tun", 10, 200),
)
DEV_LINKS = (
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
# Mounted afresh or hidden in every node.
OWN_TREES = ("/proc", "/sys", "/dev", "/run", "/tmp")


def _unescape(text):
    return text.encode().decode("unicode_escape").encode("latin-1").decode()


def machine_file_systems():
    """Mount points below / that hold files of the machine (a separate /usr or /home, say): each
    gets an overlay of its own, for an overlay of / does not show them."""
    disks = {"overlay", "btrfs", "zfs"}
    with open("/proc/filesystems") as file:
        disks |= {line.strip() for line in file if not line.startswith("nodev")}
    found = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            left, right = line.split(" - ")
            point = _unescape(left.split()[4])
            kind = right.split()[0]
            own = any(point == tree or point.startswith(tree + "/") for tree in OWN_TREES)
            if kind in disks and point != "/" and not own and os.path.isdir(point):
                found.append(point)
    return sorted(set(found))


def _mount_overlay(lower, upper, work, target):
    for path in (upper, work):
        Path(path).mkdir(parents=True, exist_ok=True)
    # As on a disk of its own, a file is found by its handle (open_by_handle_at).
    options = f"lowerdir={lower},upperdir={upper},workdir={work},index=on,redirect_dir=on,nfs_export=on"
    kernel.mount("overlay", target, "overlay", 0, options)


def _make_dev(dev):
    kernel.mount("tmpfs", dev, "tmpfs", kernel.MS_NOSUID, "mode=755,size=1m")
    for name, major, minor in DEVICES:
        path = dev / name
        path.parent.mkdir(exist_ok=True)
        os.mknod(path, 0o020666, os.makedev(major, minor))
        os.chmod(path, 0o666)
    for name, target in DEV_LINKS:
        (dev / name).symlink_to(target)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    safe = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount(
        "devpts", dev / "pts", "devpts", kernel.MS_NOSUID, "newinstance,ptmxmode=0666,mode=620,gid=5"
    )
    kernel.mount("tmpfs", dev / "shm", "tmpfs", safe, "mode=1777")


def upper_of(point):
    """The directory on a node's disk that holds its changes below the mount point `point`."""
    return "upper" if point == "/" else "upper" + point.replace("/", "_")


def enter(disk):
    """`disk`: the node's directory with its upper layers."""
    root = disk / "root"
    root.mkdir(exist_ok=True)
    for point in ["/"] + machine_file_systems():
        upper = disk / upper_of(point)
        work = disk / upper_of(point).replace("upper", "work", 1)
        _mount_overlay(point, upper, work, str(root) + point.rstrip("/"))
    safe = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", root / "proc", "proc", safe)
    kernel.mount("sysfs", root / "sys", "sysfs", safe)
    kernel.mount("cgroup2", root / "sys/fs/cgroup", "cgroup2", safe)
    _make_dev(root / "dev")
    safe = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", root / "run", "tmpfs", safe, "mode=755")
    (root / "run/lock").mkdir()
    kernel.mount("tmpfs", root / "tmp", "tmpfs", safe, "mode=1777")
    kernel.pivot_into(root)
