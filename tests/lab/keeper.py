"""The keeper: PID 1 of the lab's own PID, mount, network, IPC and host name namespaces. It runs
lab-init without services; nodes are started below it, with its mounts and its network."""

import os
import socket

from . import cgroup, kernel
from .errors import LabError

READY = b"ready\n"


def listen(path):
    """A socket for lab-init, bound where the machine sees it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path.unlink(missing_ok=True)
    listener.bind(str(path))
    os.chmod(path, 0o600)
    listener.listen(64)
    os.set_inheritable(listener.fileno(), True)
    return listener


def redirect_stdio(log_path):
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def close_others(keep):
    """The caller's descriptors (a test's pipes, say) must not live as long as the lab."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd not in keep:
            try:
                os.close(fd)
            except OSError:
                pass  # the listing's own


def _become_keeper(state, init_program, group, memory_disk, ready):
    close_others([ready])
    os.setsid()
    cgroup.enter(group)
    kernel.unshare(
        kernel.CLONE_NEWPID
        | kernel.CLONE_NEWNS
        | kernel.CLONE_NEWNET
        | kernel.CLONE_NEWIPC
        | kernel.CLONE_NEWUTS
    )
    if os.fork() != 0:
        os._exit(0)
    os.chdir("/")
    kernel.make_mounts_private()
    kernel.mount("proc", "/proc", "proc")
    if memory_disk:
        kernel.mount("tmpfs", state.disk_dir, "tmpfs", 0, "mode=700")
    socket.sethostname("lab")
    listener = listen(state.keeper_socket)
    redirect_stdio(state.run_dir / "keeper.log")
    os.set_inheritable(ready, True)
    os.execve(
        init_program,
        [str(init_program), "--socket", str(listener.fileno()), "--ready", str(ready)],
        {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
    )


def start(state, init_program, group, memory_disk):
    """Returns when the keeper takes commands."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _become_keeper(state, init_program, group, memory_disk, write_end)
        except BaseException as error:  # all of it is reported to the parent, by text
            os.write(write_end, str(error).encode())
        finally:
            os._exit(1)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as answer:
        said = answer.read()
    if said != READY:
        raise LabError(f"lab: start the keeper: {said.decode() or 'it died'}")
