#!/usr/bin/python3
"""Every room's test program on a lab node, in the release build: there they find what a build directory
does not offer (root, a cgroup of their own, criu and the installed programs), and leave nothing behind."""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lab import Lab  # noqa: E402

TIMEOUT_S = 600


def main():
    failed = 0
    with Lab(1, name="roomstest") as lab:
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
