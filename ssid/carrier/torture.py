#!/usr/bin/python3
"""torture.py CARRIER CARRIERCTL [NAME...]: mounts a view of this very machine, through TLS over loopback, in
mount and pid namespaces of its own, and does to it what guests do. Prints numbers beside a local directory's.
Needs root and /dev/fuse. Exit status 0: all of it held.

Long because it is a list of independent tests."""

import errno
import fcntl
import mmap
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

if os.environ.get("SSID_TORTURE") != "inside":
    os.environ["SSID_TORTURE"] = "inside"
    os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                          sys.executable, os.path.abspath(__file__), *map(os.path.abspath, sys.argv[1:3]),
                          *sys.argv[3:]])

CARRIER, CTL = sys.argv[1:3]
ONLY = sys.argv[3:]
SEED = int(os.environ.get("SSID_SEED", "20260101"))
WORK = tempfile.mkdtemp(prefix="ssid-torture-", dir="/var/tmp")
VIEW = os.path.join(WORK, "view")
HOME = os.path.join(WORK, "home")  # the same directory, as home sees it
AWAY = VIEW + HOME  # and as a guest does
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def run(*command, timeout=120, **kw):
    return subprocess.run(command, check=True, timeout=timeout, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **kw).stdout


class Carrier:
    def __init__(self, node, root="/"):
        self.node, self.root = node, root
        with socket.socket() as probe:  # a free port; restarts use it again
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.socket = f"{WORK}/{node}.sock"
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [CARRIER, "--config", "/dev/null", "--node", str(self.node), "--address", "127.0.0.1", "--port", str(self.port), "--key",
             f"{WORK}/key", "--socket", self.socket, "--root", self.root, "--force"],
            stdin=subprocess.DEVNULL, stderr=open(f"{WORK}/{self.node}.log", "a"))
        until(lambda: subprocess.run([CTL, "--socket", self.socket, "stats"], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, timeout=20).returncode == 0)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def ctl(self, *args):
        return run(CTL, "--socket", self.socket, *args, timeout=60)

    def stat(self, name):
        return int(dict(line.split() for line in self.ctl("stats").splitlines())[name])


def until(condition, timeout=20):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def fails_with(code, function, *args, **kw):
    try:
        function(*args, **kw)
    except OSError as e:
        assert e.errno == code, e
        return
    raise AssertionError(f"no errno {code}")


@test
def names():
    a = AWAY + "/names"
    os.mkdir(a)
    write(a + "/f", b"one")
    os.link(a + "/f", a + "/hard")
    assert os.stat(a + "/f").st_nlink == 2 and os.stat(a + "/hard").st_ino == os.stat(a + "/f").st_ino
    assert os.stat(a + "/f").st_ino == os.stat(HOME + "/names/f").st_ino
    os.symlink("f", a + "/sym")
    assert read(a + "/sym") == b"one" and os.readlink(HOME + "/names/sym") == "f"
    os.mkfifo(a + "/fifo")
    os.mknod(a + "/null", 0o666 | 0o020000, os.makedev(1, 3))
    write(a + "/null", b"into the void")
    fails_with(errno.EEXIST, os.mkdir, a + "/f")
    fails_with(errno.ENOTEMPTY, os.rmdir, a)
    fails_with(errno.ENAMETOOLONG, os.mkdir, a + "/" + "x" * 256)
    write(a + "/g", b"two")
    with open(a + "/g", "rb") as open_g:
        os.rename(a + "/f", a + "/g")  # over an open file
        assert open_g.read() == b"two" and read(a + "/g") == b"one"
        assert os.fstat(open_g.fileno()).st_nlink == 0
    with open(a + "/g", "r+b") as f:
        os.unlink(a + "/g")
        f.write(b"unlinked, still here")
        f.flush()
        assert os.pread(f.fileno(), 8, 0) == b"unlinked"
        os.ftruncate(f.fileno(), 3)
        assert os.fstat(f.fileno()).st_size == 3
    os.mkdir(a + "/d1")
    os.mkdir(a + "/d2")
    os.rename(a + "/d1", a + "/d2/in")
    assert os.listdir(a + "/d2") == ["in"]
    # A change at home is seen.
    write(HOME + "/names/later", b"x")
    assert read(a + "/later") == b"x"
    write(HOME + "/names/later", b"longer")
    until(lambda: os.stat(a + "/later").st_size == 6, 3)
    assert read(a + "/later") == b"longer"
    os.unlink(HOME + "/names/later")
    until(lambda: not os.path.exists(a + "/later"), 3)
    # Content replaced in place with the same size is seen by whoever opens the file then.
    for i in range(20):
        write(HOME + "/names/same", b"%04d" % i)
        assert read(a + "/same") == b"%04d" % i, i
    assert sorted(os.listdir(VIEW + "/proc")) == [] and os.listdir(VIEW + "/dev") == []
    many = a + "/many"
    os.mkdir(many)
    for i in range(3000):
        os.close(os.open(f"{HOME}/names/many/{i:05d}-{'n' * (i % 60)}", os.O_CREAT))
    assert sorted(os.listdir(many)) == sorted(os.listdir(HOME + "/names/many"))
    shutil.rmtree(many)
    assert not os.path.exists(HOME + "/names/many")


