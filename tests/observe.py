"""What a system test sees of a lab from outside, without asking ssid: which copies of a process there are
and which of them run, whose child it is, what it holds open. And the commands, answered as JSON."""

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from lab import LabError, cgroup

DEPUTY = "ssid-deputy"


def ask(lab, node, *command, timeout=60):
    return json.loads(lab.run(node, [*command, "--json"], timeout=timeout).stdout)


def wait_for_loads(lab, timeout_s=30):
    """Until every node knows the load of every node; before that it takes nothing in."""

    def known():
        return all(
            one.get("cpus") for node in lab.numbers() for one in ask(lab, node, "cluster")["nodes"]
        )

    lab.wait_for(known, timeout_s, "the first load of every node")


def migrate(lab, pid, to, node=1, timeout=120, options=()):
    """ssid's answer; LabError if it did not move."""
    return ask(lab, node, "migrate", *options, str(pid), str(to), timeout=timeout)


def try_to_migrate(lab, pid, to, node=1, timeout=120):
    """(exit status, the line on stderr)"""
    done = lab.run(node, ["migrate", str(pid), str(to)], check=False, timeout=timeout)
    return done.returncode, done.stderr.strip()


@dataclass(frozen=True)
class Copy:
    """A process that is the program, as its node's /proc shows it; not its deputy."""

    node: int
    pid: int  # in the node's PID namespace
    frozen: bool

    @property
    def runs(self):
        return not self.frozen


def _cgroup_of(proc):
    for line in (proc / "cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return cgroup.mount_point() / line[3:].lstrip("/")
    raise FileNotFoundError(proc)


def _is_frozen(proc):
    events = (_cgroup_of(proc) / "cgroup.events").read_text()
    return "frozen 1" in events


def nothing_left(lab):
    """An end is told before the last cgroup is removed."""
    lab.wait_for(lambda: not left_over(lab), 20, "nothing is left in ssid's cgroups")


def left_over(lab):
    """What is in ssid's cgroups for processes and their criu, on all nodes that are up."""
    up = [node for node in lab.numbers() if lab.init_pid(node) is not None]
    crius = [
        f"{node}: criu {pid}"
        for node in up
        for procs in lab.path(node, "/sys/fs/cgroup/ssid").glob("workers/cgroup.procs")
        for pid in procs.read_text().split()
    ]
    return crius + [
        f"{node}: {path.name}"
        for node in up
        for room in ("moving", "guests")
        for path in lab.path(node, f"/sys/fs/cgroup/ssid/{room}").iterdir()
        if path.is_dir()
    ]


def copies(lab, word):
    """All processes with the argument `word`, on all nodes that are up."""
    found = []
    for node in lab.numbers():
        if lab.init_pid(node) is None:
            continue
        for proc in lab.path(node, "/proc").glob("[0-9]*"):
            try:
                if word.encode() not in (proc / "cmdline").read_bytes().split(b"\0"):
                    continue
                if Path(os.readlink(proc / "exe")).name in (DEPUTY, "dash", "sh", "bash"):
                    continue
                found.append(Copy(node, int(proc.name), _is_frozen(proc)))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
    return found


def exists(lab, node, pid):
    """Whether home has a process of this PID that is no zombie."""
    try:
        return state_of(lab, node, pid) not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _stat_fields(lab, node, pid):
    return lab.path(node, f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def state_of(lab, node, pid):
    return _stat_fields(lab, node, pid)[0]


def parent_of(lab, node, pid):
    return int(_stat_fields(lab, node, pid)[1])


def threads_of(lab, node, pid):
    return int(_stat_fields(lab, node, pid)[17])


def _kind(link, mode):
    if stat.S_ISREG(mode) and link.startswith("/memfd:"):
        return "memfd"
    if link.startswith("anon_inode:"):
        return link.removeprefix("anon_inode:").strip("[]")
    for test, name in (
        (stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISFIFO, "pipe"),
        (stat.S_ISCHR, link), (stat.S_ISSOCK, "socket"),
    ):
        if test(mode):
            return name
    return link


def descriptor_kinds(lab, node, pid):
    """What a process has open: {"pipe": 2, "file": 1, ..}."""
    kinds = {}
    for fd in lab.path(node, f"/proc/{pid}/fd").iterdir():
        kind = _kind(os.readlink(fd), fd.stat().st_mode)
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def table(titles, rows):
    """Text with aligned columns; numbers to the right."""
    cells = [titles]
    cells += [[f"{cell:.0f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(titles))]
    right = [all(not isinstance(row[i], str) for row in rows) for i in range(len(titles))]
    return "\n".join(
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right)).rstrip()
        for line in cells
    )


__all__ = [
    "Copy", "LabError", "ask", "copies", "descriptor_kinds", "exists", "migrate", "parent_of", "state_of",
    "table", "threads_of", "try_to_migrate", "wait_for_loads",
]
