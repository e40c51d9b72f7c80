#!/usr/bin/python3
"""posix_fs.py DIR: does the file system of DIR do what POSIX says? To be run as root; what ordinary users may is tried as
uids that have no names. Prints a line for each check that fails (`group: what: got X, not Y`), and at the end
how many there were. Exit status 1 if one failed.

Tables of cases, in groups: whoever adds one runs it on a local file system first. pjdfstest was not to be had as a Debian
package; the cases are our own, by the text of the standard (and Linux' manual pages where it leaves a choice).
Long because it is a list."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import signal
import socket
import stat
import struct
import sys
import tempfile
import time

OWNER, GROUP, OTHER = (3001, 3101), (3002, 3102), (3003, 3103)  # uid, gid
TICK_S = 0.012  # file systems' clocks stand still for a tick of the kernel
BASE = os.path.realpath(sys.argv[1])
LIBC = ctypes.CDLL(None, use_errno=True)
GROUPS = []
ran = failed = skipped = 0
group_name = ""


class AnyOf(tuple):
    """The standard leaves a choice."""


def any_of(*values):
    return AnyOf(values)


def group(function):
    GROUPS.append(function)
    return function


def result(function, *args, **kw):
    """What a call gives: the name of its errno, or its value."""
    try:
        return function(*args, **kw)
    except OSError as e:
        return errno.errorcode.get(e.errno, e.errno)


def check(what, got, wanted=None):
    global ran, failed
    ran += 1
    if got in wanted if isinstance(wanted, AnyOf) else got == wanted:
        return
    failed += 1
    print(f"{group_name}: {what}: got {repr(got)[:200]}, not {repr(wanted)[:200]}", flush=True)


def ok(what, condition):
    check(what, bool(condition), True)


@contextlib.contextmanager
def user(who, *groups):
    os.setgroups(groups)
    os.setegid(who[1])
    os.seteuid(who[0])
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


@contextlib.contextmanager
def umask(mask):
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def make(path, data=b"", mode=0o644, who=(0, 0)):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    if data:
        os.write(fd, data)
    os.close(fd)
    os.chown(path, *who)
    os.chmod(path, mode)
    return path


def make_dir(path, mode=0o755, who=(0, 0)):
    os.mkdir(path)
    os.chown(path, *who)
    os.chmod(path, mode)
    return path


def opened(path, flags=os.O_RDONLY, mode=0o644):
    """Opens and closes."""
    os.close(os.open(path, flags, mode))


def data_of(path):
    with open(path, "rb") as file:
        return file.read()


def perms(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def owner(path):
    st = os.lstat(path)
    return st.st_uid, st.st_gid


def exists(path):
    return os.path.lexists(path)


def execute(path):
    """errno of an execve in a child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.execv(path, ["program"])
        except OSError as e:
            os.write(writer, errno.errorcode[e.errno].encode())
        finally:
            os._exit(0)
    os.close(writer)
    said = os.read(reader, 100).decode()
    os.close(reader)
    os.waitpid(child, 0)
    return said or None


# ---- paths

