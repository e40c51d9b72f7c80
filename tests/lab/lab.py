"""Class Lab: what tests and `./dev lab` use."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import cgroup, control, disk, keeper, net, root, state
from .errors import LabError

QUORUM_TIMEOUT_S = 30
PIPE_BYTES_MAX = 1 << 30


class Lab:
    """A lab of `nodes` nodes, numbered from 1. Nothing happens before up(); `with` does up and down.

    preset: the build whose programs are installed on the nodes (default: SSID_LAB_PRESET, or release).
    name: labs of one checkout with different names do not disturb each other.
    service_options: {"ssid": "--faults"} adds to a service's command line.
    cpu_part: each node gets this part of its CPU and no more: so that nodes which share one are as fast when the others rest."""

    def __init__(
        self, nodes=2, cpus=None, preset=None, name="default", checkout=None, service_options=None, cpu_part=None
    ):
        self.state = state.State(checkout or state.own_checkout(), name)
        self.node_count = nodes
        self.cpus = sorted(cpus or os.sched_getaffinity(0))
        self.preset = preset or os.environ.get("SSID_LAB_PRESET", "release")
        self.service_options = service_options or {}
        self.cpu_part = cpu_part
        self.notes = []

    @classmethod
    def attach(cls, name="default", checkout=None):
        """The lab that is up, for another process than the one that started it."""
        lab = cls(name=name, checkout=checkout)
        facts = lab.state.load()
        if facts is None:
            raise LabError("lab: not up: start it with `./dev lab up`")
        lab.node_count = facts["nodes"]
        lab.cpus = facts["cpus"]
        lab.preset = facts["preset"]
        lab.service_options = facts["service_options"]
        lab.cpu_part = facts["cpu_part"]
        return lab

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_):
        self.down()

    # Life of the lab

    def up(self, wait=True):
        """Removes what an earlier lab of this name left, starts all nodes; with `wait`, returns when
        the services are ready and corosync is quorate."""
        if os.geteuid() != 0:
            raise LabError("lab: must be root")
        if not 1 <= self.node_count <= 200:
            raise LabError(f"lab: {self.node_count} nodes: want 1 to 200")
        if self.cpu_part is not None and not 0.01 <= self.cpu_part <= 1:
            raise LabError(f"lab: {self.cpu_part} of a CPU: want 0.01 to 1")
        if not (self.build_dir / "bin/lab-init").exists():
            raise LabError(f"lab: build/{self.preset} is not built: ./dev build --preset {self.preset}")
        with self.state.lock():
            self._clean()
            try:
                self._start()
            except BaseException:
                self._clean()
                raise
        if wait:
            self.wait_ready()
            self.wait_quorate()

    def down(self):
        """Stops all. Leaves no process, mount, namespace, link, cgroup or file behind."""
        with self.state.lock():
            self._clean()

    @property
    def build_dir(self):
        """Where the preset was built."""
        return self.state.checkout / "build" / self.preset

    def group(self):
        """The cgroup (a path) with everything of the lab in it."""
        return self._group()

    def _group(self, name=""):
        return cgroup.mount_point() / f"ssid-lab-{self.state.key}" / name

    def _start(self):
        self.state.create()
        for number in self.numbers():
            self._group(f"n{number}").mkdir(parents=True)
        self._group("keeper").mkdir()
        self.state.save(
            {
                "nodes": self.node_count,
                "cpus": self.cpus,
                "preset": self.preset,
                "service_options": self.service_options,
                "cpu_part": self.cpu_part,
            }
        )
        (self.state.run_dir / "enter").symlink_to(self.build_dir / "bin/lab-enter")
        _raise_pipe_limit()
        memory_disk = not disk.can_be_upper(self.state.disk_dir)
        keeper.start(self.state, self.build_dir / "bin/lab-init", self._group("keeper"), memory_disk)
        self._in_keeper(["ip", "-batch", "-"], input=net.bridge_commands())
        self._make_disks()
        self._boot_all(self.numbers())

    def _clean(self):
        group = self._group()
        if group.exists():
            cgroup.kill(group)
            cgroup.remove(group)
        cgroup.remove_cpu_limits(group)
        self.state.remove()

    def _make_disks(self):
        criu = self.state.dev_dir / "criu/criu"
        authkey = disk.new_authkey()
        first = self._disk(1) / "upper"
        first.mkdir(parents=True)
        self.notes += disk.install(first, self.build_dir, criu if criu.exists() else None)
        for number in range(2, self.node_count + 1):
            (self._disk(number) / "upper").mkdir(parents=True)
            disk.copy(first, self._disk(number) / "upper")
        for number in self.numbers():
            upper = self._disk(number) / "upper"
            disk.configure(upper, number, self.node_count, authkey)
            disk.hide(upper, state.DISK_ROOT)
            disk.split(self._disk(number), root.machine_file_systems())

    def _disk(self, number):
        """The node's disk, reached through the keeper's mounts."""
        pid = control.init_pid(self.state.keeper_socket)
        if pid is None:
            raise LabError("lab: the keeper is not up")
        return Path(f"/proc/{pid}/root{self.state.disk_dir}/n{number}")

    # Power

    def boot(self, number, wait=True):
        """Powers the node on, with the disk it had."""
        self._check(number)
        with self.state.lock():
            if control.init_pid(self.state.node_socket(number)) is not None:
                raise LabError(f"lab: n{number} is up already")
            self._boot_all([number])
        if wait:
            self.wait_ready([number])

    def _boot_all(self, numbers):
        boots = []
        for number in numbers:
            groups = [self._group(f"n{number}")]
            if self.cpu_part is not None:
                groups.append(cgroup.limit_cpu(groups[0], self.cpu_part))
            facts = {
                "number": number,
                "cgroups": [str(group) for group in groups],
                "cpus": [self.cpus[number % len(self.cpus)]],
                "disk": str(self.state.disk_dir / f"n{number}"),
                "socket": str(self.state.node_socket(number)),
                "service_options": self.service_options,
            }
            package_dir = Path(__file__).resolve().parents[1]
            command = [sys.executable, "-B", "-m", "lab.node", json.dumps(facts)]
            boots.append(
                subprocess.Popen(
                    self._enter_command(
                        self.state.keeper_socket, command, env={"PYTHONPATH": str(package_dir)}
                    ),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        failures = []
        for boot in boots:
            said, _ = boot.communicate()
            if boot.returncode != 0:
                failures.append(net.one_line(said) or "boot failed")
        if failures:
            raise LabError("; ".join(failures))

    def crash(self, number):
        """Power cut: the cables go dead first (no FIN, no RST leaves a dead machine), then everything
        on the node is killed at once. Its disk stays."""
        self._check(number)
        with self.state.lock():
            if control.init_pid(self.state.node_socket(number)) is None:
                raise LabError(f"lab: n{number} is down already")
            ports = [net.port(number, link) for link in net.LINKS]
            self._in_keeper(
                ["ip", "-batch", "-"], input="".join(f"link set {port} down\n" for port in ports)
            )
            group = self._group(f"n{number}")
            cgroup.kill(group)
            self._in_keeper(
                ["ip", "-force", "-batch", "-"],
                input="".join(f"link del {port}\n" for port in ports),
                check=False,  # gone with the node's namespace, perhaps
            )
            cgroup.remove(group)
            group.mkdir()
            self.state.node_socket(number).unlink(missing_ok=True)

    # Network

    def partition(self, sides, one_way=False, links=net.LINKS, loss_percent=100):
        """Cuts the network between the sides ("1,2:3" or [[1, 2], [3]]), replacing an earlier cut.
        one_way: only what an earlier side sends to a later one is lost."""
        if isinstance(sides, str):
            sides = net.parse_sides(sides)
        for side in sides:
            for number in side:
                self._check(number)
        self._in_keeper(
            ["nft", "-f", "-"], input=net.partition_rules(sides, one_way, links, loss_percent)
        )

    def heal(self):
        self._in_keeper(["nft", "-f", "-"], input=net.heal_rules())

    def address(self, number, link=0):
        return net.address(number, link)

    # Commands and files on nodes

    def numbers(self):
        return range(1, self.node_count + 1)

    def enter_command(self, number, command, cwd=None, env=None, tty=False):
        """The argv that runs `command` (a list) on the node."""
        self._check(number)
        return self._enter_command(self.state.node_socket(number), command, cwd, env, tty)

    def outside_command(self, command):
        """The argv that runs `command` on the lab's host that is no node (net.py)."""
        return self._enter_command(self.state.keeper_socket, command)

    def run(self, number, command, check=True, timeout=60, cwd=None, env=None, **options):
        """subprocess.run on the node; output is captured as text unless told otherwise."""
        options.setdefault("text", True)
        if "stdout" not in options and "stderr" not in options:
            options.setdefault("capture_output", True)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(
            self.enter_command(number, command, cwd, env), timeout=timeout, **options
        )
        if check and done.returncode != 0:
            raise LabError(
                f"lab: n{number}: {' '.join(map(str, command))}: exit status {done.returncode}: "
                f"{done.stderr or ''}{done.stdout or ''}"
            )
        return done

    def popen(self, number, command, cwd=None, env=None, tty=False, **options):
        """subprocess.Popen on the node. Signals to it go to the command."""
        return subprocess.Popen(self.enter_command(number, command, cwd, env, tty), **options)

    def path(self, number, path):
        """A node's file as a path here. The node must be up."""
        pid = self.init_pid(number)
        if pid is None:
            raise LabError(f"lab: n{number} is down")
        return Path(f"/proc/{pid}/root/{str(path).lstrip('/')}")

    def init_pid(self, number):
        """PID of the node's init in our PID namespace; None if the node is down."""
        return control.init_pid(self.state.node_socket(number))

    def log(self, number, service):
        try:
            return self.path(number, f"/var/log/{service}.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def processes(self, number):
        """PIDs (in our namespace) of all that runs on the node."""
        return cgroup.processes(self._group(f"n{number}"))

    # Services

    def services(self, number):
        """{name: {state, pid, restarts}}; pid in the node's namespace."""
        self._check(number)
        return control.services(self.state.node_socket(number))

    def service(self, number, action, name, signal=None, wait=True):
        """stop, start, restart; or kill (SIGKILL unless given): then it is started again at once."""
        self._check(number)
        socket = self.state.node_socket(number)
        before = self.services(number).get(name, {}).get("restarts", 0)
        fields = ["service", action, name] + ([int(signal)] if signal else [])
        control.ask(socket, *fields)
        if not wait or action == "kill":
            return
        goal = "stopped" if action == "stop" else "ready"

        def done():
            now = self.services(number)[name]
            settled = action != "restart" or now["restarts"] > before or now["pid"] == 0
            return now["state"] == goal and settled

        self.wait_for(done, 30, f"n{number}: {name} {action}")

    # Waiting

    def wait_for(self, condition, timeout_s, what, pause_s=0.02):
        """Calls condition() until it is true; its value is returned."""
        deadline = time.monotonic() + timeout_s
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise LabError(f"lab: {what}: not within {timeout_s} s")
            time.sleep(pause_s)

    def wait_ready(self, numbers=None, timeout_s=QUORUM_TIMEOUT_S):
        """Until every service that is wanted is ready."""
        for number in numbers or self.numbers():

            def ready(number=number):
                states = self.services(number).values()
                return all(service["state"] in ("ready", "stopped") for service in states)

            try:
                self.wait_for(ready, timeout_s, f"n{number}: services")
            except LabError as error:
                bad = [
                    f"{name} {service['state']}: {_last_line(self.log(number, name))}"
                    for name, service in self.services(number).items()
                    if service["state"] != "ready"
                ]
                raise LabError(f"{error}: {'; '.join(bad)}") from None

    def quorum(self, number):
        """(quorate?, node ids) as the node's corosync sees it."""
        text = self.run(number, ["corosync-quorumtool", "-s", "-i"], check=False).stdout
        quorate = False
        members = []
        in_table = False
        for line in text.splitlines():
            words = line.split()
            if words[:1] == ["Quorate:"]:
                quorate = words[1] == "Yes"
            in_table = in_table or words[:1] == ["Nodeid"]
            if in_table and words and words[0].isdigit():
                members.append(int(words[0]))
        return quorate, sorted(members)

    def wait_quorate(self, numbers=None, timeout_s=QUORUM_TIMEOUT_S):
        """Until these nodes (default: all) are a quorate cluster and each sees just them."""
        wanted = sorted(numbers or self.numbers())
        for number in wanted:
            self.wait_for(
                lambda number=number: self.quorum(number) == (True, wanted),
                timeout_s,
                f"n{number}: quorum of {wanted}",
            )

    # Inside

    def _check(self, number):
        if number not in self.numbers():
            raise LabError(f"lab: no such node: {number}")

    def _enter_command(self, socket, command, cwd=None, env=None, tty=False):
        line = [str(self.state.run_dir / "enter"), str(socket), "-t" if tty else "-T"]
        if cwd:
            line += ["--cwd", str(cwd)]
        for name, value in (env or {}).items():
            line += ["--env", f"{name}={value}"]
        return line + ["--"] + [str(word) for word in command]

    def _in_keeper(self, command, check=True, **options):
        done = subprocess.run(
            self._enter_command(self.state.keeper_socket, command),
            capture_output=True,
            text=True,
            timeout=30,
            **options,
        )
        if check and done.returncode != 0:
            raise LabError(f"lab: {command[0]}: {net.one_line(done.stderr)}")


def _last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else "(no log)"


def _raise_pipe_limit():
    """criu's lazy pages want big pipes. A setting of the whole machine: only raised, and only where
    the machine lets us."""
    path = Path("/proc/sys/fs/pipe-max-size")
    try:
        if int(path.read_text()) < PIPE_BYTES_MAX:
            path.write_text(str(PIPE_BYTES_MAX))
    except OSError:
        pass  # read-only here: criu works without, but for lazy pages
