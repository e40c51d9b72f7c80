"""The lab: namespaces as machines.

Each node has its own files (overlay), PIDs, host name, IPC, network and cgroup root; nothing passes
between nodes but packets. One lab is one PID namespace with one process, the keeper, at its top: it
holds the mounts and the network of the lab, so killing it takes everything along.

    with Lab(3, name="mytest") as lab:
        lab.run(1, ["hostname"]).stdout
        lab.partition("1,2:3"); lab.heal()
        lab.crash(2); lab.boot(2)
"""

from .errors import LabError
from .lab import Lab

__all__ = ["Lab", "LabError"]
