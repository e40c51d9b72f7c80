"""A program that is moved while its sockets work: python3 socket_fds.py REPORT KIND...

Each KIND has a thread that uses it all the time and checks what comes out. On SIGUSR1 a line of JSON is appended to
REPORT: how many rounds each kind has made since the last one, and what was wrong. SIGTERM: all threads end, the last
word on stdout is PASS or what was wrong, and it exits with 42."""

import json
import os
import random
import select
import signal
import socket
import struct
import sys
import threading
import time

PATIENCE_S = 20


def expect(what, seen, wanted):
    if seen != wanted:
        raise AssertionError(f"{what}: {str(seen)[:80]} instead of {str(wanted)[:80]}")


def message(number):
    return (b"%d " % number) * (1 + number * 37 % 200)


class Pair:
    """Messages in both directions, some of them always under way."""

    def __init__(self, kind):
        self.kind = kind
        self.ends = socket.socketpair(socket.AF_UNIX, kind)
        self.sent, self.received = [0, 0], [0, 0]

    def round(self):
        for me in (0, 1):
            while self.sent[me] - self.received[1 - me] < 5:
                self.ends[me].sendall(message(self.sent[me]))
                self.sent[me] += 1
        for me in (0, 1):
            wanted = message(self.received[me])
            if self.kind == socket.SOCK_STREAM:
                seen = b""
                while len(seen) < len(wanted):
                    seen += self.ends[me].recv(len(wanted) - len(seen))
            else:
                seen = self.ends[me].recv(1 << 16)
            expect("a message", seen, wanted)
            self.received[me] += 1


class Stream(Pair):
    def __init__(self):
        super().__init__(socket.SOCK_STREAM)


class Datagrams(Pair):
    def __init__(self):
        super().__init__(socket.SOCK_DGRAM)


class Seqpacket(Pair):
    def __init__(self):
        super().__init__(socket.SOCK_SEQPACKET)


class HalfClosed:
    """What came before the end is read in time, then the end; the other direction is open all the while."""

    def __init__(self):
        self.rounds = 0
        self.begin()

    def begin(self):
        self.ends = socket.socketpair()
        self.ends[0].setblocking(False)
        self.ends[1].sendall(message(self.rounds))
        self.ends[1].shutdown(socket.SHUT_WR)

    def round(self):
        expect("left", self.ends[0].recv(1 << 16), message(self.rounds))
        expect("the end", self.ends[0].recv(10), b"")
        expect("blocking", self.ends[0].getblocking(), False)
        self.ends[0].sendall(b"back")
        expect("back", self.ends[1].recv(10), b"back")
        self.ends[1].shutdown(socket.SHUT_RD)
        try:
            self.ends[0].send(b"x")
            raise AssertionError("written to nobody")
        except BrokenPipeError:
            pass
        for end in self.ends:
            end.close()
        self.rounds += 1
        self.begin()


class InFlight:
    """Descriptors that were sent and not received yet: a file, a pipe, a socket, an epoll."""

    def __init__(self):
        self.ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sent = self.received = 0

    def send(self):
        number = self.sent
        read, write = os.pipe()
        os.write(write, b"pipe %d" % number)
        near, far = socket.socketpair()
        near.sendall(b"socket %d" % number)
        file = os.open("/etc/passwd", os.O_RDONLY)
        os.lseek(file, number % 7, os.SEEK_SET)
        epoll = select.epoll()
        epoll.register(self.ends[1], select.EPOLLIN)
        fds = [read, write, near.fileno(), far.fileno(), file, epoll.fileno()]
        socket.send_fds(self.ends[0], [b"%d" % number], fds)
        near.close()
        far.close()
        epoll.close()
        for fd in (read, write, file):
            os.close(fd)
        self.sent += 1

    def round(self):
        while self.sent - self.received < 3:
            self.send()
        number = self.received
        data, fds, _, _ = socket.recv_fds(self.ends[1], 100, 10)
        try:
            expect("message", data, b"%d" % number)
            expect("descriptors", len(fds), 6)
            with select.epoll.fromfd(os.dup(fds[5])) as epoll:
                expect("epoll", epoll.poll(0), [(self.ends[1].fileno(), select.EPOLLIN)])
            expect("pipe", os.read(fds[0], 100), b"pipe %d" % number)
            os.write(fds[1], b"again")
            expect("pipe", os.read(fds[0], 100), b"again")
            with socket.socket(fileno=os.dup(fds[3])) as far:
                expect("socket", far.recv(100), b"socket %d" % number)
            expect("file", os.lseek(fds[4], 0, os.SEEK_CUR), number % 7)
        finally:
            for fd in fds:
                os.close(fd)
        self.received += 1


class Accepted:
    """A listener whose name was deleted; a connection that was accepted, one that waits."""

    def __init__(self):
        name = f"/tmp/socket_fds.{os.getpid()}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(name)
        self.listener.listen(5)
        self.client = socket.socket(socket.AF_UNIX)
        self.client.connect(name)
        self.server, _ = self.listener.accept()
        self.waiting = socket.socket(socket.AF_UNIX)
        self.waiting.connect(name)
        os.unlink(name)
        self.rounds = 0

    def round(self):
        self.client.sendall(message(self.rounds))
        expect("question", self.server.recv(1 << 16), message(self.rounds))
        self.server.sendall(b"answer")
        expect("answer", self.client.recv(100), b"answer")
        self.rounds += 1

    def end(self):
        self.waiting.sendall(b"at last")
        server, _ = self.listener.accept()
        expect("who waited", server.recv(100), b"at last")


