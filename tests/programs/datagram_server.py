"""Takes datagrams at a unix socket's name: datagram_server.py ADDRESS REPORT; an address that begins with @ is abstract.

Each says "SENDER NUMBER ..": the numbers of a sender follow each other. Now and then it does not read for a while. SIGTERM, and
nothing more to read: the last word goes to REPORT."""

import os
import signal
import socket
import sys
import time


def main(address, report):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    if address.startswith("@"):
        address = "\0" + address[1:]
    door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    door.bind(address)
    door.settimeout(0.3)
    if not address.startswith("\0"):
        os.chmod(address, 0o666)
    last, wrong, taken = {}, [], 0
    with open(report, "w", buffering=1) as words:
        words.write(f"{os.getpid()}\n")
        while True:
            try:
                datagram = door.recv(300000)
            except TimeoutError:
                if ended:
                    break
                continue
            taken += 1
            if taken % 50 == 49:
                time.sleep(0.02)
            sender, number, filling = datagram.split(b" ", 2)
            if int(number) != last.get(sender, 0) + 1 or filling.strip(b"x"):
                wrong.append((sender, last.get(sender, 0), number, len(filling)))
            last[sender] = int(number)
        said = " ".join(f"{sender.decode()}={number}" for sender, number in sorted(last.items()))
        words.write(f"bad: {wrong[:5]!r}\n" if wrong else f"good: {said}\n")


main(sys.argv[1], sys.argv[2])
