#!/usr/bin/python3
"""Clients of a web server that is moved: http_peer.py HOST PORT PATH SHA256, until the end of its standard
input. Four connections that are kept alive ask 200 times a second together. Prints what they saw as one line of
JSON, as net_peer.py does."""

import hashlib
import http.client
import json
import sys
import threading
import time

CLIENTS = 4
PERIOD_S = CLIENTS / 200


class Client(threading.Thread):
    def __init__(self, host, port, path, digest, over):
        super().__init__()
        self.connection = http.client.HTTPConnection(host, port, timeout=30)
        self.path, self.digest, self.over = path, digest, over
        self.rounds, self.failures, self.first, self.longest = 0, 0, "", 0

    def ask(self):
        self.connection.request("GET", self.path)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200 or hashlib.sha256(body).hexdigest() != self.digest:
            raise OSError(f"status {answer.status}, {len(body)} bytes")

    def run(self):
        due = time.monotonic()
        while not self.over.is_set():
            since = time.monotonic()
            try:
                self.ask()
            except (OSError, http.client.HTTPException) as error:
                self.failures += 1
                self.first = self.first or repr(error)
                self.connection.close()
            self.rounds += 1
            self.longest = max(self.longest, time.monotonic() - since)
            due = max(due + PERIOD_S, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))


def main():
    over = threading.Event()
    clients = [Client(sys.argv[1], int(sys.argv[2]), *sys.argv[3:5], over) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    sys.stdin.read()
    over.set()
    for client in clients:
        client.join()
    print(json.dumps({
        "rounds": sum(c.rounds for c in clients), "failures": sum(c.failures for c in clients), "lost": 0,
        "first": next((c.first for c in clients if c.first), ""),
        "longest_ms": max(c.longest for c in clients) * 1000}), flush=True)


if __name__ == "__main__":
    main()
