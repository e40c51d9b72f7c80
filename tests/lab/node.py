"""Powers a node on. Runs as `python3 -m lab.node FACTS` in the keeper's namespaces; returns when the
node's init takes commands, or says on stderr why not and leaves nothing of the node behind."""

import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

from . import cgroup, disk, kernel, keeper, net, root
from .errors import LabError

# name, READY=1 or not, program and arguments; in this order.
SERVICES = (
    ("corosync", "notify", "/usr/sbin/corosync -f"),
    ("ssid-carrier", "simple", "/usr/lib/ssid/ssid-carrier"),
    ("ssid", "notify", "/usr/sbin/ssid"),
)
BOOT_TIMEOUT_S = 20
UNSHARED = b"unshared\n"


def _service_arguments(more_options):
    """lab-init's --service options; what is not installed is skipped."""
    arguments = []
    for name, kind, command in SERVICES:
        if os.access(command.split()[0], os.X_OK):
            arguments += ["--service", f"{name} {kind} /var/log/{name}.log {command} {more_options.get(name, '')}"]
    return arguments


def _become_init(facts, from_parent, to_parent):
    keeper.close_others([from_parent, to_parent])
    os.setsid()
    kernel.unshare(
        kernel.CLONE_NEWNS
        | kernel.CLONE_NEWNET
        | kernel.CLONE_NEWIPC
        | kernel.CLONE_NEWUTS
        | kernel.CLONE_NEWCGROUP
    )
    kernel.make_mounts_private()
    os.write(to_parent, UNSHARED)
    listener = keeper.listen(Path(facts["socket"]))
    socket.sethostname(f"n{facts['number']}")
    root.enter(Path(facts["disk"]))
    if os.read(from_parent, 1) != b"+":
        raise OSError("the parent gave up")
    net.ip_batch(net.node_commands(facts["number"]))
    os.umask(0o022)
    keeper.redirect_stdio("/var/log/lab-init.log")
    os.set_inheritable(to_parent, True)
    os.execve(
        disk.INIT_PATH,
        ["lab-init", "--socket", str(listener.fileno()), "--ready", str(to_parent)]
        + _service_arguments(facts["service_options"]),
        {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
    )


def _read(descriptor):
    ready, _, _ = select.select([descriptor], [], [], BOOT_TIMEOUT_S)
    return os.read(descriptor, 4096) if ready else b"no answer in time"


def _fork_init(facts, from_parent, to_parent):
    """Returns the PID of the node's init. A middle process is the one that changes its namespace for
    children and ends; so ours stays whole, and the keeper's init becomes the parent."""
    read_end, write_end = os.pipe()
    middle = os.fork()
    if middle != 0:
        os.close(write_end)
        os.waitpid(middle, 0)
        with os.fdopen(read_end) as answer:
            return int(answer.read() or 0)
    try:
        kernel.unshare(kernel.CLONE_NEWPID)
        init = os.fork()
        if init == 0:
            _become_init(facts, from_parent, to_parent)
        os.write(write_end, str(init).encode())
    except BaseException as error:  # all of it is reported to the parent, by text
        os.write(to_parent, str(error).encode())
    finally:
        os._exit(0)


def boot(facts):
    for group in facts["cgroups"]:
        cgroup.enter(Path(group))
    os.sched_setaffinity(0, facts["cpus"])
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()
    init = _fork_init(facts, from_parent, to_parent)
    os.close(to_parent)
    said = _read(from_child)
    if said == UNSHARED:
        try:
            net.ip_batch(net.cable_commands(facts["number"], init))
            os.write(to_child, b"+")
            said = _read(from_child)
        except LabError as error:
            said = str(error).encode()
    if said != keeper.READY:
        if init:
            os.kill(init, signal.SIGKILL)
        sys.exit(f"lab: boot n{facts['number']}: {said.decode() or 'its init died'}")


if __name__ == "__main__":
    boot(json.loads(sys.argv[1]))