@test
def attributes():
    a = AWAY + "/attributes"
    os.mkdir(a)
    os.chmod(a, 0o777)
    write(a + "/f", b"x" * 1000)
    os.chmod(a + "/f", 0o4751)
    os.chown(a + "/f", 1000, 1001)
    os.utime(a + "/f", ns=(1_000_000_001, 2_000_000_003))
    st, home = os.stat(a + "/f"), os.stat(HOME + "/attributes/f")
    assert (st.st_uid, st.st_gid, st.st_mtime_ns, st.st_atime_ns) == (1000, 1001, 2_000_000_003, 1_000_000_001)
    for field in ("st_mode", "st_nlink", "st_size", "st_ino", "st_blocks", "st_ctime_ns", "st_mtime_ns"):
        assert getattr(st, field) == getattr(home, field), field
    os.setxattr(a + "/f", "user.k", b"v" * 100)
    assert os.getxattr(a + "/f", "user.k") == b"v" * 100 and os.listxattr(HOME + "/attributes/f") == ["user.k"]
    os.removexattr(a + "/f", "user.k")
    fails_with(errno.ENODATA, os.getxattr, a + "/f", "user.k")
    os.truncate(a + "/f", 10)
    assert os.stat(HOME + "/attributes/f").st_size == 10
    fs, local = os.statvfs(a), os.statvfs(HOME)
    assert fs.f_blocks == local.f_blocks and fs.f_bsize == local.f_bsize
    # As another user: what it makes is its own, and its permissions count.
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(1234, 1234, 1234)
            os.setresuid(1234, 1234, 1234)
            os.umask(0o027)
            fd = os.open(a + "/mine", os.O_CREAT | os.O_WRONLY, 0o666)
            assert os.fstat(fd).st_uid == 1234 and os.fstat(fd).st_mode & 0o777 == 0o640
            os.mkdir(a + "/mydir", 0o777)
            assert os.stat(a + "/mydir").st_mode & 0o777 == 0o750
            fails_with(errno.EACCES, os.listdir, VIEW + "/root")
            fails_with(errno.EPERM, os.chown, a + "/mine", 0, 0)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert os.stat(HOME + "/attributes/mine").st_uid == 1234


