#!/usr/bin/python3
"""A server that is moved: net_guest.py PORT [ADDRESS]. At `::` it serves both families. Serves lines over TCP, and datagrams, at PORT: `echo TEXT`
gives TEXT, `ask HOST PORT TEXT` opens a connection to somebody else and gives the line that comes back,
`stream SEED BYTES` gives so many bytes that its asker can foretell, `take SEED BYTES` takes as many and says
`right` or `wrong`. Whoever has no more to ask may shut his side down, and still gets his answers."""

import random
import selectors
import socket
import sys


def answer(line):
    word, _, rest = line.partition(" ")
    if word == "echo":
        return rest.encode() + b"\n"
    if word == "ask":
        host, port, text = rest.split(" ", 2)
        try:
            with socket.create_connection((host, int(port)), 5) as other:
                other.sendall(text.encode() + b"\n")
                return other.makefile("rb").readline()
        except OSError as error:
            return f"failed: {error}\n".encode()
    if word == "stream":
        seed, count = rest.split()
        return random.Random(int(seed)).randbytes(int(count))
    return b"what?\n"


class Connection:
    def __init__(self, server, connected):
        self.server, self.socket = server, connected
        self.received, self.to_send = b"", b""
        self.taking = None  # what it should become
        self.asked_all = False
        connected.setblocking(False)
        server.selector.register(connected, selectors.EVENT_READ, self.on_ready)

    def take_lines(self):
        while True:
            if self.taking is not None:
                if len(self.received) < len(self.taking):
                    return
                given, self.received = self.received[:len(self.taking)], self.received[len(self.taking):]
                self.to_send += b"right\n" if given == self.taking else b"wrong\n"
                self.taking = None
            line, end, rest = self.received.partition(b"\n")
            if not end:
                return
            self.received = rest
            if line.startswith(b"take "):
                self.taking = random.Random(int(line.split()[1])).randbytes(int(line.split()[2]))
            else:
                self.to_send += answer(line.decode())

    def on_ready(self, events):
        if events & selectors.EVENT_READ:
            data = self.socket.recv(1 << 16)
            self.asked_all = not data
            self.received += data
            self.take_lines()
        if self.to_send:
            try:
                self.to_send = self.to_send[self.socket.send(self.to_send):]
            except BlockingIOError:
                pass
        if self.asked_all and not self.to_send:
            self.server.selector.unregister(self.socket)
            return self.socket.close()
        wanted = 0 if self.asked_all else selectors.EVENT_READ
        wanted |= selectors.EVENT_WRITE if self.to_send else 0
        self.server.selector.modify(self.socket, wanted, self.on_ready)


class Server:
    def __init__(self, port, address):
        self.selector = selectors.DefaultSelector()
        ipv6 = ":" in address
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        listener = socket.create_server((address, port), family=family, backlog=128, dualstack_ipv6=address == "::")
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        datagrams.bind((address, port))
        self.selector.register(listener, selectors.EVENT_READ, lambda _: Connection(self, listener.accept()[0]))

        def on_datagram(_):
            text, sender = datagrams.recvfrom(2048)
            datagrams.sendto(text, sender)

        self.selector.register(datagrams, selectors.EVENT_READ, on_datagram)

    def run(self):
        while True:
            for key, events in self.selector.select():
                key.data(events)


if __name__ == "__main__":
    Server(int(sys.argv[1]), (sys.argv[2:] or ["0.0.0.0"])[0]).run()
