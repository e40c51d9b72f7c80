"""The project's own source files, for the checks beside this file."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREES = ("ssid", "migrate", "loadlevel", "fs", "shim", "tests", "tools", "packaging")
SKIPPED_DIRS = {"__pycache__", "testdata", "build"}


def source_files(*suffixes, root=ROOT):
    """Sorted paths below the rooms, of these suffixes."""
    return sorted(
        path
        for tree in TREES
        for path in (Path(root) / tree).rglob("*")
        if path.suffix in suffixes
        and path.is_file()
        and not SKIPPED_DIRS & set(path.relative_to(root).parts)
    )