@test
def random_io():
    """fsx: random reads, writes, truncates and mappings, beside a shadow in memory."""
    rng = random.Random(SEED)
    path, size_max = AWAY + "/fsx", 1 << 20
    fds = [os.open(path, os.O_CREAT | os.O_RDWR), os.open(path, os.O_RDWR)]
    shadow = bytearray()
    for step in range(1500):
        fd = rng.choice(fds)
        at, size = rng.randrange(size_max), rng.randrange(1, 200_000)
        what = rng.randrange(6)
        if what <= 1:
            data = rng.randbytes(size)
            assert os.pwrite(fd, data, at) == size
            if len(shadow) < at + size:
                shadow.extend(bytes(at + size - len(shadow)))
            shadow[at:at + size] = data
        elif what == 2:
            assert os.pread(fd, size, at) == bytes(shadow[at:at + size]), f"step {step} seed {SEED}"
        elif what == 3 and rng.randrange(4) == 0:
            os.ftruncate(fd, at)
            del shadow[at:]
            shadow.extend(bytes(at - len(shadow)))
        elif what == 4 and shadow:
            with mmap.mmap(fd, len(shadow)) as mapped:
                at %= len(shadow)
                data = rng.randbytes(min(size, len(shadow) - at))
                assert mapped[at:at + len(data)] == bytes(shadow[at:at + len(data)]), f"step {step} seed {SEED}"
                mapped[at:at + len(data)] = data
                shadow[at:at + len(data)] = data
                if rng.randrange(2):
                    mapped.flush()
        elif what == 5 and rng.randrange(3) == 0:
            at, size = at & ~4095, (size & ~4095) + 4096
            if rng.randrange(2):
                os.posix_fallocate(fd, at, size)
                shadow.extend(bytes(max(0, at + size - len(shadow))))
            else:
                assert os.fstat(fd).st_size == len(shadow)
    for fd in fds:
        os.fsync(fd)
        os.close(fd)
    assert read(path) == bytes(shadow) and read(HOME + "/fsx") == bytes(shadow)


