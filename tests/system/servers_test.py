#!/usr/bin/python3
"""Servers as they are installed, moved while they are asked: redis, nginx, a JVM. Nobody who asks sees more than a pause, all is there
that they were told to be there, and at home they are stopped and told to read their settings again as ever."""

import hashlib
import random
import re
import statistics
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import net_peer  # noqa: E402
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from net_peer import Peer  # noqa: E402

NODES = (1, 2, 3)
SETTLED_S = 30
BETWEEN_S = 0.5
HOME, OUTSIDE = "127.0.0.1", None
AS_REDIS = ["setpriv", "--reuid", "redis", "--regid", "redis", "--init-groups"]
REDIS_DIR, REDIS_PORT = "/var/tmp/redis", 7600
REDIS_SOCKET = f"{REDIS_DIR}/redis.sock"
REDIS_SETTINGS = f"""bind 0.0.0.0
protected-mode no
port {REDIS_PORT}
unixsocket {REDIS_SOCKET}
unixsocketperm 777
dir {REDIS_DIR}
daemonize yes
pidfile {REDIS_DIR}/redis.pid
logfile {REDIS_DIR}/redis.log
appendonly yes
save ""
"""
SAVED_KEYS, SAVE_US_A_KEY = 2000, 2000
NGINX_DIR, NGINX_PORT = "/var/tmp/nginx", 7700
NGINX_SETTINGS = f"""user www-data;
worker_processes 2;
pid {NGINX_DIR}/nginx.pid;
error_log {NGINX_DIR}/error.log notice;
events {{ worker_connections 256; }}
http {{
  access_log {NGINX_DIR}/access.log;
  keepalive_requests 1000000;
  sendfile on;
  server {{
    listen {NGINX_PORT};
    root {NGINX_DIR}/www;
    add_header Settings SETTINGS;
    location /packed/ {{ alias {NGINX_DIR}/www/; gzip on; gzip_comp_level 9; gzip_types *; }}
    location /slow/ {{ alias {NGINX_DIR}/www/; limit_rate 200k; }}
  }}
}}
"""
FILE_BYTES = (0, 10, 4096, 100_001, 1_000_003)
JAVA_DIR = "/var/tmp/java"
HEAP_SERVER = Path(__file__).resolve().parents[1] / "programs/HeapServer.java"


