#!/usr/bin/python3
"""Clients of a server that is moved, each with one connection that it keeps: server_peer.py redis|heap WHERE NAME, until
the end of its standard input. WHERE: HOST:PORT, or the path of a unix socket. Prints what they saw as one line of JSON, as net_peer.py
does, and with `told` what the server has told them to be there.

redis: two that count, set and read by themselves and in transactions; one that waits for what another one pushes, and one that hears
what a third one publishes: all of it, in order. heap: four of HeapServer.java."""

import json
import socket
import statistics
import sys
import threading
import time

TIMEOUT_S = 30
BETWEEN_S = 0.004
OVER = threading.Event()


class Client(threading.Thread):
    """rounds(): does one after the other, by self.timed()."""

    def __init__(self, where, name):
        super().__init__()
        self.name = name
        if where.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(TIMEOUT_S)
            self.socket.connect(where)
        else:
            host, port = where.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)), TIMEOUT_S)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")
        self.took, self.failure, self.told = [], "", {}

    def run(self):
        try:
            self.rounds()
        except (OSError, AssertionError, ValueError) as error:
            self.failure = f"{type(self).__name__} {self.name}: {error!r}"

    def timed(self, action):
        since = time.monotonic()
        action()
        self.took.append(time.monotonic() - since)

    def line(self):
        line = self.reader.readline()
        if not line.endswith(b"\n"):
            raise OSError(f"the connection has ended: {line!r}")
        return line.rstrip(b"\r\n")


class Redis(Client):
    def ask(self, *words):
        self.say(*words)
        return self.answer()

    def say(self, *words):
        parts = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))

    def answer(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind != b"$":
            raise OSError(line.decode())
        if rest == b"-1":
            return None
        return self.reader.read(int(rest) + 2)[:-2].decode()


def same(got, wanted):
    if got != wanted:
        raise ValueError(f"{got!r} instead of {wanted!r}")


class Counter(Redis):
    def rounds(self):
        n = 0
        while not OVER.wait(BETWEEN_S):
            n += 1
            self.timed(lambda: self.round(n))

    def round(self, n):
        mine = f"mine:{self.name}"
        self.ask("INCR", "all")
        self.told["all"] = self.told.get("all", 0) + 1
        same(self.ask("SET", mine, n), "OK")
        self.told[mine] = n
        same(self.ask("GET", mine), str(n))
        if n % 4 == 0:
            both = [f"{half}:{self.name}" for half in ("left", "right")]
            same(self.ask("MULTI"), "OK")
            same([self.ask("INCR", key) for key in both], ["QUEUED", "QUEUED"])
            same(self.ask("EXEC"), [n // 4, n // 4])
            self.told.update(dict.fromkeys(both, n // 4))


class Pusher(Redis):
    def send(self, n):
        self.ask("RPUSH", f"queue:{self.name}", n)

    def rounds(self):
        n = 0
        while not OVER.wait(5 * BETWEEN_S):
            n += 1
            self.timed(lambda: self.send(n))
        self.send("end")


class Publisher(Pusher):
    def send(self, n):
        same(self.ask("PUBLISH", f"news:{self.name}", n), 1)


class Taker(Redis):
    def next(self):
        return self.ask("BLPOP", f"queue:{self.name}", 0)[1]

    def rounds(self):
        n = 0
        while (got := self.next()) != "end":
            n += 1
            same(got, str(n))


class Subscriber(Taker):
    def subscribe(self):
        same(self.ask("SUBSCRIBE", f"news:{self.name}"), ["subscribe", f"news:{self.name}", 1])

    def next(self):
        return self.answer()[2]


class Heap(Client):
    def rounds(self):
        n = 0
        while not OVER.wait(BETWEEN_S):
            n += 1
            self.timed(lambda: self.round(n))
            self.told[self.name] = n

    def round(self, n):
        self.socket.sendall(f"add {self.name}\n".encode())
        same(self.line(), b"%d" % n)


def clients_of(kind, where, name):
    if kind == "heap":
        return [Heap(where, f"{name}{i}") for i in range(4)]
    subscriber = Subscriber(where, name)
    subscriber.subscribe()
    return [*(Counter(where, f"{name}{i}") for i in range(2)), Taker(where, name), Pusher(where, name), subscriber, Publisher(where, name)]


def main():
    clients = clients_of(*sys.argv[1:])
    for client in clients:
        client.start()
    sys.stdin.read()
    OVER.set()
    for client in clients:
        client.join()
    told = {}
    for client in clients:
        for key, value in client.told.items():
            told[key] = told.get(key, 0) + value
    took = [t for client in clients for t in client.took]
    failures = [client.failure for client in clients if client.failure]
    print(json.dumps({
        "clients": len(clients), "rounds": len(took), "failures": len(failures), "first": (failures or [""])[0], "lost": 0, "told": told,
        "median_ms": statistics.median(took) * 1000, "longest_ms": max(took) * 1000}), flush=True)


if __name__ == "__main__":
    main()
