#!/usr/bin/python3
"""The other end of a connection with a program that is moved: net_peer.py HOW HOST PORT [PAUSE_S], until the end of
its standard input. Prints what it saw as one line of JSON: rounds, failures (and the first of them), the
longest round in milliseconds.

HOW: `lines`, one connection with a question at a time; `connects`, a new connection a question; `datagrams`,
one a question, asked again when none comes back; `lite`, the same of UDP-Lite; `stream`, pieces of 1 MiB over one connection; `upload`, the
same in the other direction; `half`, a connection a piece, shut down on this side as soon as it was asked for."""

import json
import random
import select
import socket
import sys
import time

DATAGRAM_TIMEOUT_S = 0.5
PIECE = 1 << 20


class Peer:
    def __init__(self, how, host, port, pause_s):
        self.pause_s = pause_s
        self.round = {"lines": self.line, "connects": self.connect, "datagrams": self.datagram, "lite": self.datagram,
                      "stream": self.piece, "upload": self.give, "half": self.half}[how]
        self.address = (host, port)
        self.protocol = socket.IPPROTO_UDPLITE if how == "lite" else socket.IPPROTO_UDP
        self.rounds, self.lost = 0, 0
        self.connection = None

    def connected(self):
        if self.connection is None:
            self.connection = socket.create_connection(self.address, 30)
            self.reader = self.connection.makefile("rb")
        return self.connection

    def ask(self, text):
        self.connected().sendall(text.encode() + b"\n")

    def line(self):
        self.ask(f"echo {self.rounds}")
        answer = self.reader.readline()
        if answer != b"%d\n" % self.rounds:
            raise OSError(f"{answer!r} is no answer to {self.rounds}")

    def connect(self):
        self.line()
        self.connection.close()
        self.connection = None

    def piece(self):
        self.ask(f"stream {self.rounds} {PIECE}")
        if self.reader.read(PIECE) != random.Random(self.rounds).randbytes(PIECE):
            raise OSError(f"piece {self.rounds} is wrong")

    def give(self):
        self.ask(f"take {self.rounds} {PIECE}")
        self.connection.sendall(random.Random(self.rounds).randbytes(PIECE))
        said = self.reader.readline()
        if said != b"right\n":
            raise OSError(f"{said!r} is what became of piece {self.rounds}")

    def half(self):
        self.ask(f"stream {self.rounds} {PIECE}")
        self.connection.shutdown(socket.SHUT_WR)
        if self.reader.read() != random.Random(self.rounds).randbytes(PIECE):
            raise OSError(f"piece {self.rounds} is wrong, or ends early")
        self.connection.close()
        self.connection = None

    def datagram(self):
        if self.connection is None:
            self.connection = socket.socket(
                socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET, socket.SOCK_DGRAM,
                self.protocol)
            self.connection.settimeout(DATAGRAM_TIMEOUT_S)
            self.connection.connect(self.address)
        text = b"%d" % self.rounds
        while True:
            self.connection.send(text)
            try:
                while self.connection.recv(2048) != text:
                    pass
                return
            except TimeoutError:
                self.lost += 1

    def run(self):
        longest, failures, first = 0, 0, ""
        while not select.select([sys.stdin], [], [], self.pause_s)[0]:
            since = time.monotonic()
            try:
                self.round()
            except OSError as error:
                failures += 1
                first = first or repr(error)
                self.connection = None
            longest = max(longest, time.monotonic() - since)
            self.rounds += 1
        return {"rounds": self.rounds, "failures": failures, "first": first, "lost": self.lost,
                "longest_ms": longest * 1000}


if __name__ == "__main__":
    print(json.dumps(Peer(sys.argv[1], sys.argv[2], int(sys.argv[3]), float((sys.argv[4:] or [0.001])[0])).run()), flush=True)
