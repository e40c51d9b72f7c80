#!/usr/bin/python3
"""Keeps the arrows of ARCHITECTURE.md true: which room may include which, and which third-party header
lives in which room. `check_layers.py [ROOT]` prints FILE:LINE: what is wrong; exit status 1 if anything."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from source_files import ROOT, source_files  # noqa: E402

ALL = "all"

# Room -> rooms it may include beside itself. A file belongs to the longest prefix.
ROOMS = {
    "ssid/base": (),
    "ssid/wire": ("ssid/base",),
    "ssid/cluster": ("ssid/wire", "ssid/base"),
    "ssid/registry": ("ssid/cluster", "ssid/wire", "ssid/base"),
    "ssid/api": ("ssid/wire", "ssid/base"),
    "ssid/config": ("loadlevel/policy", "ssid/base"),
    "ssid/carrier": ("fs", "migrate/streams", "ssid/config", "ssid/wire", "ssid/base"),  # root of ssid-carrier
    "ssid/daemon": ALL,  # composition root of ssid
    "fs": ("ssid/registry", "ssid/cluster", "ssid/wire", "ssid/base"),
    "migrate": ("migrate/net", "migrate/fds", "migrate/streams", "ssid/wire", "ssid/base", "shim"),
    "migrate/net": ("ssid/base",),  # rules and tunnels of home; knows nothing of a move
    "migrate/fds": ("ssid/wire", "ssid/base"),  # one kind of descriptor a file; knows nothing of a move
    "migrate/streams": ("migrate/fds", "ssid/wire", "ssid/base"),  # the carrier relays them, and knows no more of a move
    "loadlevel": ("loadlevel/policy", "ssid/wire", "ssid/base"),
    "loadlevel/policy": ("ssid/base",),
    "loadlevel/cli": ("ssid/api", "ssid/wire", "ssid/base"),
    "shim": (),
    "tests": ALL,
}
NEVER_INCLUDED = "tests"  # but by itself

# Third-party family -> (what its headers look like, its room; None: any one room). Tests may include any.
FAMILIES = {
    "corosync": (r"corosync/", "ssid/cluster"),
    "openssl": (r"openssl/", "ssid/wire"),
    "fuse": (r"(fuse3?/|fuse(_lowlevel)?\.h)", "fs"),
    "toml++": (r"toml", None),
    "protobuf": (r"google/protobuf/", None),
    "nftables": (r"nftables/", "migrate/net"),
    "libnl": (r"netlink/", "migrate/net"),
    "capability": (r"sys/capability\.h", None),
    "ncurses": (r"n?curses", "loadlevel/cli"),
    "boost but asio": (r"boost/(?!asio|system)", None),
}
# Several rooms may include these: boost/asio and boost/system, spdlog, flatbuffers, doctest, nlohmann,
# and CLI11 (every program reads its command line with it).

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def room_of(path):
    """Room of a path relative to the root, or None."""
    fits = [room for room in ROOMS if path == room or path.startswith(room + "/")]
    return max(fits, key=len) if fits else None


def complaints_about(path, text, family_rooms):
    """Yields (line number, what is wrong); adds to family_rooms {family: {room: first place}}."""
    room = room_of(path)
    if room is None:
        if path.split("/")[0] in ("ssid", "migrate", "loadlevel", "fs", "shim"):
            yield 1, "belongs to no room of this check's table: add it"
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match is None:
            continue
        quote, name = match.groups()
        target = room_of(name)
        if target is None and quote == '"' and not name.endswith(".pb.h"):  # protoc's have no room
            yield number, f'"{name}": write project headers from the root, others in <>'
        if target not in (None, room):
            if target == NEVER_INCLUDED:
                yield number, f"{room} includes {name}: nothing includes tests"
            elif ROOMS[room] != ALL and target not in ROOMS[room]:
                allowed = ", ".join(ROOMS[room]) or "nothing"
                yield number, f"{room} includes {name}: it may include {allowed}"
        for family, (pattern, owner) in FAMILIES.items():
            if room == "tests" or not re.match(pattern, name):
                continue
            if owner not in (None, room):
                yield number, f"{room} includes <{name}>: {family} belongs to {owner}"
            family_rooms.setdefault(family, {}).setdefault(room, f"{path}:{number}")


def check(root):
    complaints = []
    family_rooms = {}
    for file in source_files(".h", ".cc", root=root):
        path = file.relative_to(root).as_posix()
        for number, what in complaints_about(path, file.read_text(), family_rooms):
            complaints.append(f"{path}:{number}: {what}")
    for family, rooms in family_rooms.items():
        if len(rooms) > 1 and FAMILIES[family][1] is None:
            places = ", ".join(sorted(rooms.values()))
            complaints.append(f"{family} is included in {len(rooms)} rooms, want one: {places}")
    return complaints


if __name__ == "__main__":
    found = check(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT).resolve())
    print("\n".join(found) if found else "layers: ok")
    sys.exit(1 if found else 0)
