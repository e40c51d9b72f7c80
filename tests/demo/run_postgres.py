#!/usr/bin/python3
"""PostgreSQL is put on the loadlevellist and started as always; while one of its sessions works and node 1 has other work,
the cluster moves the server, and the session gets its right answer."""

import glob
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import Lab  # noqa: E402

AS_POSTGRES = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "env", "HOME=/tmp"]
DATA = "/var/tmp/pgdata"
ROWS = (900, 300, 300)
QUERY = "select count(*) from " + ", ".join(f"generate_series(1, {n}) {name}" for n, name in zip(ROWS, "abc"))
HOG = "while :; do :; done"
TO_MOVE_S = 30


def program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if not found:
        sys.exit(f"demo: {name} is not there: ./dev setup")
    return found[-1]


def main():
    def say(text=""):
        print(text, flush=True)

    def shown(words, only=""):
        """As a person would type it on node 1. Of what it prints, the heading and lines that have `only` in them."""
        say("n1# " + " ".join(words))
        lines = lab.run(1, words).stdout.splitlines()
        for number, line in enumerate(lines):
            if number == 0 or only in line:
                say(line)

    say("Starting three nodes, each with its own files, PIDs and network ...")
    with Lab(3) as lab:
        def rows():
            asked = json.loads(lab.run(1, ["ssips", "-e", "--json"]).stdout)["rows"]
            return [row for row in asked if row["comm"] == "postgres"]

        def as_postgres(name, *words):
            lab.run(1, [*AS_POSTGRES, program(name), *words], cwd="/tmp", timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        lab.wait_for(lambda: all(node.get("cpus") for node in json.loads(lab.run(1, ["cluster", "-v", "--json"]).stdout)["nodes"]), 10,
                     "first load of every node")
        lab.run(1, ["install", "-d", "-o", "postgres", "-m", "700", DATA])
        as_postgres("initdb", "-D", DATA, "-A", "trust", "--no-sync")
        shown(["loadlevel", "add", program("postgres")])
        as_postgres("pg_ctl", "-D", DATA, "-o", "-c unix_socket_directories=/tmp", "-w", "-l", "/var/tmp/pg.log", "start")
        postmaster = lab.path(1, f"{DATA}/postmaster.pid").read_text().split()[0]
        say(f"The server runs: {postmaster} on node 1. A client asks it, and somebody else uses node 1's CPU, too:")
        say(f"n1$ psql -c '{QUERY}'")
        hog = lab.popen(1, ["sh", "-c", HOG])
        client = lab.popen(1, [*AS_POSTGRES, program("psql"), "-h", "/tmp", "-At", "-c", QUERY, "postgres"], cwd="/tmp", stdout=subprocess.PIPE, text=True)
        at, since = {1}, time.monotonic()
        while client.poll() is None and at <= {1} and time.monotonic() < since + TO_MOVE_S:
            time.sleep(0.2)
            at = {row["node"] for row in rows()}
        shown(["ssips", "-ef"], "postgres")
        shown(["loadlevel", "why", postmaster])
        answer = client.communicate(timeout=120)[0].strip()
        hog.kill()
        hog.wait()
        right = ROWS[0] * ROWS[1] * ROWS[2]
        say(f"psql says {answer}, which is {'right' if answer == str(right) else f'WRONG: {right}'}.")
        as_postgres("pg_ctl", "-D", DATA, "-m", "fast", "-w", "stop")
        left = rows()
    problems = [text for text, is_one in (
        ("the server did not move", at == {1}), ("its processes were on several nodes", len(at) != 1),
        ("another answer", answer != str(right)), (f"{len(left)} processes are left", bool(left))) if is_one]
    for problem in problems:
        say(f"demo: failed: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