class Pidfd:
    """A handle on itself."""

    def __init__(self):
        self.fd = os.pidfd_open(os.getpid())

    def round(self):
        signal.pidfd_send_signal(self.fd, 0)
        expect("ended", select.select([self.fd], [], [], 0)[0], [])

    def end(self):  # files of /proc do not move, so not all the time
        with open(f"/proc/self/fdinfo/{self.fd}") as info:
            pid = [line.split()[1] for line in info if line.startswith("Pid:")]
        expect("whose", pid, [str(os.getpid())])


class Relayed:
    """A connection with a process that stays at home (socket_peer.py): small pieces, one at a time."""

    pieces = [1, 100, 5000]
    PEER, PEER_UID = "/tmp/socket_peer/name", 1000

    def __init__(self):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(self.PEER)
        self.connection.settimeout(PATIENCE_S)
        self.rounds = 0

    def round(self):
        data = random.Random(self.rounds).randbytes(self.pieces[self.rounds % len(self.pieces)])
        head = len(data).to_bytes(4, "little")
        # Both directions at the same time: what comes back does not wait until all is sent.
        sender = threading.Thread(target=self.connection.sendall, args=(head + data,))
        sender.start()
        seen = b""
        while len(seen) < len(head + data):
            piece = self.connection.recv(1 << 16)
            if not piece:
                raise EOFError("the end")
            seen += piece
        sender.join()
        expect("what came back", seen, head + data[::-1])
        self.rounds += 1

    def end(self):
        expect("whose", struct.unpack("3i", self.connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1], self.PEER_UID)
        expect("blocking", os.get_blocking(self.connection.fileno()), False)  # Python's way to have timeouts
        self.connection.shutdown(socket.SHUT_WR)
        said = b""
        while piece := self.connection.recv(100):
            said += piece
        expect("pieces", said, b"%d" % self.rounds)
        try:
            self.connection.send(b"x")
            raise AssertionError("written to nobody")
        except BrokenPipeError:
            pass


class RelayedBulk(Relayed):
    """The same with pieces that fill every queue on the way."""

    pieces = [1 << 20]


class Shut(Relayed):
    """A connection on which it has nothing more to say, and waits for the answer, which comes at the very end."""

    pieces = [1]

    def __init__(self):
        super().__init__()
        super().round()
        self.closer = socket.socket(socket.AF_UNIX)
        self.closer.connect(self.PEER)
        self.closer.shutdown(socket.SHUT_WR)  # the other has closed by now, and its answer was not read

    def round(self):
        expect("waits to be read", select.select([self.closer], [], [], PATIENCE_S)[0], [self.closer])
        expect("peeked", self.closer.recv(100, socket.MSG_PEEK), b"0")

    def end(self):
        expect("read", self.closer.recv(100), b"0")
        expect("the end", self.closer.recv(100), b"")
        super().end()


KINDS = {"stream": Stream, "datagrams": Datagrams, "seqpacket": Seqpacket, "half-closed": HalfClosed,
         "in-flight": InFlight, "accepted": Accepted, "pidfd": Pidfd,
         "relayed": Relayed, "relayed-bulk": RelayedBulk, "shut": Shut}


class Work:
    def __init__(self, names):
        self.kinds = {name: KINDS[name]() for name in names}
        self.rounds = dict.fromkeys(names, 0)
        self.wrong = []
        self.stop = False
        self.threads = [threading.Thread(target=self.work, args=(name,), daemon=True) for name in names]
        for thread in self.threads:
            thread.start()

    def work(self, name):
        kind = self.kinds[name]
        try:
            while not self.stop:
                kind.round()
                self.rounds[name] += 1
                time.sleep(0.001)
            if hasattr(kind, "end"):
                kind.end()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong
            self.wrong.append(f"{name}: {error!r}")

    def since(self):
        """Rounds of each kind since asked last; waits for one of each, if they still work."""
        deadline = time.monotonic() + PATIENCE_S
        while min(self.rounds.values()) == 0 and not self.wrong and time.monotonic() < deadline:
            time.sleep(0.001)
        made = dict(self.rounds)
        for name in made:
            self.rounds[name] -= made[name]
        return made

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join(PATIENCE_S)
        self.wrong += [f"{name} hangs" for name, t in zip(self.kinds, self.threads) if t.is_alive()]
        return "; ".join(self.wrong) or "PASS"


def main():
    # Only the main thread is to take them.
    signals = {signal.SIGUSR1, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    work = Work(sys.argv[2:])
    signal.signal(signal.SIGUSR1, lambda *_: None)  # it is ready
    with open(sys.argv[1], "a") as report:
        while signal.sigwait(signals) == signal.SIGUSR1:
            said = {"rounds": work.since(), "wrong": work.wrong, "pid": os.getpid()}
            print(json.dumps(said), file=report, flush=True)
    print(work.end(), flush=True)
    os._exit(42)


main()
