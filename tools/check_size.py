#!/usr/bin/python3
"""A file above 600 lines says why at its top, in a line with the words "long because"."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from source_files import ROOT, source_files  # noqa: E402

LINES_MAX = 600
TOP_LINES = 40

bad = 0
for path in source_files(".h", ".cc", ".c", ".S", ".fbs", ".py", ".sh"):
    lines = path.read_text().splitlines()
    if len(lines) > LINES_MAX and "long because" not in "\n".join(lines[:TOP_LINES]).lower():
        print(f'{path.relative_to(ROOT)}: {len(lines)} lines: split it, or say "Long because ..." at its top')
        bad = 1
sys.exit(bad)
