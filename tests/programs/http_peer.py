#!/usr/bin/python3
"""Clients of a web server that is moved: http_peer.py HOST PORT PATH SHA256 [PATH SHA256]..., until the end of its
standard input. Four connections that are kept alive ask for them in turn, 200 times a second together. Prints what they saw as one line
of JSON, as net_peer.py does; `connects`: how many connections it took."""

import hashlib
import http.client
import json
import statistics
import sys
import threading
import time

CLIENTS = 4
PERIOD_S = CLIENTS / 200


class Connection(http.client.HTTPConnection):
    connects = 0

    def connect(self):
        self.connects += 1
        super().connect()


class Client(threading.Thread):
    def __init__(self, host, port, files, over):
        super().__init__()
        self.connection = Connection(host, port, timeout=30)
        self.files, self.over = files, over
        self.took, self.failures, self.first = [], 0, ""

    def ask(self):
        path, digest = self.files[len(self.took) % len(self.files)]
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200 or hashlib.sha256(body).hexdigest() != digest:
            raise OSError(f"{path}: status {answer.status}, {len(body)} bytes")

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
            self.took.append(time.monotonic() - since)
            due = max(due + PERIOD_S, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))


def main():
    over = threading.Event()
    files = list(zip(sys.argv[3::2], sys.argv[4::2]))
    clients = [Client(sys.argv[1], int(sys.argv[2]), files, over) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    sys.stdin.read()
    over.set()
    for client in clients:
        client.join()
    took = [t for c in clients for t in c.took]
    print(json.dumps({
        "clients": CLIENTS, "rounds": len(took), "failures": sum(c.failures for c in clients), "lost": 0,
        "first": next((c.first for c in clients if c.first), ""), "connects": sum(c.connection.connects for c in clients),
        "median_ms": statistics.median(took) * 1000, "longest_ms": max(took) * 1000}), flush=True)


if __name__ == "__main__":
    main()
