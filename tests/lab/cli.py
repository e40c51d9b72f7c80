"""`./dev lab ...`"""

import argparse
import os
import signal
import sys

from .errors import LabError
from .lab import Lab


def _cpus(text):
    """"0,2-3" -> [0, 2, 3]"""
    cpus = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


def _node(text):
    return int(text.removeprefix("n"))


def _parser():
    parser = argparse.ArgumentParser(prog="./dev lab", description="Namespaces as machines.")
    parser.add_argument("--name", default="default", help="another lab of the same checkout")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", help="start N nodes (default 2)")
    up.add_argument("nodes", nargs="?", type=int, default=2, metavar="N")
    up.add_argument("--cpus", type=_cpus, metavar="LIST", help="node i runs on CPU i mod n of these")
    up.add_argument("--cpu-part", type=float, metavar="PART", help="each node gets this part of its CPU")
    up.add_argument("--faults", action="store_true", help="let ssid obey fault points")
    up.add_argument("--preset", help="the build to install (default release)")
    run = verbs.add_parser("exec", help="run CMD on a node: exec NODE [-t|-T] -- CMD...")
    run.add_argument("node", type=_node)
    run.add_argument("rest", nargs=argparse.REMAINDER, metavar="-- CMD")
    for verb, text in (("crash", "power cut"), ("boot", "power on again")):
        verbs.add_parser(verb, help=text).add_argument("node", type=_node)
    part = verbs.add_parser("partition", help="cut the network between sides, as in 1,2:3")
    part.add_argument("sides")
    part.add_argument("--one-way", action="store_true", help="only from the first side to the second")
    part.add_argument("--link", type=int, choices=(0, 1), help="only this network")
    part.add_argument("--loss", type=int, default=100, metavar="PERCENT", help="of the packets")
    verbs.add_parser("heal", help="mend the network")
    service = verbs.add_parser("service", help="service NODE ACTION NAME [SIGNAL]")
    service.add_argument("node", type=_node)
    service.add_argument("action", choices=("stop", "start", "restart", "kill"))
    service.add_argument("service")
    service.add_argument("signal", nargs="?", help="for kill, such as STOP")
    verbs.add_parser("status", help="nodes and their services")
    verbs.add_parser("down", help="stop all, leave nothing")
    return parser


def _print_status(lab):
    for number in lab.numbers():
        pid = lab.init_pid(number)
        if pid is None:
            print(f"n{number}: DOWN")
            continue
        services = [
            f"{name} {one['state']} ({one['pid']}, {one['restarts']} restarts)"
            for name, one in lab.services(number).items()
        ]
        print(f"n{number}: UP   {lab.address(number)}  init {pid}  " + ", ".join(services))


def _act(options):
    if options.verb == "up":
        service_options = {"ssid": "--faults"} if options.faults else {}
        lab = Lab(options.nodes, options.cpus, options.preset, options.name, None, service_options, options.cpu_part)
        lab.up()
        for note in lab.notes:
            print(f"lab: {note}")
        _print_status(lab)
        return
    if options.verb == "down":
        Lab(name=options.name).down()
        return
    lab = Lab.attach(options.name)
    if options.verb == "exec":
        # ./dev takes a shorter way to the same program.
        words = options.rest
        line = lab.enter_command(options.node, [])
        os.execv(line[0], line[:2] + words)
    elif options.verb == "partition":
        links = (0, 1) if options.link is None else (options.link,)
        lab.partition(options.sides, options.one_way, links, options.loss)
    elif options.verb == "service":
        number = signal.Signals[f"SIG{options.signal.removeprefix('SIG')}"] if options.signal else None
        lab.service(options.node, options.action, options.service, number)
    elif options.verb == "status":
        _print_status(lab)
    elif options.verb == "heal":
        lab.heal()
    else:
        getattr(lab, options.verb)(options.node)


def main():
    options = _parser().parse_args()
    try:
        _act(options)
    except LabError as error:
        sys.exit(str(error))
    except KeyError as error:
        sys.exit(f"lab: unknown signal: {error}")
