#!/usr/bin/python3
"""PostgreSQL under load while it moves around three nodes, home among them: pgbench, read-write, scale 10, four clients by the
unix socket and four by TCP. No transaction may fail, no client connect again; afterwards pgbench's sums are equal, its history
has a row for each transaction, and pg_amcheck finds nothing. For each size of shared_buffers; and beside it, in the same
run, what a script makes of the same with plain criu: dump to memory, copy, restore, of the same server without clients.

longest: of a transaction, as its client saw it; at rest: the same while nothing is moved.

usage: bench_postgres.py [--buffers LIST] [--moves N] [--seconds N]        SSID_LAB: name of the lab (default: bench)"""

import argparse
import glob
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import observe  # noqa: E402
from lab import Lab  # noqa: E402
from postgres import AS_POSTGRES, SOCKETS, Server, program  # noqa: E402

MIB = 1 << 20
HOSTS = {"unix": SOCKETS, "tcp": "127.0.0.1"}
ROUTE = (2, 3, 2, 1, 3, 2, 1, 2, 3, 1, 3, 1)
SUMS = " union all ".join(
    f"select sum({what}) from pgbench_{table}"
    for what, table in (("abalance", "accounts"), ("bbalance", "branches"), ("tbalance", "tellers"), ("delta", "history")))
# As one would write it: the server stands still from the first line to the last.
PLAIN_CRIU = """
set -e
rm -rf /tmp/plain; mkdir -p /tmp/plain/a /tmp/plain/b; mount -t tmpfs tmpfs /tmp/plain; mkdir -p /tmp/plain/a /tmp/plain/b
trap 'umount /tmp/plain' EXIT
begin=$(date +%s%N)
unshare --ipc $CRIU dump -t $1 -D /tmp/plain/a -o log --file-locks --ext-unix-sk --network-lock skip || {
  grep Error /tmp/plain/a/log >&2; exit 1; }
cp /tmp/plain/a/*.img /tmp/plain/b
$CRIU restore -D /tmp/plain/b -o log -d --file-locks --ext-unix-sk || { grep Error /tmp/plain/b/log >&2; exit 1; }
echo $(($(date +%s%N) - begin))
"""


class Load:
    """pgbench by both kinds of sockets."""

    def __init__(self, lab, name, seconds):
        self.lab, self.name = lab, name
        self.clients = [self.start(lab, f"{name}.{kind}", host, seconds) for kind, host in HOSTS.items()]

    @staticmethod
    def start(lab, log, host, seconds):
        words = ["-n", "-c", "4", "-T", str(seconds), "--max-tries=1", "-l", f"--log-prefix=/tmp/{log}", "-h", host, "bench"]
        return lab.popen(
            1, [*AS_POSTGRES, program("pgbench"), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd="/tmp")

    def end(self):
        """How many transactions there were; each transaction's time in ms."""
        for client in self.clients:
            said, _ = client.communicate(timeout=600)
            if client.returncode != 0 or "number of failed transactions: 0 (" not in said:
                raise SystemExit(f"a client failed: {said}")
        logs = glob.glob(str(self.lab.path(1, f"/tmp/{self.name}")) + ".*")
        return [int(line.split()[2]) / 1000 for log in logs for line in Path(log).read_text().splitlines()]


def sql(server, text):
    return server.run("psql", "-qAtX", "-h", SOCKETS, "-c", text, "bench").stdout.split()


def check(server, transactions, before):
    if len(set(sql(server, SUMS))) != 1:
        raise SystemExit("pgbench's sums differ")
    if int(sql(server, "select count(*) from pgbench_history")[0]) != before + transactions:
        raise SystemExit("a transaction that was committed is not in the history, or one that was not is")
    server.run("pg_amcheck", "-h", SOCKETS, "--install-missing", "bench")


def plain_criu_ms(lab, server):
    done = lab.run(
        1, ["env", "CRIU=/usr/lib/ssid/criu", "sh", "-c", PLAIN_CRIU, "sh", str(server.pid)], check=False, timeout=300)
    if done.returncode != 0:
        return f"no: {done.stderr.strip().splitlines()[-1]}"
    return f"{int(done.stdout) / 1e6:.0f}"


def measure(lab, buffers, moves, seconds):
    server = Server(lab, settings=f"shared_buffers={buffers}\n")
    server.run("createdb", "-h", SOCKETS, "bench")
    server.run("pgbench", "-h", SOCKETS, "-q", "-i", "-s", "10", "bench")
    resting = Load(lab, f"rest-{buffers}", max(5, seconds // 8)).end()
    before = int(sql(server, "select count(*) from pgbench_history")[0])
    load = Load(lab, f"move-{buffers}", seconds)
    begin, reports = time.monotonic(), []
    for number in range(moves):
        time.sleep(max(0.0, begin + (number + 0.5) * seconds / moves - time.monotonic()))
        reports.append(observe.ask(lab, 1, "migrate", "--wait", str(server.pid), str(ROUTE[number % len(ROUTE)]), timeout=120))
    times = load.end()
    check(server, len(times), before)
    frozen = [report["frozen_ms"] for report in reports]
    pauses = sorted(times)[-moves:]
    if server.place() != 1:
        observe.ask(lab, 1, "migrate", "--wait", str(server.pid), "home", timeout=120)
    server.run("pg_ctl", "-D", "/var/tmp/pgdata", "-m", "fast", "restart", output=False)
    sql(server, "select sum(abalance) from pgbench_accounts")
    server.pid = int(lab.path(1, "/var/tmp/pgdata/postmaster.pid").read_text().split()[0])
    return [
        buffers, len(reports), len(times), f"{statistics.median(frozen):.0f}", f"{max(frozen):.0f}",
        f"{statistics.median(pauses):.0f}", f"{max(times):.0f}", f"{max(resting):.0f}",
        f"{statistics.mean(report['copied_bytes'] for report in reports) / MIB:.0f}",
        f"{statistics.mean(report['frozen_bytes'] for report in reports) / MIB:.1f}",
        plain_criu_ms(lab, server),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--buffers", default="128MB,1GB,4GB")
    parser.add_argument("--moves", type=int, default=12)
    parser.add_argument("--seconds", type=int, default=120)
    options = parser.parse_args()
    rows = []
    for buffers in options.buffers.split(","):
        if not re.fullmatch(r"\d+(MB|GB)", buffers):
            parser.error(f"not a size: {buffers}")
        lab = Lab(3, name=os.environ.get("SSID_LAB", "bench"))
        lab.up()
        try:
            observe.wait_for_loads(lab)
            rows.append(measure(lab, buffers, options.moves, options.seconds))
        finally:
            lab.down()
    titles = ["shared_buffers", "moves", "transactions", "frozen ms", "at most", "pause ms", "longest", "at rest", "MiB ahead", "MiB frozen",
              "plain criu ms"]
    print(observe.table(titles, rows))
    print("\nNo transaction failed, no client connected again; sums, history and pg_amcheck are right.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
