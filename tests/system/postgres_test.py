#!/usr/bin/python3
"""PostgreSQL moves as one: its postmaster with all backends, their shared memory, its sockets and files. No client
loses its session, whatever that was in the midst of."""

import glob
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from postgres import AS_POSTGRES, DATA, LOG, SOCKETS, Server, program  # noqa: E402

NODES = (1, 2, 3)
SETTLED_S = 30
FAULTS = "/run/ssid/faults"
SUMS = " union all ".join(
    f"select sum({what}) from pgbench_{table}"
    for what, table in (("abalance", "accounts"), ("bbalance", "branches"), ("tbalance", "tellers"), ("delta", "history")))


class Session:
    """psql, to which one says a line at a time."""

    def __init__(self, lab, host):
        self.shell = lab.popen(
            1, [*AS_POSTGRES, program("psql"), "-qAtX", "-h", host, "-v", "ON_ERROR_STOP=1", "bench"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, cwd="/tmp")

    def tell(self, text):
        self.shell.stdin.write(text + "\n")
        self.shell.stdin.flush()

    def ask(self, text, mark="--done--"):
        """What it answers, in lines."""
        self.tell(f"{text}\n\\echo {mark}")
        lines = []
        while (line := self.shell.stdout.readline()) and line.rstrip() != mark:
            lines.append(line.rstrip())
        return lines

    def close(self):
        self.shell.stdin.close()
        status = self.shell.wait(SETTLED_S)
        self.shell.stdout.close()
        return status


class Postgres(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_postgres", service_options={"ssid": "--faults"})
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)
        cls.server = Server(cls.lab)
        cls.pid, cls.pg, cls.rows, cls.place = cls.server.pid, cls.server.run, cls.server.rows, cls.server.place
        cls.pg("createdb", "-h", SOCKETS, "bench")
        cls.pg("pgbench", "-h", SOCKETS, "-q", "-i", "-s", "10", "bench")

    def sql(self, text, host=SOCKETS):
        return self.pg("psql", "-qAtX", "-h", host, "-c", text, "bench").stdout.split("\n")[:-1]

    def move(self, to, pid=None):
        self.assertNotEqual(self.place(), to, "it is there already")
        return observe.ask(self.lab, 1, "migrate", "--wait", str(pid or self.pid), str(to), timeout=120)

    def be_at(self, node):
        if self.place() != node:
            self.move(node)

    # Under load

    def bench(self, name, host, seconds):
        words = ["-n", "-c", "4", "-T", str(seconds), "--max-tries=1", "-l", f"--log-prefix=/tmp/{name}", "-h", host, "bench"]
        return self.lab.popen(
            1, [*AS_POSTGRES, program("pgbench"), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd="/tmp")

    def longest_ms(self, name):
        """Of a transaction, as its client saw it."""
        logs = glob.glob(str(self.lab.path(1, f"/tmp/{name}")) + ".*")
        return max(int(line.split()[2]) for log in logs for line in Path(log).read_text().splitlines()) / 1000

    def test_no_transaction_fails_while_it_moves(self):
        self.be_at(1)
        moves = (2, 3, 1, 2, 1, 3, 2, 3, 2, 1)
        before = int(self.sql("select count(*) from pgbench_history")[0])
        seconds = 45
        clients = {name: self.bench(name, host, seconds) for name, host in (("unix", SOCKETS), ("tcp", "127.0.0.1"))}
        frozen, copied = [], []
        for to in moves:
            time.sleep(1)
            moved = self.move(to)
            frozen.append(moved["frozen_ms"])
            copied.append((moved["copied_bytes"] + moved["frozen_bytes"]) / (1 << 20))
        done = 0
        for name, client in clients.items():
            said, _ = client.communicate(timeout=120)
            self.assertEqual(client.returncode, 0, said)
            self.assertIn("number of failed transactions: 0 (", said)
            done += int(re.search(r"actually processed: (\d+)", said)[1])
        self.assertEqual(len(set(self.sql(SUMS))), 1)
        self.assertEqual(int(self.sql("select count(*) from pgbench_history")[0]), before + done)
        self.pg("pg_amcheck", "-h", SOCKETS, "--install-missing", "bench")
        middle = sorted(frozen)[len(frozen) // 2]
        print(f"\n{len(moves)} moves, {done} transactions, none failed; frozen {middle:.0f} ms, at most {max(frozen):.0f}; longest transaction: unix "
              f"{self.longest_ms('unix'):.0f} ms, tcp {self.longest_ms('tcp'):.0f} ms; {sum(copied) / len(copied):.0f} MiB sent a move", flush=True)

    # Sessions

    def test_sessions_go_on(self):
        self.be_at(1)
        sessions = [Session(self.lab, host) for host in (SOCKETS, "127.0.0.1")]
        for number, s in enumerate(sessions):
            s.tell(f"create temp table mine (n int); begin; insert into mine select generate_series(1, {1000 + number});")
            s.tell("prepare twice(int) as select 2 * $1; select pg_advisory_lock(%d);" % (77 + number))
            s.tell("declare walk cursor for select n from mine order by n; savepoint here;")
            self.assertEqual(s.ask("fetch 2 from walk;")[-2:], ["1", "2"])
        listener, copier = Session(self.lab, "127.0.0.1"), Session(self.lab, SOCKETS)
        listener.ask("listen news;")
        copier.tell("create table copied (n int); copy copied from stdin;")
        line = 0
        for to in (2, 3, 1, 3):
            for _ in range(1000):
                line += 1
                copier.tell(str(line))
            self.move(to)
            for number, s in enumerate(sessions):
                self.assertEqual(len(s.ask("fetch 100 from walk;")), 100)
                self.assertEqual(s.ask("execute twice(21);"), ["42"])
            self.assertEqual(self.sql("select pg_try_advisory_lock(77), pg_try_advisory_lock(78)"), ["f|f"])
            self.sql(f"notify news, 'at {to}'")
            heard = listener.ask("select 1;")
            self.assertTrue(any(f"at {to}" in words for words in heard), heard)
        copier.tell("\\.")
        self.assertEqual(copier.ask("select count(*), sum(n) from copied; drop table copied;"), [f"{line}|{line * (line + 1) // 2}"])
        for number, s in enumerate(sessions):
            self.assertEqual(s.ask("fetch 1 from walk; close walk; rollback to here; commit; select count(*) from mine;"), ["403", str(1000 + number)])
        for s in (*sessions, listener, copier):
            self.assertEqual(s.close(), 0)
        self.assertEqual(self.sql("select pg_try_advisory_lock(77)"), ["t"])

    def test_a_client_that_is_gone_holds_nothing_up(self):
        """Its backend does not notice before its query is done; all streams of it are over by then."""
        self.be_at(2)
        at_work = "select count(*) from pg_stat_activity where query = 'select pg_sleep(100)' and state = 'active'"
        for number, host in enumerate((SOCKETS, "127.0.0.1")):
            words = ["sh", "-c", 'echo $$; exec "$@"', "sh", program("psql"), "-h", host, "-c", "select pg_sleep(100)", "bench"]
            client = self.lab.popen(1, [*AS_POSTGRES, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd="/tmp")
            pid = client.stdout.readline().strip()
            self.lab.wait_for(lambda number=number: self.sql(at_work) == [str(number + 1)], SETTLED_S, "it is at work")
            self.lab.run(1, ["kill", "-KILL", pid])
            client.communicate(timeout=SETTLED_S)
        time.sleep(2)  # whoever looks after connections that are over has done so
        for to in (3, 1, 2):
            moved = observe.migrate(self.lab, self.pid, to)
            self.assertLess(moved["frozen_ms"], 4000)
        self.assertEqual(self.sql(at_work), ["2"])
        self.sql("select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(100)'")
        self.lab.wait_for(lambda: self.sql(at_work) == ["0"], SETTLED_S, "they have ended")

    def test_backends_begun_elsewhere_are_known_at_home(self):
        self.be_at(2)
        session = Session(self.lab, "127.0.0.1")
        backend = int(session.ask("select pg_backend_pid();")[0])

        def row():
            return [(r["node"], r["home"], "idle" in r["command"]) for r in self.rows() if r["local_pid"] and r["pid"].endswith(str(backend))]

        self.lab.wait_for(lambda: row() == [(2, 1, True)], 15, f"backend {backend} is known: {row()}")
        self.assertEqual(observe.parent_of(self.lab, 1, backend), self.pid)
        # Any of them names the server.
        self.move(3, backend)
        self.assertEqual(session.ask("select 5;"), ["5"])
        self.lab.wait_for(lambda: row() == [(3, 1, True)], 15, "it is at node 3")
        self.lab.run(1, ["kill", str(backend)])
        self.lab.wait_for(lambda: not observe.exists(self.lab, 1, backend), 15, "it has ended")
        session.tell("select 6;")
        self.assertIn("terminating connection due to administrator command", session.shell.stdout.read())
        session.shell.wait(SETTLED_S)
        session.shell.stdin.close()
        session.shell.stdout.close()
        # The server's own commands, at home.
        self.assertIn(f"(PID: {self.pid})", self.pg("pg_ctl", "-D", DATA, "status").stdout)
        with open(self.lab.path(1, f"{DATA}/postgresql.conf"), "a") as settings:
            settings.write("work_mem='5MB'\n")
        self.pg("pg_ctl", "-D", DATA, "reload")
        self.lab.wait_for(lambda: self.sql("show work_mem") == ["5MB"], 15, "it has read its settings again")

    # Whoever dies

    def faults(self, node, text):
        with open(self.lab.path(node, FAULTS), "a") as file:
            file.write(text)

    def is_back(self, node, before):
        now = self.lab.services(node)["ssid"]
        return now["restarts"] > before and now["state"] == "ready"

    def test_whoever_dies_nothing_that_was_committed_is_lost(self):
        self.sql("create table told (n int primary key)")
        self.be_at(1)
        writer = Session(self.lab, "127.0.0.1")
        told, at = 0, 1
        for to, step, side, what in ((2, "after_dump", "source", "error"), (2, "restore", "target", "kill-criu"), (2, "after_restore", "source", "kill"),
                                     (2, "after_commit", "source", "kill"), (3, "target_restored", "target", "kill")):
            to = to if to != at else to % 3 + 1
            node = at if side == "source" else to
            with self.subTest(f"{at} -> {to}: {step}, {side}: {what}"):
                before = self.lab.services(node)["ssid"]["restarts"]
                self.faults(node, f"migrate.{step} {what}\n")
                mover = self.lab.popen(6 - at - to, ["migrate", "--wait", str(self.pid), str(to)], stdout=subprocess.DEVNULL)
                until = time.monotonic() + 4
                while time.monotonic() < until or mover.poll() is None:
                    self.assertEqual(writer.ask(f"insert into told values ({told + 1});"), [])
                    told += 1
                self.assertNotIn(step, self.lab.path(node, FAULTS).read_text())
                if what == "kill":
                    self.lab.wait_for(lambda node=node, before=before: self.is_back(node, before), 10, "ssid is back")
                at = self.lab.wait_for(self.place, SETTLED_S, "one server")
                self.assertEqual(writer.ask("select count(*), max(n) from told;"), [f"{told}|{told}"])
        self.assertEqual(writer.close(), 0)
        self.assertEqual(self.sql("select count(*) from told; drop table told;"), [str(told)])

    def test_zz_it_stops_as_always(self):
        """The last one: pg_ctl, at home, while it is elsewhere."""
        self.be_at(2)
        pids = [row["pid"] for row in self.rows()]
        self.pg("pg_ctl", "-D", DATA, "-m", "fast", "-w", "stop")
        self.lab.wait_for(lambda: not self.rows(), SETTLED_S, f"none of {pids} is left")
        self.assertIn("database system is shut down", self.lab.path(1, LOG).read_text())
        self.lab.wait_for(lambda: not observe.left_over(self.lab), SETTLED_S, "nothing is left of it")
        self.assertEqual(self.pg("pg_ctl", "-D", DATA, "status", check=False).returncode, 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