# Each with a path to work on; those that make something are given a name that is not there.
WALKERS = {
    "open": opened,
    "open O_WRONLY": lambda p: opened(p, os.O_WRONLY),
    "open O_DIRECTORY": lambda p: opened(p, os.O_DIRECTORY),
    "creat": lambda p: opened(p, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    "creat O_EXCL": lambda p: opened(p, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "mkdir": os.mkdir,
    "rmdir": os.rmdir,
    "unlink": os.unlink,
    "link from": lambda p: os.link(p, "linked"),
    "link to": lambda p: os.link("there", p),
    "symlink": lambda p: os.symlink("target", p),
    "rename from": lambda p: os.rename(p, "renamed"),
    "rename to": lambda p: os.rename("there", p),
    "stat": os.stat,
    "lstat": os.lstat,
    "access": lambda p: access(p, os.F_OK),
    "chmod": lambda p: os.chmod(p, 0o644),
    "chown": lambda p: os.chown(p, 1, 1),
    "lchown": lambda p: os.lchown(p, 1, 1),
    "truncate": lambda p: os.truncate(p, 0),
    "utimensat": lambda p: os.utime(p),
    "readlink": os.readlink,
    "mkfifo": os.mkfifo,
    "mknod": lambda p: os.mknod(p, stat.S_IFREG | 0o644),
    "opendir": os.listdir,
    "chdir": os.chdir,
    "statvfs": os.statvfs,
    "execve": lambda p: raise_errno(execute(p)),
}
MAKERS = ("creat", "creat O_EXCL", "mkdir", "link to", "symlink", "rename to", "mkfifo", "mknod")


def raise_errno(name):
    if name:
        raise OSError(getattr(errno, name), name)


def access(path, mode):
    if LIBC.euidaccess(os.fsencode(path), mode) != 0:
        raise OSError(ctypes.get_errno(), path)


@group
def paths():
    make("there", b"x")
    make("file")
    os.symlink("loop2", "loop1")
    os.symlink("loop1", "loop2")
    os.symlink("nowhere", "dangling")
    make_dir("shut", 0o644)
    make("shut/file")
    long_path = "/".join(["d" * 200] * 25)
    for name, call in WALKERS.items():
        check(f"{name} below what is not there", result(call, "none/x"), "ENOENT")
        check(f"{name} below a file", result(call, "file/x"), "ENOTDIR")
        check(f"{name} below a loop of links", result(call, "loop1/x"), "ELOOP")
        check(f"{name} below a dangling link", result(call, "dangling/x"), "ENOENT")
        check(f"{name} of a name of 256 bytes", result(call, "n" * 256), "ENAMETOOLONG")
        check(f"{name} below a name of 256 bytes", result(call, "n" * 256 + "/x"), "ENAMETOOLONG")
        check(f"{name} of a path of 5000 bytes", result(call, long_path), "ENAMETOOLONG")
        check(f"{name} of an empty path", result(call, ""), "ENOENT")
        if name not in MAKERS:
            check(f"{name} of what is not there", result(call, "none"), "ENOENT")
    os.chmod(".", 0o777)
    os.chmod("there", 0o666)
    with user(OTHER):
        for name, call in WALKERS.items():
            if name != "link to":  # whose file it is, is looked at first
                check(f"{name} where one may not search", result(call, "shut/file"), "EACCES")
    ok("nothing was made or removed", sorted(os.listdir(".")) == ["dangling", "file", "loop1", "loop2", "shut", "there"])


@group
def long_names():
    name = "n" * 255
    make("there")
    for what, call in (("creat", WALKERS["creat"]), ("mkdir", os.mkdir), ("symlink", WALKERS["symlink"]),
                       ("mkfifo", os.mkfifo), ("mknod", WALKERS["mknod"]), ("link", WALKERS["link to"])):
        check(f"{what} of a name of 255 bytes", result(call, name), None)
        check(f"{what}: it is listed", sorted(os.listdir(".")), [name, "there"])
        (os.rmdir if what == "mkdir" else os.unlink)(name)
    for name in ("ä" * 127, "a b\tc\nd", "-rf", "*?[]", "'\"\\", b"\xff\xfe\x01".decode("utf8", "surrogateescape")):
        make(name, b"it")
        check(f"a file named {name!r}", (data_of(name), name in os.listdir(".")), (b"it", True))
        os.unlink(name)
    deep = "/".join(["d" * 100] * 30)
    os.makedirs(deep)
    make(deep + "/f", b"deep")
    check("a path of 3000 bytes", data_of(deep + "/f"), b"deep")


KINDS = ("file", "dir", "fifo", "link", "dangling", "socket", "device")


def make_kinds():
    make("file", b"file")
    make_dir("dir")
    os.mkfifo("fifo")
    os.symlink("file", "link")
    os.symlink("nowhere", "dangling")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket")
    os.mknod("device", 0o020666, os.makedev(1, 3))


@group
def kinds():
    make_kinds()
    types = {"file": stat.S_ISREG, "dir": stat.S_ISDIR, "fifo": stat.S_ISFIFO, "link": stat.S_ISLNK, "dangling": stat.S_ISLNK,
             "socket": stat.S_ISSOCK, "device": stat.S_ISCHR}
    for kind in KINDS:
        ok(f"lstat says that {kind} is one", types[kind](os.lstat(kind).st_mode))
        for name in MAKERS[1:]:
            if name != "rename to":
                check(f"{name} where there is a {kind}", result(WALKERS[name], kind), "ENOENT" if name == "link to" else "EEXIST")
    make("there")
    for kind in KINDS:
        check(f"link where there is a {kind}", result(os.link, "there", kind), "EEXIST")
        check(f"rmdir of a {kind}", result(os.rmdir, kind + "x" if kind == "dir" else kind),
              "ENOENT" if kind == "dir" else "ENOTDIR")
        check(f"readlink of a {kind}", result(os.readlink, kind), {"link": "file", "dangling": "nowhere"}.get(kind, "EINVAL"))
        check(f"{kind}/ as a directory", result(os.stat, kind + "/.") if kind != "dir" else "ENOTDIR",
              "ENOENT" if kind == "dangling" else "ENOTDIR")
        check(f"O_DIRECTORY of a {kind}", result(opened, kind, os.O_DIRECTORY | os.O_NONBLOCK),
              {"dir": None, "dangling": "ENOENT"}.get(kind, "ENOTDIR"))
        check(f"O_NOFOLLOW of a {kind}", result(opened, kind, os.O_NOFOLLOW | os.O_NONBLOCK) if kind != "device" else None,
              {"link": "ELOOP", "dangling": "ELOOP", "socket": "ENXIO"}.get(kind))
    seen = {entry.name: (entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False), entry.is_symlink())
            for entry in os.scandir(".")}
    for kind in KINDS:
        check(f"a listing knows a {kind}", seen[kind], (kind == "file", kind == "dir", kind in ("link", "dangling")))
    check("device number", os.stat("device").st_rdev, os.makedev(1, 3))
    check("open of a fifo for writing, without readers", result(opened, "fifo", os.O_WRONLY | os.O_NONBLOCK), "ENXIO")
    check("open of a socket", result(opened, "socket"), "ENXIO")
    check("connect to a socket nobody listens to", result(socket.socket(socket.AF_UNIX).connect, "socket"), "ECONNREFUSED")
    check("open of a directory for writing", result(opened, "dir", os.O_WRONLY), "EISDIR")
    check("open of a directory O_RDWR", result(opened, "dir", os.O_RDWR), "EISDIR")
    check("O_CREAT of a directory", result(opened, "dir", os.O_CREAT | os.O_RDONLY), "EISDIR")
    check("O_TRUNC of a directory", result(opened, "dir", os.O_TRUNC | os.O_WRONLY), "EISDIR")
    check("O_CREAT of a dangling link", result(opened, "dangling", os.O_CREAT | os.O_WRONLY), None)
    check("it made what the link names", stat.S_ISREG(os.lstat("nowhere").st_mode), True)
    check("unlink of a directory", result(os.unlink, "dir"), "EISDIR")
    check("truncate of a directory", result(os.truncate, "dir", 0), "EISDIR")
    check("truncate of a fifo", result(os.truncate, "fifo", 0), "EINVAL")
    check("link to a directory", result(os.link, "dir", "dir2"), "EPERM")
    check("execve of a directory", execute("dir"), "EACCES")
    check("execve without x", execute("file"), "EACCES")
    check("mknod of a directory", result(os.mknod, "made", stat.S_IFDIR | 0o755), any_of("EPERM", "EINVAL"))
    with user(OWNER):
        check("mknod of a device by an ordinary user", result(os.mknod, "made", 0o020666, os.makedev(1, 3)), any_of("EPERM", "EACCES"))
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("fifo", os.O_WRONLY)
    os.write(writer, b"through")
    check("through a fifo", os.read(reader, 100), b"through")
    os.close(writer)
    os.close(reader)
    for kind in KINDS:
        (os.rmdir if kind == "dir" else os.unlink)(kind)
        ok(f"a {kind} is removed", not exists(kind))


@group
def slashes():
    make("file")
    os.mkdir("dir")
    os.symlink("dir", "link")
    for what, got, wanted in (
            ("open file/", result(opened, "file/"), "ENOTDIR"),
            ("stat file/", result(os.stat, "file/"), "ENOTDIR"),
            ("unlink file/", result(os.unlink, "file/"), "ENOTDIR"),
            ("rename file/", result(os.rename, "file/", "x"), "ENOTDIR"),
            ("rename to new/", result(os.rename, "file", "x/"), "ENOTDIR"),
            ("creat new/", result(WALKERS["creat"], "new/"), "EISDIR"),
            ("mkdir new/", result(os.mkdir, "new/"), None),
            ("rmdir new//", result(os.rmdir, "new//"), None),
            ("rmdir .", result(os.rmdir, "dir/."), "EINVAL"),
            ("rmdir ..", result(os.rmdir, "dir/.."), "ENOTEMPTY"),
            ("rename .", result(os.rename, "dir/.", "x"), "EBUSY"),
            ("rename ..", result(os.rename, "dir/..", "x"), "EBUSY"),
            ("rename to .", result(os.rename, "dir", "dir/."), any_of("EBUSY", "EINVAL")),
            ("unlink .", result(os.unlink, "dir/."), any_of("EISDIR", "EINVAL", "EPERM")),
            ("mkdir .", result(os.mkdir, "dir/."), "EEXIST"),
            ("mkdir ..", result(os.mkdir, "dir/.."), "EEXIST"),
            ("lstat link/", stat.S_ISDIR(os.lstat("link/").st_mode), True),
            ("rmdir link/", result(os.rmdir, "link/"), "ENOTDIR"),
            ("unlink link/", result(os.unlink, "link/"), any_of("ENOTDIR", "EISDIR")),
            ("rename dir/ dir2/", result(os.rename, "dir/", "dir2/"), None),
            ("// in between", stat.S_ISDIR(os.stat(".//dir2///").st_mode), True)):
        check(what, got, wanted)


# ---- names

@group
def renames():
    def fresh():
        for name in os.listdir("."):
            shutil.rmtree(name) if os.path.isdir(name) and not os.path.islink(name) else os.unlink(name)
        make("a", b"a")
        make("b", b"b")
        os.mkdir("d")
        os.mkdir("e")
        os.mkdir("full")
        make("full/x", b"x")
        os.symlink("a", "s")
        os.mkfifo("p")

    cases = (
        ("file to new", "a", "new", None), ("file over file", "a", "b", None), ("file over directory", "a", "d", "EISDIR"),
        ("file over itself", "a", "a", None), ("directory over file", "d", "a", "ENOTDIR"),
        ("directory over empty directory", "d", "e", None), ("directory over full directory", "d", "full", "ENOTEMPTY"),
        ("directory into itself", "full", "full/in", "EINVAL"), ("directory into its child", "full", "full/x/y", any_of("EINVAL", "ENOTDIR")),
        ("directory over its parent", "full/x", "full", any_of("EISDIR", "ENOTEMPTY")), ("link over file", "s", "a", None),
        ("file over link", "a", "s", None), ("fifo over file", "p", "a", None), ("link over directory", "s", "d", "EISDIR"),
        ("directory over link", "d", "s", "ENOTDIR"), ("directory into directory", "full", "d/in", None),
        ("file out of a directory", "full/x", "x", None), ("what is not there", "none", "x", "ENOENT"),
        ("what is not there over file", "none", "a", "ENOENT"))
    for what, source, target, wanted in cases:
        fresh()
        before = os.lstat(source).st_ino if exists(source) else 0
        check(what, result(os.rename, source, target), wanted)
        if wanted is None:
            check(f"{what}: it is the same file", os.lstat(target).st_ino, before)
            ok(f"{what}: the old name is gone", source == target or not exists(source))
        elif source != "none":
            ok(f"{what}: all is as it was", exists(source))
    fresh()
    os.link("a", "hard")
    check("over another link to it", result(os.rename, "a", "hard"), None)
    ok("both names are there still", exists("a") and exists("hard") and os.stat("a").st_nlink == 2)
    fresh()
    with open("b", "rb") as file:
        os.rename("a", "b")
        check("an open file that was replaced", (file.read(), os.fstat(file.fileno()).st_nlink), (b"b", 0))
    fresh()
    with open("full/x", "rb") as file:
        os.rename("full", "moved")
        check("an open file in a directory that was moved", file.read(), b"x")
        check("and by its new path", data_of("moved/x"), b"x")
        ok(".. leads to where it is now", os.path.samefile("moved/..", "."))
    os.mkdir("deep")
    os.rename("moved", "deep/moved")
    ok(".. of a directory in another one", os.path.samefile("deep/moved/..", "deep"))

    def renameat2(source, target, flags):
        if LIBC.renameat2(-100, source.encode(), -100, target.encode(), flags) != 0:
            raise OSError(ctypes.get_errno(), "renameat2")
    fresh()
    check("RENAME_NOREPLACE over a file", result(renameat2, "a", "b", 1), "EEXIST")
    check("RENAME_NOREPLACE to a new name", result(renameat2, "a", "c", 1), None)
    check("RENAME_EXCHANGE", (result(renameat2, "c", "full", 2), data_of("full"), data_of("c/x")), (None, b"a", b"x"))
    check("RENAME_EXCHANGE with what is not there", result(renameat2, "b", "none", 2), "ENOENT")


@group
def links():
    make("a", b"a")
    for count in range(2, 6):
        os.link("a", f"l{count}")
        check("number of links", (os.stat("a").st_nlink, os.stat(f"l{count}").st_nlink), (count, count))
        check("the same file", os.stat(f"l{count}").st_ino, os.stat("a").st_ino)
    os.chmod("l2", 0o600)
    check("chmod is seen by the other name", perms("a"), 0o600)
    with open("l3", "ab") as file:
        file.write(b"bc")
    check("a write is seen by the other name", (data_of("a"), os.stat("l4").st_size), (b"abc", 3))
    for count in (4, 3, 2):
        os.unlink(f"l{count + 1}")
        check("number of links", os.stat("a").st_nlink, count)
    os.symlink("a", "s")
    os.link("s", "s2", follow_symlinks=False)
    ok("a link to a symbolic link", os.path.islink("s2") and os.lstat("s").st_nlink == 2)
    at_symlink_follow = 0x400
    LIBC.linkat(-100, b"s", -100, b"h", at_symlink_follow)
    ok("a link to what it names", os.lstat("h").st_ino == os.stat("a").st_ino)
    for length in (1, 100, 1000, 4000, 4095):
        os.symlink("t" * length, f"long{length}")
        check(f"a link of {length} bytes", (len(os.readlink(f"long{length}")), os.lstat(f"long{length}").st_size), (length, length))
    check("a link of 4096 bytes", result(os.symlink, "t" * 4096, "long"), "ENAMETOOLONG")
    check("an empty link", result(os.symlink, "", "empty"), "ENOENT")
    for depth in range(40):
        os.symlink(f"chain{depth + 1}", f"chain{depth}")
    make("chain40", b"end")
    check("40 links in a row", data_of("chain0"), b"end")
    os.symlink("chain0", "chain-1")
    check("41 links in a row", result(os.stat, "chain-1"), "ELOOP")
    with open("a", "r+b") as file:
        for name in ("a", "l2", "h"):
            os.unlink(name)
        check("links of a file without names", os.fstat(file.fileno()).st_nlink, 0)
        file.write(b"still")
        file.flush()
        file.seek(0)
        check("what is in a file without names", file.read(), b"still")
        os.ftruncate(file.fileno(), 2)
        os.fchmod(file.fileno(), 0o640)
        os.fchown(file.fileno(), 5, 6)
        st = os.fstat(file.fileno())
        check("attributes of a file without names", (st.st_size, stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid), (2, 0o640, 5, 6))


@group
def elsewhere():
    """Between file systems: no link, no rename."""
    other = next((d for d in ("/dev/shm", "/tmp", "/run", "/var/tmp") if os.path.isdir(d) and
                  os.stat(d).st_dev != os.stat(".").st_dev and os.access(d, os.W_OK)), None)
    if other is None:
        return skip()
    there = tempfile.mkdtemp(dir=other)
    try:
        make("a")
        os.mkdir("d")
        make(there + "/b")
        check("rename to another file system", result(os.rename, "a", there + "/a"), "EXDEV")
        check("rename of a directory", result(os.rename, "d", there + "/d"), "EXDEV")
        check("rename from it", result(os.rename, there + "/b", "b"), "EXDEV")
        check("link to it", result(os.link, "a", there + "/a"), "EXDEV")
        check("link from it", result(os.link, there + "/b", "b"), "EXDEV")
        check("move", (shutil.move("a", there + "/a"), os.path.exists("a")), (there + "/a", False))
    finally:
        shutil.rmtree(there)


def skip():
    global skipped
    skipped += 1
    print(f"{group_name}: skipped", flush=True)


@group
def directories():
    os.mkdir("d")
    names = {f"name{i}" * (1 + i % 20) for i in range(2000)}
    for name in names:
        make("d/" + name)
    check("2000 names", set(os.listdir("d")), names)
    check("rmdir of a full one", result(os.rmdir, "d"), "ENOTEMPTY")
    with os.scandir("d") as entries:  # removed while they are read
        for entry in entries:
            os.unlink(entry.path)
    check("nothing is left", os.listdir("d"), [])
    fd = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
    make("d/late")
    check("a listing by a descriptor", os.listdir(fd), ["late"])
    os.unlink("late", dir_fd=fd)
    check("rmdir", result(os.rmdir, "d"), None)
    check("a removed directory that is open is empty", os.listdir(fd), [])
    check("and takes no names", result(os.open, "x", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd), "ENOENT")
    check("nor directories", result(os.mkdir, "x", dir_fd=fd), "ENOENT")
    os.close(fd)
    os.mkdir("here")
    os.chdir("here")
    os.rmdir("../here")
    check("creat where the working directory is gone", result(WALKERS["creat"], "x"), "ENOENT")
    check("getcwd there", result(os.getcwd), "ENOENT")
    os.chdir("..")
    for i in range(50):  # the same name again and again
        os.mkdir("again")
        make("again/f", b"%d" % i)
        check("made again", data_of("again/f"), b"%d" % i)
        os.unlink("again/f")
        os.rmdir("again")
        ok("removed again", not exists("again"))


# ---- who may

@group
def permission_bits():
    """Each mode, for owner, group and others: what may be done, and that nothing else may."""
    for index, (who, shift) in enumerate(((OWNER, 6), (GROUP, 3), (OTHER, 0))):
        groups = [OWNER[1]] if who is GROUP else []
        label = ("owner", "group", "others")[index]
        for bits in range(8):
            # What the other classes may must not matter.
            mode = (0o777 & ~(7 << shift)) | bits << shift
            r, w, x = bits & 4, bits & 2, bits & 1
            make("f", b"#!/bin/true\n", mode, OWNER)
            d = make_dir("d", 0o777, OWNER)
            make("d/f", b"x", 0o666, OWNER)
            os.chmod(d, mode)
            with user(who, *groups):
                for what, call, may in (
                        ("read", lambda: opened("f"), r),
                        ("write", lambda: opened("f", os.O_WRONLY), w),
                        ("both", lambda: opened("f", os.O_RDWR), r and w),
                        ("truncate", lambda: os.truncate("f", 12), w),
                        ("access R_OK", lambda: access("f", os.R_OK), r),
                        ("access W_OK", lambda: access("f", os.W_OK), w),
                        ("access X_OK", lambda: access("f", os.X_OK), x),
                        ("list", lambda: os.listdir("d") and None, r),
                        ("search", lambda: os.stat("d/f") and None, x),
                        ("chdir", lambda: (os.chdir("d"), os.chdir(".."))[0], x),
                        ("create", lambda: opened("d/new", os.O_CREAT | os.O_EXCL | os.O_WRONLY), w and x),
                        ("mkdir", lambda: os.mkdir("d/dir"), w and x),
                        ("rename", lambda: os.rename("d/f", "d/g"), w and x)):
                    check(f"{label} {bits:o}: {what}", result(call), None if may else "EACCES")
            os.chmod(d, 0o777)
            shutil.rmtree(d)
            os.unlink("f")


@group
def root_may():
    for mode in (0o000, 0o200, 0o400, 0o100):
        make("f", b"x", mode, OWNER)
        make_dir("d", mode, OWNER)
        check(f"root reads {mode:o}", result(data_of, "f"), b"x")
        check(f"root writes {mode:o}", result(opened, "f", os.O_WRONLY), None)
        check(f"root makes in {mode:o}", result(make, "d/f"), "d/f")
        check(f"root lists {mode:o}", result(os.listdir, "d"), ["f"])
        check(f"root executes {mode:o}", result(access, "f", os.X_OK), None if mode & 0o111 else "EACCES")
        os.unlink("f")
        shutil.rmtree("d")


@group
def modes():
    make("f", b"", 0o644, OWNER)
    for mode in (0, 0o777, 0o4755, 0o2755, 0o1777, 0o6755, 0o7777, 0o600):
        os.chmod("f", mode)
        check(f"root: chmod {mode:o}", perms("f"), mode)
    make_dir("d", 0o755, OWNER)
    for mode in (0, 0o777, 0o4755, 0o2755, 0o1777, 0o7777):
        os.chmod("d", mode)
        check(f"root: chmod {mode:o} of a directory", perms("d"), mode)
    os.chmod("f", 0o644)
    with user(OTHER):
        check("chmod by another one", result(os.chmod, "f", 0o666), "EPERM")
        check("chown by another one", result(os.chown, "f", *OTHER), "EPERM")
    with user(GROUP, OWNER[1]):
        check("chmod by one of its group", result(os.chmod, "f", 0o666), "EPERM")
    with user(OWNER):
        for mode in (0, 0o777, 0o4755, 0o2755, 0o6711):
            check(f"owner: chmod {mode:o}", (result(os.chmod, "f", mode), perms("f")), (None, mode))
        check("owner gives it away", result(os.chown, "f", OTHER[0], -1), "EPERM")
        check("owner gives it to a group that is not his", result(os.chown, "f", -1, OTHER[1]), "EPERM")
        check("owner changes nothing", result(os.chown, "f", -1, -1), None)
    with user(OWNER, GROUP[1]):
        check("owner gives it to a group of his", (result(os.chown, "f", -1, GROUP[1]), owner("f")), (None, (OWNER[0], GROUP[1])))
    os.chown("f", OWNER[0], OTHER[1])
    with user(OWNER):
        os.chmod("f", 0o2755)
        check("set-gid of a group that is not his", perms("f"), 0o755)
    # What a change of owner or contents takes away.
    for mode, left in ((0o6755, 0o755), (0o4755, 0o755), (0o2755, 0o755), (0o755, 0o755)):
        make("f", b"x", mode, OWNER)
        os.chmod("f", mode)
        with user(OWNER):
            os.chown("f", -1, OWNER[1])
        check(f"chown by the owner of {mode:o}", perms("f"), left)
        make("f", b"x", mode, OWNER)
        os.chown("f", *OTHER)
        check(f"chown by root of {mode:o}", perms("f"), left)
        make("f", b"x", mode | 0o022, OWNER)
        os.chmod("f", mode | 0o022)
        with user(OTHER):
            fd = os.open("f", os.O_WRONLY)
            os.write(fd, b"y")
            os.close(fd)
        check(f"a write by another one to {mode | 0o022:o}", perms("f"), left | 0o022)
        os.chmod("f", mode | 0o022)
        with user(OTHER):
            os.truncate("f", 0)
        check(f"a truncate by another one of {mode | 0o022:o}", perms("f"), left | 0o022)
        make("f", b"x", mode, OWNER)
        os.chmod("f", mode)
        with open("f", "r+b") as file:
            file.write(b"z")
        check(f"a write by root to {mode:o}", perms("f"), mode)
        os.unlink("f")
    os.symlink("none", "s")
    os.lchown("s", 7, 8)
    check("owner of a link", owner("s"), (7, 8))
    os.symlink("d", "sd")
    os.chown("sd", 9, 10)
    check("chown follows a link", (owner("sd"), owner("d")), ((0, 0), (9, 10)))
    os.chmod("sd", 0o711)
    check("chmod follows a link", perms("d"), 0o711)


@group
def new_files():
    with umask(0):
        os.chmod(".", 0o777)
    makers = (("open", lambda m: opened("x", os.O_CREAT | os.O_WRONLY, m)), ("mkdir", lambda m: os.mkdir("x", m)),
              ("mkfifo", lambda m: os.mkfifo("x", m)), ("mknod", lambda m: os.mknod("x", stat.S_IFREG | m)))
    for who in ((0, 0), OWNER):
        for mask in (0, 0o022, 0o077, 0o777):
            for mode in (0o777, 0o640, 0o444):
                for what, call in makers:
                    with user(who), umask(mask):
                        call(mode)
                    check(f"{what} {mode:o}, umask {mask:o}, uid {who[0]}", (perms("x"), owner("x")), (mode & ~mask, who))
                    (os.rmdir if what == "mkdir" else os.unlink)("x")
    with user(OWNER), umask(0):
        fd = os.open("x", os.O_CREAT | os.O_RDWR, 0o000)
        check("a new file that nobody may write is written by who made it", os.write(fd, b"abc"), 3)
        os.close(fd)
        check("but not opened again", result(opened, "x", os.O_RDWR), "EACCES")
        os.unlink("x")
        os.symlink("y", "x")
    check("owner of a new link", owner("x"), OWNER)
    os.unlink("x")
    make_dir("sgid", 0o2777, (0, GROUP[1]))
    with user(OWNER), umask(0o022):
        for what, call in makers:
            os.chdir("sgid")
            call(0o666)
            os.chdir("..")
            check(f"group of {what} in a set-gid directory", owner("sgid/x")[1], GROUP[1])
            if what == "mkdir":
                ok("a directory in a set-gid directory is one", perms("sgid/x") & 0o2000)
            (os.rmdir if what == "mkdir" else os.unlink)("sgid/x")
        opened("sgid/x", os.O_CREAT | os.O_WRONLY, 0o2775)
        check("set-gid bit asked for in a group that is not his", perms("sgid/x"), 0o755)
        os.unlink("sgid/x")


@group
def sticky():
    """In a sticky directory only the owner of a file, of the directory, or root removes and renames it."""
    for sticky_bit in (0, 0o1000):
        for kind in ("file", "dir", "link"):
            for what, call in (("remove", lambda: (os.rmdir if kind == "dir" else os.unlink)("d/x")),
                               ("rename", lambda: os.rename("d/x", "d/y")),
                               ("rename over", lambda: os.rename("d/mine", "d/x"))):
                for who, may in (((0, 0), True), (OWNER, True), (GROUP, True), (OTHER, not sticky_bit)):
                    make_dir("d", 0o777, GROUP)
                    for name, its in (("d/x", OWNER), ("d/mine", who)):
                        if kind == "file":
                            make(name, b"", 0o666, its)
                        elif kind == "dir":
                            make_dir(name, 0o777, its)
                        else:
                            os.symlink("t", name)
                            os.lchown(name, *its)
                    os.chmod("d", 0o777 | sticky_bit)
                    with user(who):
                        check(f"{what} a {kind} of another one, mode {0o777 | sticky_bit:o}, uid {who[0]}", result(call),
                              None if may else "EPERM")
                    shutil.rmtree("d")


# ---- times

def times(path):
    st = os.lstat(path)
    return st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns


@group
def changed_times():
    """Which times a call sets: of the file (m: mtime, c: ctime), of its directory (both, or nothing)."""
    def write(path):
        fd = os.open(path, os.O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)

    cases = (
        ("write", lambda: write("d/f"), "mc", False), ("truncate to shorter", lambda: os.truncate("d/f", 1), "mc", False),
        ("truncate to longer", lambda: os.truncate("d/f", 100), "mc", False), ("truncate to the same", lambda: os.truncate("d/f", 3), "mc", False),
        ("O_TRUNC", lambda: opened("d/f", os.O_WRONLY | os.O_TRUNC), "mc", False),
        ("open for writing", lambda: opened("d/f", os.O_WRONLY), "", False), ("chmod", lambda: os.chmod("d/f", 0o600), "c", False),
        ("chown", lambda: os.chown("d/f", 1, 1), "c", False), ("link", lambda: os.link("d/f", "d/g"), "c", True),
        ("link elsewhere", lambda: os.link("d/f", "e/g"), "c", False), ("stat", lambda: os.stat("d/f"), "", False),
        ("rename", lambda: os.rename("d/f", "d/g"), "c", True), ("rename away", lambda: os.rename("d/f", "e/g"), "c", True),
        ("rename over", lambda: os.rename("e/other", "d/f"), "c", True), ("unlink of another link", lambda: os.unlink("d/l"), "c", True),
        ("setting times", lambda: os.utime("d/f", (5, 5)), "c", False), ("failing chmod", lambda: result(os.chmod, "d/f/x", 0), "", False),
        ("failing unlink", lambda: result(os.unlink, "d/none"), "", False), ("failing mkdir", lambda: result(os.mkdir, "d/f"), "", False),
        ("mkdir beside it", lambda: os.mkdir("d/new"), "", True), ("rmdir beside it", lambda: os.rmdir("d/sub"), "", True),
        ("creat beside it", lambda: opened("d/new", os.O_CREAT | os.O_WRONLY), "", True),
        ("creat of it", lambda: opened("d/f", os.O_CREAT | os.O_WRONLY), "", False),
        ("mkfifo beside it", lambda: os.mkfifo("d/new"), "", True), ("symlink beside it", lambda: os.symlink("x", "d/new"), "", True),
        ("unlink beside it", lambda: os.unlink("d/other"), "", True), ("fsync", lambda: fsync("d/f"), "", False))
    for what, call, changed, directory in cases:
        os.mkdir("d")
        os.mkdir("e")
        os.mkdir("d/sub")
        for name in ("d/f", "d/other", "e/other"):
            make(name, b"abc")
        os.link("d/f", "d/l")
        fd = os.open("d/l", os.O_RDONLY)
        target = os.stat("e/other").st_ino if what == "rename over" else os.fstat(fd).st_ino
        before, dir_before = times("e/other" if what == "rename over" else "d/f"), times("d")
        time.sleep(TICK_S)
        call()
        path = next(p for p in ("d/f", "d/g", "e/g", "d/l") if exists(p) and os.lstat(p).st_ino == target)
        after, dir_after = times(path), times("d")
        if what != "setting times":
            check(f"{what}: mtime", after[1] > before[1], "m" in changed)
        check(f"{what}: ctime", after[2] > before[2], "c" in changed)
        check(f"{what}: of the directory", (dir_after[1] > dir_before[1], dir_after[2] > dir_before[2]), (directory, directory))
        os.close(fd)
        shutil.rmtree("d")
        shutil.rmtree("e")


def fsync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


@group
def set_times():
    make("f", b"x", 0o644, OWNER)
    for a, m in ((0, 0), (1, 2), (10 ** 9, 2 * 10 ** 9 + 123456789), (3 * 10 ** 18, 17), (-5 * 10 ** 9, -1)):
        os.utime("f", ns=(a, m))
        check(f"times {a} {m}", times("f")[:2], (a, m))
    os.utime("f", ns=(1000, 2000))
    omit, now = 0x3ffffffe, 0x3fffffff

    def utimensat(path, a, m):
        spec = struct.pack("qqqq", 0, a, 0, m)
        if LIBC.utimensat(-100, path.encode(), spec, 0) != 0:
            raise OSError(ctypes.get_errno(), path)
    utimensat("f", omit, 77)
    check("only mtime", times("f")[:2], (1000, 77))
    utimensat("f", 88, omit)
    check("only atime", times("f")[:2], (88, 77))
    utimensat("f", omit, omit)
    check("neither", times("f")[:2], (88, 77))
    utimensat("f", now, omit)
    ok("atime now", abs(times("f")[0] / 1e9 - time.time()) < 60 and times("f")[1] == 77)
    utimensat("f", omit, now)
    ok("mtime now", abs(times("f")[1] / 1e9 - time.time()) < 60)
    check("nonsense", result(utimensat, "f", 10 ** 9, 0), "EINVAL")
    os.chmod("f", 0o666)
    with user(OTHER):
        check("now, by one who may write", result(os.utime, "f"), None)
        check("a time, by one who may write", result(os.utime, "f", (1, 1)), "EPERM")
        check("one of both now, by one who may write", result(utimensat, "f", now, omit), "EPERM")
    os.chmod("f", 0o644)
    with user(OTHER):
        check("now, by one who may not", result(os.utime, "f"), "EACCES")
        check("a time, by one who may not", result(os.utime, "f", (1, 1)), "EPERM")
    os.chmod("f", 0o444)
    with user(OWNER):
        check("now, by the owner", result(os.utime, "f"), None)
        check("a time, by the owner", result(os.utime, "f", (1, 1)), None)
    os.symlink("f", "s")
    os.utime("s", ns=(5, 6), follow_symlinks=False)
    check("times of a link", (times("s")[:2], times("f")[:2]), ((5, 6), (10 ** 9, 10 ** 9)))
    os.mkdir("d")
    os.utime("d", ns=(5, 6))
    check("times of a directory", times("d")[:2], (5, 6))
    fd = os.open("f", os.O_RDONLY)
    os.utime(fd, ns=(7, 8))
    check("times by a descriptor", times("f")[:2], (7, 8))
    os.close(fd)


# ---- contents

@group
def contents():
    fd = os.open("f", os.O_RDWR | os.O_CREAT, 0o644)
    check("write", os.write(fd, b"hello"), 5)
    check("read at the end", os.read(fd, 10), b"")
    check("pread", os.pread(fd, 3, 1), b"ell")
    check("pwrite beyond the end", os.pwrite(fd, b"!", 9999), 1)
    check("what is in the hole", os.pread(fd, 20000, 5), b"\0" * 9994 + b"!")
    check("size", os.fstat(fd).st_size, 10000)
    for size in (0, 1, 4095, 4096, 4097, 100000, 3):
        os.ftruncate(fd, size)
        check(f"ftruncate to {size}", (os.fstat(fd).st_size, os.stat("f").st_size), (size, size))
    check("what grew is zero", os.pread(fd, 10, 0), b"\0\0\0")
    for size in (100, 5000, 0):
        os.truncate("f", size)
        check(f"truncate to {size}", (os.fstat(fd).st_size, len(data_of("f"))), (size, size))
    check("ftruncate to -1", result(os.ftruncate, fd, -1), "EINVAL")
    check("truncate to -1", result(os.truncate, "f", -1), "EINVAL")
    check("lseek before the beginning", result(os.lseek, fd, -1, os.SEEK_SET), "EINVAL")
    check("lseek beyond the end", os.lseek(fd, 10 ** 9, os.SEEK_SET), 10 ** 9)
    os.close(fd)
    check("write to a closed one", result(os.write, fd, b"x"), "EBADF")
    fd = os.open("f", os.O_RDONLY)
    check("write to one opened for reading", result(os.write, fd, b"x"), "EBADF")
    check("ftruncate of one opened for reading", result(os.ftruncate, fd, 0), any_of("EINVAL", "EBADF"))
    check("fallocate of one opened for reading", result(os.posix_fallocate, fd, 0, 10), "EBADF")
    os.close(fd)
    fd = os.open("f", os.O_WRONLY)
    check("read from one opened for writing", result(os.read, fd, 1), "EBADF")
    os.close(fd)
    directory = os.open(".", os.O_RDONLY)
    check("read of a directory", result(os.read, directory, 1), "EISDIR")
    check("ftruncate of a directory", result(os.ftruncate, directory, 0), any_of("EINVAL", "EBADF"))
    os.close(directory)
    make("f", b"0123456789")
    fd = os.open("f", os.O_RDWR | os.O_APPEND)
    os.write(fd, b"a")
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"b")
    check("O_APPEND writes at the end", data_of("f"), b"0123456789ab")
    os.truncate("f", 2)
    os.write(fd, b"c")
    check("also when it has become shorter", data_of("f"), b"01c")
    os.close(fd)
    opened("f", os.O_WRONLY | os.O_TRUNC)
    check("O_TRUNC", os.stat("f").st_size, 0)
    check("O_EXCL without O_CREAT", result(opened, "f", os.O_RDONLY), None)
    for size in (1, 4096, 65536, 131072, 1 << 20, (1 << 20) + 1, 5 << 20):
        data = os.urandom(size)
        fd = os.open("big", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        check(f"a write of {size}", os.write(fd, data), size)
        ok(f"a read of {size}", os.pread(fd, size + 1, 0) == data)
        os.close(fd)
        ok(f"a read of {size} by another one", data_of("big") == data)
    parts = [b"one", b"", b"three" * 1000]
    fd = os.open("v", os.O_RDWR | os.O_CREAT, 0o644)
    check("writev", os.writev(fd, parts), 5003)
    check("readv", os.preadv(fd, [bytearray(3), bytearray(10000)], 0), 5003)
    os.close(fd)


@group
def space():
    fd = os.open("f", os.O_RDWR | os.O_CREAT, 0o644)
    check("posix_fallocate", (result(os.posix_fallocate, fd, 0, 100000), os.fstat(fd).st_size), (None, 100000))
    ok("it has blocks", os.fstat(fd).st_blocks * 512 >= 100000)
    keep_size = 1
    check("fallocate that keeps the size", (result(fallocate, fd, keep_size, 0, 200000), os.fstat(fd).st_size), (None, 100000))
    os.pwrite(fd, b"x" * 8192, 0)
    punch = result(fallocate, fd, 3, 0, 4096)
    if punch != "EOPNOTSUPP":
        check("a hole punched", (punch, os.pread(fd, 4097, 0)), (None, b"\0" * 4096 + b"x"))
    os.close(fd)
    fd = os.open("sparse", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"x", 10 << 20)
    ok("a hole takes no space", os.fstat(fd).st_blocks * 512 < 1 << 20)
    check("SEEK_DATA", os.lseek(fd, 0, os.SEEK_DATA), any_of(0, 10 << 20))
    check("SEEK_HOLE at the end", os.lseek(fd, 10 << 20, os.SEEK_HOLE), (10 << 20) + 1)
    check("SEEK_DATA behind the end", result(os.lseek, fd, 20 << 20, os.SEEK_DATA), "ENXIO")
    out = os.open("copy", os.O_RDWR | os.O_CREAT, 0o644)
    check("copy_file_range", os.copy_file_range(fd, out, 1000, (10 << 20) - 998, 0), 999)
    check("what it copied", os.pread(out, 2000, 0), b"\0" * 998 + b"x")
    os.ftruncate(out, 0)
    os.lseek(out, 0, os.SEEK_SET)
    check("sendfile", os.sendfile(out, fd, (10 << 20) - 9, 100), 10)
    os.close(fd)
    os.close(out)
    vfs = os.statvfs(".")
    ok("statvfs", vfs.f_bsize > 0 and vfs.f_blocks >= vfs.f_bfree >= 0 and vfs.f_namemax == 255)


def fallocate(fd, mode, offset, size):
    if LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


@group
def mappings():
    make("f", b"a" * 10000)
    fd = os.open("f", os.O_RDWR)
    with mmap.mmap(fd, 10000) as shared:
        shared[0:5] = b"hello"
        shared.flush()
        check("what was written to a mapping is read", os.pread(fd, 6, 0), b"helloa")
        os.pwrite(fd, b"WORLD", 5)
        check("what is written is in the mapping", shared[0:11], b"helloWORLDa")
        os.pwrite(fd, b"end", 9997)
        check("at its end", shared[9997:10000], b"end")
    with mmap.mmap(fd, 10000, mmap.MAP_PRIVATE) as private:
        private[0:5] = b"xxxxx"
        check("a private mapping is one's own", os.pread(fd, 5, 0), b"hello")
    os.close(fd)
    fd = os.open("f", os.O_RDONLY)
    check("a shared mapping for writing of one opened for reading", result(mmap.mmap, fd, 100), "EACCES")
    os.close(fd)
    check("it is all in the file", data_of("f")[:11], b"helloWORLDa")


@group
def busy_text():
    shutil.copy("/bin/sleep", "sleep")
    os.chmod("sleep", 0o755)
    child = os.posix_spawn("./sleep", ["sleep", "300"], {})
    try:
        check("writing to a program that runs", result(opened, "sleep", os.O_WRONLY), "ETXTBSY")
        check("truncating it", result(os.truncate, "sleep", 0), "ETXTBSY")
        check("reading it", result(opened, "sleep"), None)
        check("renaming it", result(os.rename, "sleep", "renamed"), None)
        check("removing it", result(os.unlink, "renamed"), None)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    shutil.copy("/bin/true", "true")
    os.chmod("true", 0o755)
    check("running a program", execute("./true"), None)
    fd = os.open("true", os.O_WRONLY)
    check("running what is open for writing", execute("./true"), "ETXTBSY")
    os.close(fd)
    check("running it later", execute("./true"), None)
    make("script", b"#!/bin/sh\nexit 0\n", 0o755)
    check("running a script", execute("./script"), None)
    make("nothing", b"nothing to run", 0o755)
    check("running what is no program", execute("./nothing"), "ENOEXEC")


# ---- locks, attributes

def in_child(function):
    """Its result (a text), in another process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(result(function)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    said = os.read(reader, 100).decode()
    os.close(reader)
    os.waitpid(child, 0)
    return said


@group
def locks():
    make("f", b"x" * 100)
    fd = os.open("f", os.O_RDWR)

    def lock(kind, start=0, length=0):
        other = os.open("f", os.O_RDWR)
        fcntl.lockf(other, kind | fcntl.LOCK_NB, length, start)
    exclusive, shared = fcntl.LOCK_EX, fcntl.LOCK_SH
    fcntl.lockf(fd, exclusive, 10, 20)
    for start, length, wanted in ((0, 20, "None"), (0, 21, "EAGAIN"), (29, 1, "EAGAIN"), (30, 0, "None"), (0, 0, "EAGAIN"), (25, 2, "EAGAIN")):
        check(f"record lock {start}+{length} beside 20+10", in_child(lambda: lock(exclusive, start, length)), wanted)
    fcntl.lockf(fd, fcntl.LOCK_UN, 5, 20)
    check("a part unlocked", (in_child(lambda: lock(exclusive, 20, 5)), in_child(lambda: lock(exclusive, 25, 1))), ("None", "EAGAIN"))
    fcntl.lockf(fd, shared, 10, 20)
    check("shared with shared", in_child(lambda: lock(shared, 20, 10)), "None")
    check("shared with exclusive", in_child(lambda: lock(exclusive, 20, 10)), "EAGAIN")

    def who():
        ask = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
        return struct.unpack("hhqqi4x", fcntl.fcntl(os.open("f", os.O_RDWR), fcntl.F_GETLK, ask))[0] != fcntl.F_UNLCK
    check("F_GETLK", in_child(who), "True")
    opened("f")  # a close of any descriptor ends the record locks
    check("after a close", (in_child(lambda: lock(exclusive)), in_child(who)), ("None", "False"))

    def flock(kind):
        fcntl.flock(os.open("f", os.O_RDWR), kind | fcntl.LOCK_NB)
    fcntl.flock(fd, shared)
    check("flock shared", in_child(lambda: flock(shared)), "None")
    check("flock exclusive beside shared", in_child(lambda: flock(exclusive)), "EAGAIN")
    fcntl.flock(fd, exclusive)
    check("flock made exclusive", in_child(lambda: flock(shared)), "EAGAIN")
    other = os.dup(fd)
    os.close(fd)
    check("flock belongs to the open file", in_child(lambda: flock(shared)), "EAGAIN")
    os.close(other)
    check("flock after the last close", in_child(lambda: flock(exclusive)), "None")
    check("a lock for writing of one opened for reading", in_child(
        lambda: fcntl.lockf(os.open("f", os.O_RDONLY), exclusive | fcntl.LOCK_NB)), "EBADF")


@group
def locks_of_an_open_file():
    make("f", b"x" * 100)
    set_lock, ask_lock = 37, 36  # F_OFD_SETLK, F_OFD_GETLK

    def words(kind, start, length):
        return struct.pack("hhqqi4x", kind, 0, start, length, 0)

    def lock(fd, kind, start, length):
        fcntl.fcntl(fd, set_lock, words(kind, start, length))

    def is_free(fd):
        return struct.unpack("hhqqi4x", fcntl.fcntl(fd, ask_lock, words(fcntl.F_WRLCK, 10, 10)))[0] == fcntl.F_UNLCK
    fd, second = os.open("f", os.O_RDWR), os.open("f", os.O_RDWR)
    lock(fd, fcntl.F_WRLCK, 10, 10)
    check("another open file of the same process", result(lock, second, fcntl.F_WRLCK, 15, 1), "EAGAIN")
    check("beside it", result(lock, second, fcntl.F_WRLCK, 20, 1), None)
    check("the process itself is another owner", result(fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 12), "EAGAIN")
    check("who is asked", (is_free(fd), is_free(second)), (True, False))
    lock(fd, fcntl.F_UNLCK, 10, 5)
    check("a part unlocked", (result(lock, second, fcntl.F_WRLCK, 10, 5), result(lock, second, fcntl.F_WRLCK, 15, 1)), (None, "EAGAIN"))
    check("a child has it with the descriptor", in_child(lambda: lock(fd, fcntl.F_WRLCK, 15, 5)), "None")
    opened("f")
    check("a close of another descriptor does not end it", result(lock, second, fcntl.F_WRLCK, 15, 1), "EAGAIN")
    other = os.dup(fd)
    os.close(fd)
    check("it lasts as long as the open file", result(lock, second, fcntl.F_WRLCK, 15, 1), "EAGAIN")
    os.close(other)
    check("after the last close", result(lock, second, fcntl.F_WRLCK, 10, 10), None)
    os.close(second)


@group
def extended_attributes():
    make("f", b"", 0o644, OWNER)
    if result(os.setxattr, "f", "user.a", b"1") == "EOPNOTSUPP":
        return skip()
    check("get", os.getxattr("f", "user.a"), b"1")
    check("none", result(os.getxattr, "f", "user.none"), "ENODATA")
    check("create what is there", result(os.setxattr, "f", "user.a", b"2", os.XATTR_CREATE), "EEXIST")
    check("replace what is not", result(os.setxattr, "f", "user.none", b"2", os.XATTR_REPLACE), "ENODATA")
    for size in (0, 1, 255, 1000):
        os.setxattr("f", "user.b", b"v" * size)
        check(f"{size} bytes", os.getxattr("f", "user.b"), b"v" * size)
    check("list", sorted(n for n in os.listxattr("f") if n.startswith("user.")), ["user.a", "user.b"])
    check("remove", (result(os.removexattr, "f", "user.a"), result(os.removexattr, "f", "user.a")), (None, "ENODATA"))
    check("a name too long", result(os.setxattr, "f", "user." + "n" * 260, b""), "ERANGE")
    with user(OTHER):
        check("by one who may not write", result(os.setxattr, "f", "user.a", b"1"), "EACCES")
        check("read by one who may read", result(os.getxattr, "f", "user.b"), b"v" * 1000)
    os.chmod("f", 0o600)
    with user(OTHER):
        check("read by one who may not", result(os.getxattr, "f", "user.b"), "EACCES")
    os.symlink("f", "s")
    check("of a link", result(os.setxattr, "s", "user.a", b"1", follow_symlinks=False), "EPERM")


@group
def access_lists():
    """POSIX ACLs, if the file system has them: one user more may read; the mask holds."""
    def acl(*entries):
        return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)
    nobody = 0xffffffff
    make("f", b"x", 0o640, OWNER)
    entries = ((1, 6, nobody), (2, 4, OTHER[0]), (4, 0, nobody), (0x10, 4, nobody), (0x20, 0, nobody))
    if result(os.setxattr, "f", "system.posix_acl_access", acl(*entries)) == "EOPNOTSUPP":
        return skip()
    with user(OTHER):
        check("who is named may read", result(data_of, "f"), b"x")
        check("and not write", result(opened, "f", os.O_WRONLY), "EACCES")
    with user(GROUP, OWNER[1]):
        check("the group may not", result(data_of, "f"), "EACCES")
    check("the mask is in the mode", perms("f"), 0o640)
    os.chmod("f", 0o600)
    with user(OTHER):
        check("the mask is shut by chmod", result(data_of, "f"), "EACCES")
    make_dir("d", 0o777)
    os.setxattr("d", "system.posix_acl_default", acl((1, 7, nobody), (2, 6, OTHER[0]), (4, 0, nobody), (0x10, 7, nobody), (0x20, 0, nobody)))
    with user(OWNER), umask(0o077):
        opened("d/f", os.O_CREAT | os.O_WRONLY, 0o666)
        os.mkdir("d/d", 0o777)
    check("a default list instead of the umask", (perms("d/f"), perms("d/d")), (0o660, 0o770))
    with user(OTHER):
        check("who is named there may", result(opened, "d/f", os.O_RDWR), None)


def main():
    global group_name
    os.umask(0)
    only = sys.argv[2:]
    work = tempfile.mkdtemp(prefix="posix-", dir=BASE)
    os.chmod(work, 0o755)
    try:
        for function in GROUPS:
            if only and function.__name__ not in only:
                continue
            group_name = function.__name__
            os.mkdir(f"{work}/{group_name}")
            os.chdir(f"{work}/{group_name}")
            with umask(0o022):
                try:
                    function()
                except Exception as e:
                    where = e.__traceback__.tb_next
                    check(f"line {where.tb_lineno}", f"{type(e).__name__}: {e}", "no exception")
        os.chdir("/")
    finally:
        os.seteuid(0)
        os.chdir("/")
        shutil.rmtree(work, ignore_errors=True)
    ok("nothing is left", not exists(work))
    print(f"{ran} checks, {failed} failed, {skipped} groups skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
