"""Sockets whose names were deleted: deleted_names.py DIRECTORY REPORT

It binds sockets to names in DIRECTORY and deletes these; `own` it binds a second time, and answers there. It uses them without
pause, and looks whether they are what they were. Which names are given to something else is the test's business, which it
waits for: a line on its standard input. SIGUSR1: it closes the first `own`. SIGTERM: the last word goes to REPORT."""

import os
import select
import signal
import socket
import sys


def bound(kind, path, listens):
    one = socket.socket(socket.AF_UNIX, kind)
    one.bind(path)
    if listens:
        one.listen(3)
    return one


def main(directory, report):
    ended, closes = [], []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    signal.signal(signal.SIGUSR1, lambda *_: closes.append(True))
    os.chdir(directory)
    names = {}  # of each socket
    deleted = []
    for name, kind, listens in (("stream", socket.SOCK_STREAM, True), ("packets", socket.SOCK_SEQPACKET, True),
                                ("taker", socket.SOCK_DGRAM, False), ("free", socket.SOCK_DGRAM, False),
                                ("unused", socket.SOCK_STREAM, False), ("own", socket.SOCK_STREAM, True)):
        path = os.path.join(directory, name)
        deleted.append(bound(kind, path, listens))
        names[deleted[-1]] = path
    relative = bound(socket.SOCK_DGRAM, "relative", False)
    deleted.append(relative)
    names[relative] = "relative"
    talkers = []
    for taker in deleted:
        if taker.type == socket.SOCK_DGRAM:
            talker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            talker.connect(os.path.join(directory, names[taker]))
            talkers.append((talker, taker))
    for one in deleted:
        os.unlink(os.path.join(directory, names[one]))
    own = bound(socket.SOCK_STREAM, os.path.join(directory, "own"), True)
    names[own] = os.path.join(directory, "own")
    print("deleted", flush=True)
    sys.stdin.readline()
    with open(report, "w", encoding="ascii") as file:
        print("ready", file=file, flush=True)
        rounds, answered, wrong = 0, 0, []
        while not ended and not wrong:
            rounds += 1
            if closes:
                closes.clear()
                first = next(one for one in deleted if names[one] == names[own])
                deleted.remove(first)
                del names[first]
                first.close()
            for talker, taker in talkers:
                talker.send(b"%d" % rounds)
                if taker.recv(100) != b"%d" % rounds:
                    wrong.append(f"another message came to {names[taker]}")
            for one, name in names.items():
                if one.getsockname() != name:
                    wrong.append(f"{name} is called {one.getsockname()}")
            for one in deleted:
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and select.select([one], [], [], 0)[0]:
                    wrong.append(f"somebody came to {names[one]}, which is deleted")
            if select.select([own], [], [], 0.0005)[0]:
                client = own.accept()[0]
                client.sendall(b"own")
                client.close()
                answered += 1
        word = "; ".join(wrong) or "good"
        print(f"{word}: {rounds} rounds, {answered} answered", file=file, flush=True)


main(*sys.argv[1:])
