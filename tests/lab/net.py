"""The lab's two networks: a bridge each in the keeper's network namespace, one port per node and
network. eth0 is 10.77.0.N and fd00:77::N, eth1 10.78.0.N and fd00:78::N; .254 (::fe) is the lab itself, a host that
is no node.

All functions but the pure ones run in the keeper's network namespace, through `run`.
"""

import subprocess

from .errors import LabError

LINKS = (0, 1)
TABLE = "ssid_lab"


def address(number, link=0):
    return f"10.{77 + link}.0.{number}"


def address6(number, link=0):
    return f"fd00:{77 + link}::{number:x}"


def port(number, link):
    """The bridge's end of the node's cable."""
    return f"n{number}e{link}"


def bridge_commands():
    lines = ["link set lo up"]
    for link in LINKS:
        lines += [
            f"link add br{link} type bridge mcast_snooping 0",
            f"link set br{link} up",
            f"addr add {address(254, link)}/24 dev br{link}",
            f"addr add {address6(254, link)}/64 dev br{link} nodad",
        ]
    return "\n".join(lines) + "\n"


def cable_commands(number, init_pid):
    """init_pid: the node's init, as the caller's own PID namespace and /proc know it."""
    lines = []
    for link in LINKS:
        name = port(number, link)
        lines += [
            f"link add {name} type veth peer name eth{link} netns {init_pid}",
            f"link set {name} master br{link} up",
        ]
    return "\n".join(lines) + "\n"


def node_commands(number):
    lines = ["link set lo up"]
    for link in LINKS:
        lines += [
            f"addr add {address(number, link)}/24 dev eth{link}",
            f"addr add {address6(number, link)}/64 dev eth{link} nodad",
            f"link set eth{link} up",
        ]
    return "\n".join(lines) + "\n"


def one_line(text):
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def ip_batch(commands):
    """Runs them in the caller's network namespace."""
    done = subprocess.run(["ip", "-batch", "-"], input=commands, text=True, capture_output=True)
    if done.returncode != 0:
        raise LabError(f"lab: network: {one_line(done.stderr)}")


def parse_sides(text):
    """"1,2:3" -> [[1, 2], [3]]"""
    try:
        sides = [[int(number) for number in side.split(",")] for side in text.split(":")]
    except ValueError:
        sides = []
    numbers = [number for side in sides for number in side]
    if len(sides) < 2 or len(set(numbers)) != len(numbers):
        raise LabError(f"lab: partition: want sides like 1,2:3, no node twice: {text}")
    return sides


def partition_rules(sides, one_way=False, links=LINKS, loss_percent=100):
    """The nft script that drops what passes between the sides; one_way: only from an earlier side to a
    later one. It replaces an earlier partition."""

    def ports(side):
        return "{ " + ", ".join(port(number, link) for number in side for link in links) + " }"

    some = "" if loss_percent >= 100 else f"numgen random mod 100 < {loss_percent} "
    rules = []
    for i, left in enumerate(sides):
        for j, right in enumerate(sides):
            if i < j or (i > j and not one_way):
                rules.append(f"    iifname {ports(left)} oifname {ports(right)} {some}drop")
    return (
        heal_rules()
        + f"table bridge {TABLE} {{\n  chain forward {{\n"
        + "    type filter hook forward priority 0; policy accept;\n"
        + "\n".join(rules)
        + "\n  }\n}\n"
    )


def heal_rules():
    return f"table bridge {TABLE} {{}}\ndelete table bridge {TABLE}\n"
