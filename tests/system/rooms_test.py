#!/usr/bin/python3
"""Every room's test program on a lab node, in the release build: there they find what a build directory
does not offer (root, a cgroup of their own, criu and the installed programs), and leave nothing behind."""

import os
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


def main():
    failed = 0
    with Lab(1, name="roomstest") as lab:
        lab.run(1, ["sh", "-c", PREPARE])
        programs = sorted((lab.build_dir / "bin").glob("*_tests"))
        for program in programs:
            started = time.monotonic()
            done = lab.run(
                1,
                [program],
                check=False,
                timeout=TIMEOUT_S,
                cwd=lab.state.checkout,
                env={"SSID_CRIU": "/usr/lib/ssid/criu", "SSID_BIN": "/usr/lib/ssid"},
            )
            good = done.returncode == 0
            print(f"{'ok' if good else 'FAILED':>6}  {program.name}  {time.monotonic() - started:.1f} s", flush=True)
            if not good:
                failed += 1
                print(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return 1 if failed or not programs else 0


if __name__ == "__main__":
    os.chdir("/")
    sys.exit(main())
