#!/usr/bin/python3
"""A server that is moved: net_guest.py PORT [ADDRESS]. At `::` it serves both families. Serves lines over TCP, and
datagrams of UDP and UDP-Lite, at PORT: `echo TEXT` gives TEXT, `ping HOST` gives `answered`, `ask HOST PORT TEXT` opens a connection to somebody else and gives the line that comes back,
`stream SEED BYTES` gives so many bytes that its asker can foretell, `take SEED BYTES` takes as many and says
`right` or `wrong`. Whoever has no more to ask may shut his side down, and still gets his answers."""

import random
import selectors
import socket
import sys

PING = b"\x08\x00" + bytes(6)  # the kernel gives it its number and checksum
PING6 = b"\x80\x00" + bytes(6)


def ping(host):
    ipv6 = ":" in host
    with socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM,
                       socket.IPPROTO_ICMPV6 if ipv6 else socket.IPPROTO_ICMP) as asker:
        asker.settimeout(5)
        asker.sendto((PING6 if ipv6 else PING) + host.encode(), (host, 0))
        said, sender = asker.recvfrom(2048)
        right = said[0] == (0x81 if ipv6 else 0) and said[8:] == host.encode() and sender[0] == host
        return b"answered\n" if right else b"wrong: %r of %r\n" % (said, sender)


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
    if word == "ping":
        try:
            return ping(rest)
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
        self.selector.register(listener, selectors.EVENT_READ, lambda _: Connection(self, listener.accept()[0]))

        for protocol in (socket.IPPROTO_UDP, socket.IPPROTO_UDPLITE):
            self.serve_datagrams(socket.socket(family, socket.SOCK_DGRAM, protocol), (address, port))

    def serve_datagrams(self, datagrams, address):
        def on_datagram(_):
            text, sender = datagrams.recvfrom(2048)
            datagrams.sendto(text, sender)

        datagrams.bind(address)
        self.selector.register(datagrams, selectors.EVENT_READ, on_datagram)

    def run(self):
        while True:
            for key, events in self.selector.select():
                key.data(events)


if __name__ == "__main__":
    Server(int(sys.argv[1]), (sys.argv[2:] or ["0.0.0.0"])[0]).run()
