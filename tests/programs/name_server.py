"""A server at a unix socket's name: name_server.py ADDRESS REPORT; an address that begins with @ is abstract, one that begins with
packets: is of a socket for messages (seqpacket), each of which has to be one line.

Each line of a client is answered by the number of lines that this client has sent, the client's user and the line. Now and
then it is slow to accept. SIGTERM: the last word goes to REPORT."""

import os
import select
import signal
import socket
import struct
import sys
import time


PACKETS = sys.argv[1].startswith("packets:")


class Client:
    def __init__(self, connection):
        self.connection = connection
        self.lines = 0
        self.rest = b""
        self.uid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]

    def serve(self):
        """False: it has ended."""
        got = self.connection.recv(65536)
        if not got:
            return False
        if PACKETS and (got.count(b"\n") != 1 or not got.endswith(b"\n")):
            raise AssertionError(f"no message: {got[:60]!r}")
        *lines, self.rest = (self.rest + got).split(b"\n")
        for line in lines:
            self.lines += 1
            self.connection.sendall(b"%d %d %s\n" % (self.lines, self.uid, line))
        return True


def main(address, report):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if PACKETS else socket.SOCK_STREAM)
    if address.startswith("@"):
        address = "\0" + address[1:]
    elif os.path.lexists(address):
        os.unlink(address)
    door.bind(address)
    if not address.startswith("\0"):
        os.chmod(address, 0o666)
    door.listen(64)
    clients, accepted = {}, 0
    with open(report, "w", buffering=1) as words:
        words.write(f"{os.getpid()}\n")
        while not ended:
            try:
                ready = select.select([door, *clients], [], [], 0.2)[0]
            except InterruptedError:
                continue
            for one in ready:
                if one is door:
                    if accepted % 10 == 9:
                        time.sleep(0.01)
                    client = Client(door.accept()[0])
                    clients[client.connection] = client
                    accepted += 1
                    continue
                try:
                    goes_on = clients[one].serve()
                except ConnectionError:
                    goes_on = False
                if not goes_on:
                    del clients[one]
                    one.close()
        name = door.getsockname()
        words.write(f"good: {accepted} accepted, {len(clients)} open, {name!r}\n" if name == (
            address if isinstance(name, str) else address.encode()) else f"bad: called {name!r}\n")


main(sys.argv[1].removeprefix("packets:"), sys.argv[2])