@test
def appends():
    path = AWAY + "/log"
    open(path, "w").close()
    lines = 200

    def append(where, tag):
        with open(where, "ab", buffering=0) as f:
            for i in range(lines):
                f.write(b"%s %05d\n" % (tag, i))

    threads = [threading.Thread(target=append, args=(where, tag))
               for where, tag in ((path, b"a"), (path, b"b"), (HOME + "/log", b"c"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = read(HOME + "/log").splitlines()
    assert len(got) == 3 * lines and sorted(got) == sorted(
        b"%s %05d" % (tag, i) for tag in (b"a", b"b", b"c") for i in range(lines))


@test
def shared_mapping():
    write(AWAY + "/map", b"\0" * 65536)
    with open(AWAY + "/map", "r+b") as f, mmap.mmap(f.fileno(), 65536) as m:
        m[100:105] = b"hello"
        m.flush()
        assert read(HOME + "/map")[100:105] == b"hello"
        child = os.fork()
        if child == 0:
            m[200:205] = b"child"
            os._exit(0)
        os.waitpid(child, 0)
        assert m[200:205] == b"child"
    until(lambda: read(HOME + "/map")[200:205] == b"child", 10)


@test
def locks():
    write(AWAY + "/lock", b"x" * 100)
    mine, other = open(AWAY + "/lock", "r+b"), open(HOME + "/lock", "r+b")
    fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
    # The same process: only another one is kept out.
    script = ("import fcntl,sys\nf=open(sys.argv[1],'r+b')\n"
              "try: fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB,10,int(sys.argv[2])); print('got')\n"
              "except OSError: print('kept out')")
    for where in (AWAY, HOME):
        assert run(sys.executable, "-c", script, where + "/lock", "5") == "kept out\n"
        assert run(sys.executable, "-c", script, where + "/lock", "10") == "got\n"
    second = open(AWAY + "/lock", "r+b")
    second.close()  # POSIX: drops all locks of this process on the file
    assert run(sys.executable, "-c", script, HOME + "/lock", "5") == "got\n"
    fcntl.flock(mine, fcntl.LOCK_EX)
    fails_with(errno.EAGAIN, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    got = []
    waiter = threading.Thread(target=lambda: (fcntl.flock(other, fcntl.LOCK_EX), got.append(1)))
    waiter.start()
    time.sleep(0.1)
    assert not got
    fcntl.flock(mine, fcntl.LOCK_UN)
    waiter.join(10)
    assert got
    # Waiting can be interrupted, and does not keep others from working.
    sleepers = [subprocess.Popen([sys.executable, "-c",
                                  "import fcntl,sys; fcntl.flock(open(sys.argv[1]),fcntl.LOCK_EX)",
                                  AWAY + "/lock"]) for _ in range(40)]
    time.sleep(1.0)
    assert os.listdir(AWAY)
    begin = time.monotonic()
    for sleeper in sleepers[:39]:
        sleeper.terminate()
        sleeper.wait(10)
    assert time.monotonic() - begin < 5
    fcntl.flock(other, fcntl.LOCK_UN)
    assert sleepers[39].wait(10) == 0
    mine.close()
    other.close()


@test
def programs():
    a = AWAY + "/programs"
    os.mkdir(a)
    write(a + "/hello.c", b'#include <stdio.h>\n#include <math.h>\nint main(int c, char** v)'
                          b'{ printf("%.3f %d\\n", sqrt(c + 1.0), c); return 7; }\n')
    begin = time.monotonic()
    run("gcc", "-O1", "-o", "hello", "hello.c", "-lm", cwd=a)
    away_s = time.monotonic() - begin
    os.mkdir(HOME + "/programs2")
    shutil.copy(HOME + "/programs/hello.c", HOME + "/programs2/hello.c")
    begin = time.monotonic()
    run("gcc", "-O1", "-o", "hello", "hello.c", "-lm", cwd=HOME + "/programs2")
    home_s = time.monotonic() - begin
    print(f"    gcc: {away_s:.2f} s, local {home_s:.2f} s")
    done = subprocess.run([a + "/hello"], stdout=subprocess.PIPE, timeout=30)
    assert done.returncode == 7 and done.stdout == b"1.414 1\n"
    # The whole of a guest's world from there: its root is the view.
    inside = "import json, hashlib, os; print(json.dumps([os.getcwd(), len(os.listdir('/etc')) > 5]))"
    begin = time.monotonic()
    out = run("chroot", VIEW, "/usr/bin/python3", "-c", inside)
    print(f"    python3 under chroot: {time.monotonic() - begin:.2f} s")
    assert out == '["/", true]\n'
    assert run("chroot", VIEW, "/bin/sh", "-c", f"cd {HOME}/programs && gcc -o h2 hello.c -lm && ./h2; echo $?") \
        == "1.414 1\n7\n"
    if shutil.which("git"):
        env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null", HOME=a)
        ident = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        run("git", "init", "-q", ".", cwd=a, env=env)
        run("git", "add", "hello.c", cwd=a, env=env)
        run("git", *ident, "commit", "-q", "-m", "first", cwd=a, env=env)
        run("git", "gc", "-q", cwd=a, env=env)
        assert "first" in run("git", "log", "--oneline", cwd=a, env=env)
        assert run("git", "fsck", "--strict", cwd=HOME + "/programs",
                   env=dict(env, GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory",
                            GIT_CONFIG_VALUE_0="*")) is not None


@test
def twins():
    before = away.stat("view.1.twin_read_bytes")
    # Same size, owner, mode and time, another byte: must not be taken for the same. Here home and this node
    # are one machine, so the twin is the file itself; what is tested is that a change ends it.
    path, home = AWAY + "/twin", HOME + "/twin"
    write(home, random.Random(SEED).randbytes(300_000))
    os.chmod(home, 0o644)
    st = os.stat(home)
    read(path)
    until(lambda: away.stat("view.1.twins_found") > 0, 10)

    def fresh():
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        data = os.pread(fd, 400_000, 0)
        os.close(fd)
        return data

    until(lambda: fresh() == read(home) and away.stat("view.1.twin_read_bytes") > before, 10)
    with open(path, "rb") as held:
        changed = bytearray(read(home))
        changed[150_000] ^= 1
        with open(home, "r+b") as f:
            f.write(changed)
        os.utime(home, ns=(st.st_atime_ns, st.st_mtime_ns))
        assert os.stat(home).st_mtime_ns == st.st_mtime_ns
        assert fresh() == bytes(changed)
        os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        until(lambda: os.pread(held.fileno(), 300_000, 0) == bytes(changed), 3)
    # Another home, whose file at the same path looks alike and is not: same size, owner, mode and time.
    root = WORK + "/other"
    os.makedirs(root + HOME)
    data = random.Random(SEED).randbytes(300_000)
    write(home, data)
    write(root + home, data[:299_999] + bytes([data[-1] ^ 1]))
    for where in (home, root + home):
        os.chmod(where, 0o644)
        os.utime(where, ns=(10**18, 10**18))
    other = Carrier(3, root)
    view = WORK + "/view3"
    os.mkdir(view)
    try:
        away.ctl("mount", "3", "127.0.0.1", str(other.port), view)
        for _ in range(20):
            assert read(view + home) == read(root + home)
            if away.stat("view.3.twins_rejected"):
                break
            time.sleep(0.1)
        assert away.stat("view.3.twins_rejected") == 1
        fd = os.open(view + home, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(fd, 300_000, 0) == read(root + home)
        os.close(fd)
    finally:
        away.ctl("unmount", view)
        other.process.terminate()
        other.process.wait(20)
    print(f"    twins found {away.stat('view.1.twins_found')}, rejected {away.stat('view.1.twins_rejected')}")


@test
def speed():
    mib = 400
    write(HOME + "/big", random.Random(SEED).randbytes(1 << 20) * mib)
    os.chmod(HOME + "/big", 0o666)  # no twin: over the network

    def rate(what):
        begin = time.monotonic()
        what()
        return mib / (time.monotonic() - begin)

    def read_all(path):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        while os.read(fd, 1 << 20):
            pass
        os.close(fd)

    def write_all(path):
        block = bytes(1 << 20)
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for _ in range(mib):
            os.write(fd, block)
        os.close(fd)

    read_all(HOME + "/big")
    away_read = max(rate(lambda: read_all(AWAY + "/big")) for _ in range(2))
    again = rate(lambda: [os.read(fd, 1 << 20) for fd in [os.open(AWAY + "/big", os.O_RDONLY)] for _ in range(mib)])
    fd = os.open(HOME + "/big", os.O_RDONLY)
    local_read = rate(lambda: [os.read(fd, 1 << 20) for _ in range(mib)])
    away_write, local_write = rate(lambda: write_all(AWAY + "/w")), rate(lambda: write_all(HOME + "/w2"))
    print(f"    read  {away_read:6.0f} MiB/s, again {again:6.0f}, local page cache {local_read:6.0f}")
    print(f"    write {away_write:6.0f} MiB/s, local {local_write:6.0f}")
    calls = away.stat("view.1.calls")
    begin = time.monotonic()
    lines = run("ls", "-lR", VIEW + "/usr/share/doc").count("\n")
    away_s = time.monotonic() - begin
    calls = away.stat("view.1.calls") - calls
    begin = time.monotonic()
    run("ls", "-lR", "/usr/share/doc")
    print(f"    ls -lR: {lines} lines in {away_s:.2f} s ({calls} calls), local {time.monotonic() - begin:.2f} s")
    small = AWAY + "/small"
    os.mkdir(small)
    begin = time.monotonic()
    for i in range(1000):
        write(f"{small}/{i}", b"some bytes")
    away_s = time.monotonic() - begin
    os.mkdir(HOME + "/small2")
    begin = time.monotonic()
    for i in range(1000):
        write(f"{HOME}/small2/{i}", b"some bytes")
    print(f"    1000 small files: {away_s:.2f} s, local {time.monotonic() - begin:.2f} s")


@test
def home_restarted():
    """Home's carrier is killed in the midst, again and again; nobody notices but by waiting."""
    a = AWAY + "/restart"
    os.mkdir(a)
    write(a + "/data", random.Random(SEED).randbytes(8 << 20))
    want = read(HOME + "/restart/data")
    stop, errors, rounds = threading.Event(), [], [0, 0, 0]

    def worker(index, body):
        try:
            while not stop.is_set():
                body(rounds[index])
                rounds[index] += 1
        except BaseException as e:  # noqa: BLE001
            errors.append((index, repr(e)))

    held = os.open(a + "/data", os.O_RDWR)
    log = open(a + "/log", "ab", buffering=0)

    def reads(n):
        at = n * 99991 % len(want)
        os.posix_fadvise(held, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(held, 300_000, at) == want[at:at + 300_000]

    def appends_(n):
        log.write(b"%08d\n" % n)

    def makes(n):
        d = f"{a}/d{n}"
        os.mkdir(d)
        write(d + "/f", b"%d" % n)
        os.rename(d + "/f", d + "/g")
        assert read(d + "/g") == b"%d" % n
        os.unlink(d + "/g")
        os.rmdir(d)

    threads = [threading.Thread(target=worker, args=(i, body)) for i, body in enumerate((reads, appends_, makes))]
    for thread in threads:
        thread.start()
    for _ in range(6):
        time.sleep(0.5)
        home.kill()
        time.sleep(0.1)
        home.start()
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not errors, errors
    lines = read(HOME + "/restart/log").splitlines()
    doubled = [line for n, line in enumerate(lines) if line in lines[max(0, n - 3):n]]
    assert lines == [b"%08d" % n for n in range(rounds[1])], f"{len(lines)} lines of {rounds[1]}, doubled {doubled}"
    # A lock is held over it, too.
    lockfile = open(a + "/lock", "wb")
    fcntl.lockf(lockfile, fcntl.LOCK_EX)
    home.kill()
    home.start()
    os.stat(a + "/lock")
    lockfile.write(b"x")
    lockfile.flush()
    until(lambda: blocked(HOME + "/restart/lock"), 5)
    # Home away: whoever waits can be killed.
    home.kill()
    victim = subprocess.Popen(["cat", a + "/data"], stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    assert victim.poll() is None
    victim.kill()
    victim.wait(10)
    home.start()
    assert read(a + "/data") == want
    os.close(held)
    print(f"    rounds: {rounds[0]} reads, {rounds[1]} appends, {rounds[2]} made and removed; "
          f"{away.stat('view.1.new_sessions')} new sessions")


def blocked(path):
    with open(path, "r+b") as f:
        try:
            fcntl.fcntl(f, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # OFD_SETLK
            return False
        except OSError:
            return True


def main():
    global home, away
    os.mkdir(VIEW)
    os.mkdir(HOME)
    os.chmod(WORK, 0o755)
    write(WORK + "/key", os.urandom(128))
    os.chmod(WORK + "/key", 0o600)
    home, away = Carrier(1), Carrier(2)
    failed = 0
    try:
        away.ctl("mount", "1", "127.0.0.1", str(home.port), VIEW)
        for function in TESTS:
            if ONLY and function.__name__ not in ONLY:
                continue
            begin = time.monotonic()
            print(f"{function.__name__} ...", flush=True)
            try:
                function()
                print(f"    ok, {time.monotonic() - begin:.1f} s", flush=True)
            except Exception:  # noqa: BLE001
                import traceback
                traceback.print_exc()
                print(f"    FAILED; again: SSID_SEED={SEED} torture.py ... {function.__name__}", flush=True)
                failed += 1
        away.ctl("unmount", "--force", VIEW)
    finally:
        for carrier in (away, home):
            carrier.process.terminate()
            try:
                carrier.process.wait(20)
            except subprocess.TimeoutExpired:
                carrier.process.kill()
                print("a carrier did not end", flush=True)
                failed += 1
        for node in (1, 2):
            log = open(f"{WORK}/{node}.log").read()
            if failed or "Sanitizer" in log or "runtime error" in log:
                failed += 1
                print(log)
        subprocess.run(["umount", "-l", VIEW], stderr=subprocess.DEVNULL)
        shutil.rmtree(WORK, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
