"""A node's disk: the upper layer of its overlay root, with what is installed and configured on it."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from . import net, root
from .errors import LabError

# Directories of the machine that a node must not inherit, for they hold a machine's own state.
FRESH_DIRS = ("var/lib/corosync", "var/lib/ssid", "etc/ssi")
INIT_PATH = "/usr/lib/ssid-lab/lab-init"
CRIU_PATH = "/usr/lib/ssid/criu"


def new_authkey():
    return secrets.token_bytes(256)


def corosync_conf(node_count):
    """Statement by statement, one a line: corosync's parser wants it so. token: a power cut is seen
    after about 2.2 of it; the nodes of a lab share a few CPUs, so corosync goes before their load."""
    token_ms = 800
    lines = [
        "totem {",
        "  version: 2",
        "  cluster_name: ssid-lab",
        "  transport: knet",
        "  crypto_cipher: aes256",
        "  crypto_hash: sha256",
        f"  token: {token_ms}",
        "  token_coefficient: 0",
        "  interface {",
        "    linknumber: 0",
        "  }",
        "  interface {",
        "    linknumber: 1",
        "  }",
        "}",
        "quorum {",
        "  provider: corosync_votequorum",
        f"  expected_votes: {node_count}",
        "}",
        "logging {",
        "  to_stderr: yes",
        "  to_syslog: no",
        "  timestamp: hires",
        "}",
        "system {",
        "  sched_rr: no",
        "  priority: max",
        "  move_to_root_cgroup: no",
        "  allow_knet_handle_fallback: yes",
        "}",
        "nodelist {",
    ]
    for number in range(1, node_count + 1):
        lines += [
            "  node {",
            f"    name: n{number}",
            f"    nodeid: {number}",
            f"    ring0_addr: {net.address(number, 0)}",
            f"    ring1_addr: {net.address(number, 1)}",
            "  }",
        ]
    return "\n".join(lines + ["}"]) + "\n"


def _write(path, content, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def configure(upper, number, node_count, authkey):
    for name in FRESH_DIRS:
        path = upper / name
        path.mkdir(parents=True, exist_ok=True)
        os.setxattr(path, "trusted.overlay.opaque", b"y")
    (upper / "var/log").mkdir(parents=True, exist_ok=True)
    _write(upper / "etc/hostname", f"n{number}\n")
    hosts = ["127.0.0.1 localhost"]
    hosts += [f"{net.address(i)} n{i}" for i in range(1, node_count + 1)]
    _write(upper / "etc/hosts", "\n".join(hosts) + "\n")
    _write(upper / "etc/corosync/corosync.conf", corosync_conf(node_count))
    _write(upper / "etc/corosync/authkey", authkey, 0o400)
    if not (upper / "etc/ssi/ssid.toml").exists():
        _write(upper / "etc/ssi/ssid.toml", "# A lab node runs on the defaults.\n")


def hide(upper, path):
    """Lets the machine's `path` not exist on the node (an overlay whiteout)."""
    target = upper / str(path).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(target, 0o020000, os.makedev(0, 0))


def install(upper, build_dir, criu):
    """What `cmake --install` puts on a real machine, plus lab-init and criu. Returns notes for people."""
    notes = []
    done = subprocess.run(
        ["cmake", "--install", str(build_dir), "--prefix", "/usr"],
        env={**os.environ, "DESTDIR": str(upper)},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise LabError(f"lab: install from {build_dir}: {done.stderr.strip()}")
    copies = [(build_dir / "bin/lab-init", INIT_PATH)]
    if criu is None:
        notes.append("criu is not set up (./dev setup): skipped")
    else:
        copies.append((criu, CRIU_PATH))
    for source, target in copies:
        path = upper / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
        path.chmod(0o755)
    return notes


def copy(source, target):
    subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True)


def split(disk, points):
    """Hands what was put under upper/POINT to POINT's own upper layer (see root.py)."""
    for point in sorted(points, key=len, reverse=True):
        part = disk / "upper" / point.lstrip("/")
        if part.is_dir():
            part.rename(disk / root.upper_of(point))


def can_be_upper(path):
    """Whether the file system of `path` can hold an overlay's upper layer."""
    probe = Path(path)
    while not probe.exists():
        probe = probe.parent
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", str(probe)], capture_output=True, text=True, check=True
    ).stdout.strip()
    return kind in ("ext2/ext3", "xfs", "btrfs", "tmpfs", "f2fs", "zfs")
