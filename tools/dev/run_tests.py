"""`./dev test [NAME...] [--unit|--system]`: unit tests and checks on the dev build, then the system
tests on the release build, in order. The last line is `N passed, M failed`; exit status 1 if any failed.

A system test is a program tests/system/*_test.py or *_test.sh: exit status 0 passed, 77 skipped (its
last line says why), else failed. Its output is kept in .ssid-dev/test-logs/ and shown if it failed."""

import argparse
import fcntl
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / ".ssid-dev/test-logs"
SKIPPED = 77
UNIT_TEST_TIMEOUT_S = 600
SYSTEM_TEST_TIMEOUT_S = 1200


class Count:
    def __init__(self):
        self.passed = 0
        self.failed = 0

    def add(self, name, outcome, seconds):
        self.passed += outcome == "ok"
        self.failed += outcome == "FAILED"
        print(f"{outcome:>6}  {name}  {seconds:.1f} s", flush=True)


def build(preset, count):
    start = time.monotonic()
    print(f" build  {preset}", flush=True)
    done = subprocess.run(["./dev", "build", "--preset", preset], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(done.stdout)
        count.add(f"build {preset}", "FAILED", time.monotonic() - start)
    return done.returncode == 0


def run_unit(names, count):
    junit = LOGS / "ctest.xml"
    junit.unlink(missing_ok=True)
    command = ["ctest", "--preset", "dev", "--output-junit", str(junit), "-j", str(os.cpu_count() or 1)]
    command += ["--timeout", str(UNIT_TEST_TIMEOUT_S)]  # ctest has none of its own
    if names:
        command += ["-R", "|".join(names)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    (LOGS / "ctest.log").write_text(done.stdout)
    if not junit.exists():
        print(done.stdout)
        count.add("ctest", "FAILED", 0)
        return
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        outcome = {"run": "ok", "notrun": "FAILED", "disabled": "skip"}.get(case.get("status"), "FAILED")
        if case.find("skipped") is not None:
            outcome = "skip"
        if outcome == "FAILED":
            print(case.findtext("system-out") or "did not run")
        count.add(case.get("name"), outcome, float(case.get("time") or 0))


def run_system(names, count):
    paths = sorted([*ROOT.glob("tests/system/*_test.py"), *ROOT.glob("tests/system/*_test.sh")])
    for path in paths:
        if names and not any(name in path.stem for name in names):
            continue
        log = LOGS / f"{path.stem}.log"
        interpreter = [sys.executable, "-B"] if path.suffix == ".py" else ["bash"]
        start = time.monotonic()
        with open(log, "w") as output:
            try:
                status = subprocess.run(
                    [*interpreter, str(path)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=SYSTEM_TEST_TIMEOUT_S,
                ).returncode
            except subprocess.TimeoutExpired:
                output.write(f"killed: not done within {SYSTEM_TEST_TIMEOUT_S} s\n")
                status = -9
        text = log.read_text(errors="replace")
        name = path.stem
        if status == SKIPPED:
            name += ": " + (text.strip().splitlines() or ["no reason given"])[-1]
        elif status != 0:
            print(text)
            name += f" (exit status {status}; again: python3 {path.relative_to(ROOT)})"
        count.add(name, {0: "ok", SKIPPED: "skip"}.get(status, "FAILED"), time.monotonic() - start)


def main():
    parser = argparse.ArgumentParser(prog="./dev test")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only tests whose name contains it")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--unit", action="store_true", help="unit tests and checks only")
    only.add_argument("--system", action="store_true", help="system tests only")
    options = parser.parse_args()
    os.chdir(ROOT)
    LOGS.mkdir(parents=True, exist_ok=True)
    lock = open(LOGS / ".lock", "w")  # the labs of two runs of one checkout have the same names
    fcntl.flock(lock, fcntl.LOCK_EX)
    count = Count()
    if not options.system and build("dev", count):
        run_unit(options.names, count)
    if not options.unit and build("release", count):
        run_system(options.names, count)
    print(f"{count.passed} passed, {count.failed} failed")
    sys.exit(1 if count.failed else 0)


if __name__ == "__main__":
    main()
