"""A PostgreSQL server on node 1 of a lab, and its programs there."""

import glob
import subprocess

import observe

DATA, SOCKETS = "/var/tmp/pgdata", "/tmp"
LOG = "/var/tmp/pg.log"
SETTINGS = f"listen_addresses='*'\nunix_socket_directories='{SOCKETS}'\nshared_buffers=128MB\n"
AS_POSTGRES = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "env", "HOME=/tmp"]


def program(name):
    return sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))[-1]


class Server:
    def __init__(self, lab, settings="", initdb=()):
        """Makes and starts it. settings: more lines of postgresql.conf; initdb: more arguments."""
        self.lab = lab
        lab.run(1, ["install", "-d", "-o", "postgres", "-m", "700", DATA])
        self.run("initdb", "-D", DATA, "-A", "trust", "--no-sync", *initdb)
        with open(lab.path(1, f"{DATA}/postgresql.conf"), "a") as file:
            file.write(SETTINGS + settings)
        with open(lab.path(1, f"{DATA}/pg_hba.conf"), "a") as hosts:
            hosts.write("host all all all trust\n")
        self.run("pg_ctl", "-D", DATA, "-w", "-l", LOG, "start", output=False)
        self.pid = int(lab.path(1, f"{DATA}/postmaster.pid").read_text().split()[0])

    def run(self, name, *words, output=True, check=True):
        # What a server inherits nobody may wait for.
        streams = {} if output else {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return self.lab.run(1, [*AS_POSTGRES, program(name), *words], timeout=120, check=check, cwd="/tmp", **streams)

    def rows(self):
        """Its processes, as ssips shows them."""
        return [row for row in observe.ask(self.lab, 2, "ssips")["rows"] if row["comm"] == "postgres"]

    def place(self):
        """The node where its postmaster runs; None if that is at none, or at several."""
        rows = [row["node"] for row in self.rows() if row["pid"] == str(self.pid)]
        return rows[0] if len(rows) == 1 else None
