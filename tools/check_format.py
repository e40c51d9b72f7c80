#!/usr/bin/python3
"""clang-format agrees with every C++ file. The judge is version 14 (Debian 12's): versions differ in
details, so what a later one dislikes is told, not failed. `check_format.py --fix` rewrites the files."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from source_files import ROOT, source_files  # noqa: E402

JUDGE_VERSION = 14


def main():
    program = shutil.which(f"clang-format-{JUDGE_VERSION}") or shutil.which("clang-format")
    if program is None:
        print("format: clang-format is not installed (./dev setup): not checked")
        return 0
    version = int(re.search(r"version (\d+)", subprocess.check_output([program, "--version"], text=True))[1])
    files = [str(path) for path in source_files(".h", ".cc")]
    if "--fix" in sys.argv:
        return subprocess.run([program, "-i", *files]).returncode
    done = subprocess.run([program, "--dry-run", *files], stderr=subprocess.PIPE, text=True)
    bad = sorted({str(Path(name).relative_to(ROOT)) for name in re.findall(r"^(/.*?):\d+:\d+: ", done.stderr, re.M)})
    for name in bad:
        print(f"{name}: not as clang-format {version} wants it: tools/check_format.py --fix")
    if version != JUDGE_VERSION:
        print(f"format: told only: this is clang-format {version}, the judge is {JUDGE_VERSION}")
        return 0
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
