"""Clients of name_server.py: name_client.py ADDRESS REPORT [UID]: one that stays and talks all the time, with an own user, and
others that come, ask once and go. SIGTERM: the last word, one line of JSON, goes to REPORT."""

import json
import os
import signal
import socket
import sys
import threading
import time

LINE = b"x" * 200
PACKETS = sys.argv[1].startswith("packets:")


class Talk:
    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if PACKETS else socket.SOCK_STREAM)
        self.socket.settimeout(30)
        self.socket.connect(address)
        self.rest = b""
        self.lines = 0

    def ask(self, line):
        self.lines += 1
        self.socket.sendall(line + b"\n")
        while b"\n" not in self.rest:
            got = self.socket.recv(65536)
            if not got:
                raise ConnectionError("it has ended")
            self.rest += got
        answer, self.rest = self.rest.split(b"\n", 1)
        expected = b"%d %d %s" % (self.lines, os.getuid(), line)
        if answer != expected:
            raise AssertionError(f"{answer[:60]!r} instead of {expected[:60]!r}")


class Counts:
    def __init__(self):
        self.rounds = 0
        self.longest = 0.0
        self.failures = []

    def note(self, act):
        since = time.monotonic()
        try:
            act()
            self.rounds += 1
        except (OSError, AssertionError) as error:
            self.failures.append(repr(error))
        self.longest = max(self.longest, time.monotonic() - since)

    def words(self):
        return {"rounds": self.rounds, "longest_ms": round(1000 * self.longest), "failures": self.failures[:5]}


def main(address, report, uid):
    if uid:
        os.setgid(uid)
        os.setuid(uid)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    address = "\0" + address[1:] if address.startswith("@") else address
    stays, come = Counts(), Counts()

    def stay():
        talk = Talk(address)
        while not ended.is_set() and not stays.failures:
            stays.note(lambda: talk.ask(LINE))
            time.sleep(0.001)

    def visit():
        def once():
            talk = Talk(address)
            talk.ask(b"hello")
            talk.socket.close()
        while not ended.is_set():
            come.note(once)
            time.sleep(0.01)
    threads = [threading.Thread(target=stay), threading.Thread(target=visit)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(report, "w") as words:
        words.write(json.dumps({"stays": stays.words(), "come": come.words()}) + "\n")


main(sys.argv[1].removeprefix("packets:"), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
