#!/usr/bin/python3
"""The same as network_test.py over IPv6: the server listens at `::`, those who talk to it use the addresses of home
and ::1. And what is between the families: IPv4 clients of that server, and IPv4 in an IPv6 socket."""

import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import network_test  # noqa: E402
import observe  # noqa: E402
from lab import net  # noqa: E402
from net_peer import PYTHON, Guest, Peer  # noqa: E402


class Network6(network_test.Network):
    LAB = "t_network6"
    ANY, LOOPBACK, OUTSIDE = "::", "::1", "fd00:77::fe"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # A router says so once, before home forwards anything.
        advertisement = bytes([134, 0, 0, 0, 64, 0, 0x07, 0x08]) + bytes(8)
        subprocess.run(
            cls.lab.outside_command([
                PYTHON, "-c", "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6); "
                "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255); "
                f"s.sendto({advertisement!r}, ('ff02::1', 0, 0, socket.if_nametoindex('br0')))"
            ]), check=True)
        cls.lab.wait_for(lambda: cls.learned_route(), 5, "node 1 has heard the router")

    @classmethod
    def learned_route(cls):
        return cls.lab.run(1, ["ip", "-6", "route", "show", "default", "proto", "ra"]).stdout

    test_two_gigabytes = None  # says nothing new here

    def address(self, node):
        return net.address6(node)

    def test_home_stays_a_host(self):
        """Though it forwards: it believes the router that it heard, and any later one."""
        observe.migrate(self.lab, self.guest.pid, 2)
        settings = {name: self.lab.run(1, ["cat", f"/proc/sys/net/ipv6/conf/{name}"]).stdout.strip()
                    for name in ("all/forwarding", "eth0/forwarding", "eth0/accept_ra", "default/forwarding")}
        self.assertEqual(settings, {"all/forwarding": "1", "eth0/forwarding": "0", "eth0/accept_ra": "1",
                                    "default/forwarding": "0"})
        self.assertIn("dev eth0", self.learned_route())

    def test_clients_of_both_families(self):
        self.move_under({
            (where, f"{how} to {host}"): Peer(self.lab, node, how, host, str(self.port))
            for where, node, hosts in (("another host", None, (self.lab.address(1), self.address(1))),
                                       ("home", 1, ("127.0.0.1", "::1", "::ffff:127.0.0.1")))
            for host in hosts for how in ("lines", "connects", "datagrams")
        })

    def test_one_address(self):
        for address in ("::1", self.address(1)):
            self.port_of(address)
            self.move_under(
                {("home", f"{how} to {address} alone"): Peer(self.lab, 1, how, address, str(self.port))
                 for how in ("lines", "stream", "upload", "datagrams")}, guest=self.guest)

    def port_of(self, address):
        """Another guest, at this address alone."""
        type(self).port += 1
        self.guest = Guest(self.lab, 1, self.port, address=address)
        self.addCleanup(self.guest.end)

    def test_a_link_local_address_stays(self):
        bound = ("import socket,sys,time; i=socket.if_nametoindex('eth0'); "
                 "a=[l.split() for l in open('/proc/net/if_inet6') if l.split()[5]=='eth0' and l.startswith('fe80')][0][0]; "
                 "a=':'.join(a[k:k+4] for k in range(0, 32, 4)); s=socket.socket(socket.AF_INET6); "
                 "s.bind((a, 7999, 0, i)); s.listen(); print('ready', flush=True); time.sleep(60)")
        with self.lab.popen(1, [PYTHON, "-c", f"import os; print(os.getpid(), flush=True); {bound}"], stdout=-1,
                            text=True) as process:
            pid = int(process.stdout.readline())
            self.assertEqual(process.stdout.readline(), "ready\n")
            done = self.lab.run(1, ["migrate", str(pid), "2"], check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("]:7999) bound to this machine's network device eth0", done.stderr)
            self.lab.run(1, ["kill", str(pid)])


if __name__ == "__main__":
    del network_test.Network  # run by its own file
    unittest.main(verbosity=2)