class Servers(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_servers")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)
        cls.rows = []

    @classmethod
    def tearDownClass(cls):
        if cls.rows:
            titles = ["server", "moves", "clients", "requests", "median us", "longest ms", "frozen ms", "at most", "KiB ahead", "KiB frozen"]
            print("\n" + observe.table(titles, cls.rows), flush=True)

    # A server

    def places(self, name):
        """Where those are that have this name: {pid: node}"""
        return {row["pid"]: row["node"] for row in observe.ask(self.lab, 2, "ssips", "-e")["rows"] if row["comm"] == name}

    def be_only_at(self, node, words, count):
        """One set of processes, and it is there; not as ssid has it, but as each node's /proc."""

        def there():
            copies = [copy for word in words for copy in observe.copies(self.lab, word)]
            return len(copies) == count and all(copy.node == node and copy.runs for copy in copies)

        self.lab.wait_for(there, SETTLED_S, f"{count} x {words} at node {node} and nowhere else")

    def move(self, pid, to, *options):
        return observe.ask(self.lab, 1, "migrate", "--wait", *options, str(pid), str(to), timeout=120)

    def move_around(self, pid, moves, words, count):
        moved = []
        for to in moves:
            time.sleep(BETWEEN_S)
            moved.append(self.move(pid, to))
            self.be_only_at(to, words, count)
        time.sleep(BETWEEN_S)
        return moved

    def ask_no_more(self, name, peers, moved):
        """What the peers saw of these moves; all of them together make a row."""
        saw = [peer.end() for peer in peers]
        for one in saw:
            self.assertEqual(one["failures"], 0, one)
            self.assertGreater(one["rounds"], 20 * len(moved), one)
            self.assertEqual(one.get("connects", one["clients"]), one["clients"], "somebody connected again")
        frozen = [one["frozen_ms"] for one in moved]
        self.rows.append([
            name, len(moved), sum(one["clients"] for one in saw), sum(one["rounds"] for one in saw), 1000 * max(one["median_ms"] for one in saw),
            max(one["longest_ms"] for one in saw), statistics.median(frozen), max(frozen),
            statistics.median(one["copied_bytes"] for one in moved) / 1024, statistics.median(one["frozen_bytes"] for one in moved) / 1024])
        return saw

    def nothing_is_left(self, name):
        self.lab.wait_for(lambda: not self.places(name), SETTLED_S, f"no {name} is left")
        observe.nothing_left(self.lab)

    # Redis

    def redis(self, *words):
        return self.lab.run(1, ["redis-cli", "-p", str(REDIS_PORT), "-e", *words]).stdout.strip()

    def start_redis(self):
        self.lab.run(1, [*AS_REDIS, "redis-server", f"{REDIS_DIR}/redis.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        listens = ["ss", "-tlnH", f"sport = :{REDIS_PORT}"]
        self.lab.wait_for(lambda: self.lab.run(1, listens).stdout, SETTLED_S, "redis listens")
        self.lab.wait_for(lambda: "PONG" in self.lab.run(1, ["redis-cli", "-p", str(REDIS_PORT), "ping"]).stdout, SETTLED_S, "redis has its data")
        return int(self.lab.path(1, f"{REDIS_DIR}/redis.pid").read_text())

    def persistence(self, key):
        return re.search(rf"^{key}:(\S+)", self.redis("info", "persistence"), re.M)[1]

    def redis_peers(self, name):
        where = {"unix": (1, REDIS_SOCKET), "home": (1, f"{HOME}:{REDIS_PORT}"), "outside": (OUTSIDE, f"{self.lab.address(1)}:{REDIS_PORT}"),
                 "node2": (2, f"{self.lab.address(1)}:{REDIS_PORT}")}
        return [Peer(self.lab, node, "redis", at, f"{name}-{who}-", program="server_peer.py") for who, (node, at) in where.items()]

    def all_told_is_there(self, seen):
        told = {}
        for one in seen:
            for key, value in one["told"].items():
                told[key] = told.get(key, 0) + value
        self.assertGreater(told["all"], 100)
        keys = sorted(told)
        self.assertEqual(dict(zip(keys, self.redis("mget", *keys).split("\n"))), {key: str(told[key]) for key in keys})
        return told

    def test_redis(self):
        self.lab.run(1, ["install", "-d", "-o", "redis", "-m", "755", REDIS_DIR])
        self.lab.path(1, f"{REDIS_DIR}/redis.conf").write_text(REDIS_SETTINGS)
        pid = self.start_redis()
        words, peers = [f"redis-server 0.0.0.0:{REDIS_PORT}"], self.redis_peers("a")
        moved = self.move_around(pid, (2, 3, 1, 2, 1, 3, 2, 3, 1, 2), words, 1)
        seen = self.ask_no_more("redis", peers, moved)
        self.all_told_is_there(seen)
        # Killed where it is: what was told to be written is in its file, at home.
        self.lab.run(1, ["kill", "-KILL", str(pid)])
        self.nothing_is_left("redis-server")
        pid = self.start_redis()
        told = self.all_told_is_there(seen)

        # While it saves in the background, at home and elsewhere.
        self.redis("eval", f"for i=1,{SAVED_KEYS} do redis.call('set', 'k'..i, string.rep(i, 50)) end", "0")
        self.redis("config", "set", "rdb-key-save-delay", str(SAVE_US_A_KEY))
        peers = self.redis_peers("b")
        self.redis("bgsave")
        status, why = observe.try_to_migrate(self.lab, pid, 2)
        self.assertEqual(status, 1)
        self.assertRegex(why, rf"^migrate: {pid}: it has 1 child process, which only `migrate --tree` moves along: \d+ \(redis-server\)$")
        moved = [self.move(pid, 2, "--tree")]
        self.assertEqual(self.persistence("rdb_bgsave_in_progress"), "1", "it moved while it saved")
        self.be_only_at(2, [*words, f"redis-rdb-bgsave 0.0.0.0:{REDIS_PORT}"], 2)
        saved = lambda: self.persistence("rdb_bgsave_in_progress") == "0"  # noqa: E731
        self.lab.wait_for(saved, SETTLED_S, "it has saved")
        self.assertEqual(self.persistence("rdb_last_bgsave_status"), "ok")
        self.assertIn("RDB looks OK", self.lab.run(1, ["redis-check-rdb", f"{REDIS_DIR}/dump.rdb"]).stdout)
        self.redis("bgsave")
        moved += [self.move(pid, to, "--tree") for to in (3, 1)]
        self.assertEqual(self.persistence("rdb_bgsave_in_progress"), "1", "it moved while it saved")
        self.lab.wait_for(saved, SETTLED_S, "it has saved")
        self.assertEqual(self.persistence("rdb_last_bgsave_status"), "ok")
        self.assertIn("RDB looks OK", self.lab.run(1, ["redis-check-rdb", f"{REDIS_DIR}/dump.rdb"]).stdout)
        self.redis("config", "set", "rdb-key-save-delay", "0")
        self.redis("bgrewriteaof")
        self.lab.wait_for(lambda: self.persistence("aof_rewrite_in_progress") == "0", SETTLED_S, "its file is written anew")
        self.assertEqual(self.persistence("aof_last_bgrewrite_status"), "ok")
        moved += self.move_around(pid, (2, 3), words, 1)
        seen += self.ask_no_more("redis, saving", peers, moved)
        self.all_told_is_there(seen)
        self.lab.run(1, ["kill", str(pid)])
        self.nothing_is_left("redis-server")
        self.assertIn("Redis is now ready to exit, bye bye", self.lab.path(1, f"{REDIS_DIR}/redis.log").read_text())
        self.start_redis()
        self.assertGreater(self.all_told_is_there(seen)["all"], told["all"])
        self.redis("shutdown")
        self.nothing_is_left("redis-server")

    # nginx

    def nginx(self, *words):
        self.lab.run(1, ["nginx", "-c", f"{NGINX_DIR}/nginx.conf", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def set_nginx(self, settings):
        self.lab.path(1, f"{NGINX_DIR}/nginx.conf").write_text(NGINX_SETTINGS.replace("SETTINGS", settings))

    def web_peers(self, files):
        paths = [word for path, digest in files.items() for word in (path, digest)]
        return [Peer(self.lab, node, host, str(NGINX_PORT), *paths, program="http_peer.py")
                for node, host in ((1, HOME), (2, self.lab.address(1)), (OUTSIDE, self.lab.address(1)))]

    def get(self, path):
        """(its hash, which settings answered), by a process at home."""
        program = ("import hashlib,sys,urllib.request as r; a=r.urlopen(sys.argv[1], timeout=60); "
                   "print(a.headers['Settings'], hashlib.sha256(a.read()).hexdigest())")
        return self.lab.popen(1, [net_peer.PYTHON, "-c", program, f"http://{HOME}:{NGINX_PORT}{path}"], stdout=subprocess.PIPE, text=True)

    def said_by(self, process):
        said, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        return said.split()

    def workers(self, master):
        return {pid for pid in self.places("nginx") if pid.split(":")[-1] != str(master)}

    def start_nginx(self):
        """Its PID, and what it has: {path: hash}"""
        www = self.lab.path(1, f"{NGINX_DIR}/www")
        self.lab.run(1, ["install", "-d", "-m", "755", NGINX_DIR, f"{NGINX_DIR}/www"])
        files = {}
        for size in FILE_BYTES:
            content = random.Random(size).randbytes(size)
            (www / f"f{size}").write_bytes(content)
            files[f"/f{size}"] = hashlib.sha256(content).hexdigest()
        self.set_nginx("one")
        self.nginx()
        own = www.parent / "nginx.pid"
        pid = self.lab.wait_for(lambda: own.exists() and int(own.read_text()), SETTLED_S, "nginx runs")
        self.lab.wait_for(lambda: len(self.places("nginx")) == 3, SETTLED_S, "its workers")
        return pid, files

    def test_nginx(self):
        pid, files = self.start_nginx()
        words = [f"nginx: master process nginx -c {NGINX_DIR}/nginx.conf", "nginx: worker process"]
        peers = self.web_peers(files)
        # Master and workers share memory: any of them names all, though they are two users'.
        moved = [self.move(min(self.workers(pid)), 2)]
        moved += self.move_around(pid, (3, 1, 2, 1, 3, 2, 3, 1, 2), words, 3)
        self.ask_no_more("nginx", peers, moved)

        # New settings while it is away; one of its old workers has somebody to serve still, and moves along.
        path, digest = list(files.items())[-1]
        before, slow = self.workers(pid), self.get("/slow" + path)
        self.lab.wait_for(lambda: self.lab.run(1, ["ss", "-tnH", "state", "established", f"dport = :{NGINX_PORT}"]).stdout, SETTLED_S, "it is asked")
        self.set_nginx("two")
        self.nginx("-s", "reload")
        self.lab.wait_for(lambda: self.said_by(self.get("/f10"))[0] == "two", SETTLED_S, "it has its new settings")
        self.lab.wait_for(lambda: len(self.workers(pid) - before) == 2, SETTLED_S, "its new workers are known at home")
        self.move(pid, 3)
        self.assertIsNone(slow.poll(), "it moved while it sent")
        self.be_only_at(3, [*words, "nginx: worker process is shutting down"], 4)
        self.assertEqual(self.said_by(slow), ["one", digest])
        self.lab.wait_for(lambda: len(self.workers(pid)) == 2 and not self.workers(pid) & before, SETTLED_S, "only its new workers are left")
        # One of them dies there.
        before = self.workers(pid)
        self.lab.run(1, ["kill", "-KILL", min(before).split(":")[-1]])
        self.lab.wait_for(lambda: len(self.workers(pid)) == 2 and self.workers(pid) != before, SETTLED_S, "another one has its place")
        peers = self.web_peers(files)
        self.ask_no_more("nginx, reloaded", peers, self.move_around(pid, (1, 2, 3), words, 3))
        self.assertEqual(self.said_by(self.get(path)), ["two", digest])
        self.nginx("-s", "quit")
        self.nothing_is_left("nginx")
        log = self.lab.path(1, f"{NGINX_DIR}/error.log").read_text()
        self.assertEqual([line for line in log.split("\n") if "[alert]" in line and "exited on signal 9" not in line], [])

    def test_nginx_is_on_the_list(self):
        """Nobody says where it is to be: its workers, another user's than the master, have the cluster move all of them."""
        self.lab.run(1, ["loadlevel", "add", "/usr/sbin/nginx"])
        self.addCleanup(self.lab.run, 1, ["loadlevel", "remove", "/usr/sbin/nginx"])
        _, files = self.start_nginx()
        path, digest = list(files.items())[-1]
        program = (
            "import gzip,hashlib,sys,urllib.request as r\n"
            "asked = r.Request(sys.argv[1], headers={'Accept-Encoding': 'gzip'})\n"
            "for _ in range(int(sys.argv[3])):\n"
            "  assert hashlib.sha256(gzip.decompress(r.urlopen(asked, timeout=60).read())).hexdigest() == sys.argv[2]\n")
        words = [net_peer.PYTHON, "-c", program, f"http://{self.lab.address(1)}:{NGINX_PORT}/packed{path}", digest, "60"]
        hog = self.lab.popen(1, ["sh", "-c", "while :; do :; done"])
        try:
            asking = [subprocess.Popen(self.lab.outside_command(words)) for _ in range(3)]
            self.lab.wait_for(lambda: sorted(set(self.places("nginx").values())) in ([2], [3]), SETTLED_S, "the cluster has moved it")
            self.assertEqual([one.wait(60) for one in asking], [0, 0, 0])
        finally:
            hog.terminate()
            hog.wait()
        self.assertEqual(len(self.places("nginx")), 3)
        self.nginx("-s", "quit")
        self.nothing_is_left("nginx")

    # A JVM

    def start_heap(self, port, options):
        command = " ".join(["java", "-Xmx96m", *options, "-cp", JAVA_DIR, "HeapServer", str(port)])
        shell = self.lab.popen(1, ["sh", "-c", f"echo $$; exec {command} < /dev/null 2>&1"], stdout=subprocess.PIPE, text=True)
        pid = int(shell.stdout.readline())
        self.assertEqual(shell.stdout.readline(), "listening\n")
        return shell, pid

    def heap_state(self, port):
        program = ("import socket,sys; s=socket.create_connection(('127.0.0.1', int(sys.argv[1])), 30); s.sendall(b'state\\n'); "
                   "print(s.makefile().readline())")
        said = self.lab.run(1, [net_peer.PYTHON, "-c", program, str(port)]).stdout
        return {key: int(value) for key, value in (word.split("=") for word in said.split())}

    def test_jvm(self):
        self.lab.run(1, ["mkdir", "-p", JAVA_DIR])
        self.lab.path(1, f"{JAVA_DIR}/HeapServer.java").write_bytes(HEAP_SERVER.read_bytes())
        self.lab.run(1, ["javac", "-d", JAVA_DIR, f"{JAVA_DIR}/HeapServer.java"])
        ways = {"Serial": (2, 3, 1, 2, 1, 3, 2, 3), "G1": (2, 3, 1, 2), "Z": (2, 3, 1, 3)}
        for number, (collector, way) in enumerate(ways.items()):
            with self.subTest(collector):
                self.one_jvm(collector, 7800 + number, way)

    def one_jvm(self, collector, port, way):
        shell, pid = self.start_heap(port, [f"-XX:+Use{collector}GC"])
        peers = [Peer(self.lab, node, "heap", f"{host}:{port}", who, program="server_peer.py")
                 for who, node, host in (("home", 1, HOME), ("node2", 2, self.lab.address(1)), ("outside", OUTSIDE, self.lab.address(1)))]
        # Who asks it by a unix socket, which it binds and then renames.
        self.assertIn(f"{pid}:\n", self.lab.run(1, ["jcmd", str(pid), "VM.uptime"]).stdout)
        states, moved = [self.heap_state(port)], []
        for to in way:
            moved += self.move_around(pid, (to,), [str(port)], 1)
            states.append(self.heap_state(port))
            self.assertEqual(states[-1]["sum"], 0)
            for key in ("transfers", "collections", "uptime_ms"):
                self.assertGreater(states[-1][key], states[-2][key], f"{key} at node {to}")
        self.assertGreater(states[-1]["compiled_ms"], states[0]["compiled_ms"])
        self.assertIn('"main"', self.lab.run(1, ["jcmd", str(pid), "Thread.print"]).stdout)
        seen = self.ask_no_more(f"JVM, {collector}", peers, moved)
        self.assertEqual([key for one in seen for key, n in one["told"].items() if n < 20 * len(way)], [])
        self.lab.run(1, ["kill", str(pid)])
        said, _ = shell.communicate(timeout=SETTLED_S)
        self.assertEqual((shell.returncode, said), (143, "bye\n"))
        self.nothing_is_left("java")


if __name__ == "__main__":
    unittest.main(verbosity=2)
