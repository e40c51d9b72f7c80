"""A server that is moved (tests/programs/net_guest.py), and who talks to it meanwhile
(tests/programs/net_peer.py)."""

import json
import subprocess
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent / "programs"
PYTHON = "/usr/bin/python3"


def install(lab, node, name):
    """It may be starting there already, for another: then it is left as it is."""
    path, program = f"/root/{name}", (PROGRAMS / name).read_bytes()
    there = lab.path(node, path)
    if not there.exists() or there.read_bytes() != program:
        there.write_bytes(program)
    return path


class Guest:
    """net_guest.py on `home`, serving at `port`; or what `command` says, which serves there, too."""

    def __init__(self, lab, home, port, command=None, address="0.0.0.0"):
        self.lab, self.home = lab, home
        command = command or f"{PYTHON} {install(lab, home, 'net_guest.py')} {port} {address}"
        self.shell = lab.popen(
            home, ["sh", "-c", f"echo $$; exec {command} < /dev/null"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.pid = int(self.shell.stdout.readline())
        listens = f"sport = :{port}"
        lab.wait_for(lambda: lab.run(home, ["ss", "-tlnH", listens]).stdout, 20, f"a server at port {port}")

    def end(self):
        self.lab.run(self.home, ["kill", str(self.pid)], check=False)
        self.shell.communicate(timeout=30)


class Peer:
    """A program of tests/programs that talks to a guest, on a node, or (node None) on the lab's host that is
    no node."""

    def __init__(self, lab, node, *arguments, program="net_peer.py"):
        path = PROGRAMS / program if node is None else install(lab, node, program)
        enter = lab.outside_command if node is None else lambda command: lab.enter_command(node, command)
        self.process = subprocess.Popen(
            enter([PYTHON, path, *arguments]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self):
        """What it saw: its line."""
        said, _ = self.process.communicate(timeout=90)
        return json.loads(said)
