"""How much of this machine's CPU time goes elsewhere than to the lab: a comparison of times says nothing beside
other work."""

import os
import time
from pathlib import Path


def _busy_s():
    """Of all CPUs, since boot: user, nice, system, irq, softirq, and what a host took away."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _used_s(group):
    for line in (group / "cpu.stat").read_text().splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    return 0.0


class OtherWork:
    """From its making on."""

    def __init__(self, group):
        self.group = group
        self.started = (time.monotonic(), _busy_s(), _used_s(group))

    def share(self):
        """0 .. 1 of the machine's CPU time."""
        started, busy, used = self.started
        elapsed = (time.monotonic() - started) * os.cpu_count()
        others = (_busy_s() - busy) - (_used_s(self.group) - used)
        return max(0.0, others / elapsed)
