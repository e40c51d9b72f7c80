"""For births_test.py: has four workers at any time, with which it shares memory; each makes a file in /dev/shm, looks whether it stays
as it is, and ends within half a second; the next one looks at that file, which nobody had open meanwhile, and removes it. With a port as
second argument they say "hello" to those who come there. TERM: reports how many workers there were, and how many found something wrong;
ends with 42."""

import glob
import mmap
import os
import random
import signal
import socket
import struct
import sys
import time

WORKERS = 4
BYTES = 64 << 10
stop = False
door = socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=100) if len(sys.argv) > 2 else None
counter = mmap.mmap(-1, 4096)  # a byte for each worker, then the PID of each
PID = struct.Struct("i")


def name_of(pid):
    return f"/dev/shm/worker.{pid}"


def content_of(pid):
    return random.Random(pid).randbytes(BYTES)


def made(name):
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.ftruncate(fd, BYTES)
    memory = mmap.mmap(fd, BYTES)
    os.close(fd)
    return memory


def let_in():
    """Whoever has come by now. The client is the one that ends it."""
    door.settimeout(0.005)
    try:
        client, _ = door.accept()
    except TimeoutError:
        return
    with client:
        client.settimeout(None)
        client.sendall(b"hello\n")
        client.recv(1)


def work(number):
    """Exit status 0 if all was as it should be."""
    before, = PID.unpack_from(counter, number * PID.size + WORKERS)
    if before:
        with open(name_of(before), "rb") as file:
            if file.read() != content_of(before):
                return 1
        os.unlink(name_of(before))
    name, content = name_of(os.getpid()), content_of(os.getpid())
    memory = made(name)
    memory[:] = content
    PID.pack_into(counter, number * PID.size + WORKERS, os.getpid())
    until = time.monotonic() + random.Random(time.time()).uniform(0.02, 0.5)
    while time.monotonic() < until:
        counter[number] = (counter[number] + 1) % 256
        with open(name, "rb") as file:
            if memory[:] != content or file.read() != content:
                return 1
        if door:
            let_in()
        else:
            time.sleep(0.005)
    return 0


def start(number):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        status = 2
        try:
            status = work(number)
        finally:
            os._exit(status)
    return pid


def told(*_):
    global stop
    stop = True


signal.signal(signal.SIGTERM, told)
control = made(name_of(os.getpid()))  # as long as it lives
with open(sys.argv[1], "a", buffering=1) as report:
    workers = {start(number): number for number in range(WORKERS)}
    report.write(f"parent {os.getpid()}\n")
    done = wrong = 0
    while workers:
        pid, status = os.wait()
        number = workers.pop(pid)
        done += 1
        wrong += status != 0
        if not stop:
            workers[start(number)] = number
    for file in glob.glob(name_of("*")):
        os.unlink(file)
    report.write(f"done {done} {wrong}\n")
sys.exit(42)
