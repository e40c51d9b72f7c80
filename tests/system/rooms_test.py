#!/usr/bin/python3
"""Every room's test program on a lab node, in the release build: there they find what a build directory
does not offer (root, a cgroup of their own, criu and the installed programs), and leave nothing behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lab import Lab  # noqa: E402

TIMEOUT_S = 300
# Realms of the tests have a bind mount of / as their root, which shows what is below the node's tmpfs:
# /tmp must be the same inside, and the mount points of a realm in /run must exist.
PREPARE = """
umount /tmp && mount --bind / /mnt && mkdir -p /mnt/run/ssid && touch /mnt/run/criu.kdat && umount /mnt
/usr/lib/ssid/criu --no-default-config check
"""


def run(lab, program):
    """(passed?, its output)"""
    try:
        done = lab.run(
            1,
            [program],
            check=False,
            timeout=TIMEOUT_S,
            cwd=lab.state.checkout,
            env={"SSID_CRIU": "/usr/lib/ssid/criu", "SSID_BIN": "/usr/lib/ssid"},
        )
    except subprocess.TimeoutExpired as late:
        processes = lab.run(1, ["ps", "axf", "-o", "pid,ppid,stat,wchan:24,args"]).stdout
        said = (late.stdout or b"").decode(errors="replace")
        return False, f"{said}not done within {TIMEOUT_S} s; what was left:\n{processes}"
    return done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"


def main():
    failed = 0
    with Lab(1, name="roomstest") as lab:
        lab.service(1, "stop", "ssid")  # it would settle the moves that the rooms' tests make
        lab.run(1, ["sh", "-c", PREPARE])
        programs = sorted((lab.build_dir / "bin").glob("*_tests"))
        for program in programs:
            started = time.monotonic()
            good, said = run(lab, program)
            print(f"{'ok' if good else 'FAILED':>6}  {program.name}  {time.monotonic() - started:.1f} s", flush=True)
            if not good:
                failed += 1
                print(said, flush=True)
    return 1 if failed or not programs else 0


if __name__ == "__main__":
    os.chdir("/")
    sys.exit(main())
