"""A master with three Sentinels, and a Cluster of three masters, beside the servers of servers.py."""

import socket

from servers import REDIS_PASSWORD, SENTINEL_PASSWORD, answers, eventually, free_port
from tools import succeed, tool

MASTER = "registry"
SLOTS = 16384


class Replicated:
    """Both; they end with `servers`. `ports` are those of the Sentinels, and of the nodes."""

    def __init__(self, servers):
        self.servers = servers
        self.master = free_port()
        self.ports = {name: free_port() for name in ("sentinel_0", "sentinel_1", "sentinel_2")}
        self.ports |= {name: node_port() for name in ("node_0", "node_1", "node_2")}
        self.start_sentinels()
        self.start_cluster()

    def start_sentinels(self):
        user = f"user rowcount on >{REDIS_PASSWORD} ~* &* +@all"
        self.start("master", self.master, [user])
        monitor = [
            f"sentinel monitor {MASTER} 127.0.0.1 {self.master} 2",
            f"user rowcount on >{SENTINEL_PASSWORD} +@connection +sentinel|get-master-addr-by-name",
        ]
        for number in range(3):
            name = f"sentinel_{number}"
            self.start(name, self.ports[name], monitor, "--sentinel")

    def start_cluster(self):
        nodes = [f"node_{number}" for number in range(3)]
        lines = ["cluster-enabled yes", f"requirepass {REDIS_PASSWORD}", f"masterauth {REDIS_PASSWORD}"]
        for number, name in enumerate(nodes):
            self.start(name, self.ports[name], lines)
            slots = range(number * SLOTS // 3, (number + 1) * SLOTS // 3)
            self.cli(name, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            self.cli(name, "CLUSTER", "ADDSLOTS", *slots)
        for name in nodes[1:]:
            self.cli(nodes[0], "CLUSTER", "MEET", "127.0.0.1", self.ports[name])
        for name in nodes:
            eventually(f"{name} knows all", lambda: self.knows_all(name))

    def knows_all(self, name):
        info = self.cli(name, "CLUSTER", "INFO")
        return "cluster_state:ok" in info and "cluster_known_nodes:3" in info

    def start(self, name, port, lines, *arguments):
        home = self.servers.own(name)
        (home / "redis.conf").write_text("\n".join([f"port {port}", "bind 127.0.0.1", *lines]) + "\n")
        self.servers.spawn([tool("redis-server", "make deps"), "redis.conf", *arguments], home, cwd=home)
        eventually(f"{name} answers", lambda: answers(port))

    def cli(self, name, *command):
        cli = [tool("redis-cli", "make deps"), "-p", self.ports[name], "-a", REDIS_PASSWORD, "--no-auth-warning"]
        return succeed(*cli, *command)


def node_port():
    """A free port below another one, on which nodes listen for each other."""
    while True:
        port = free_port()
        with socket.socket() as listener:
            try:
                listener.bind(("0.0.0.0", port + 10000))
            except OSError:
                continue
            # Theirs would lie among the kernel's own.
            if port < 20000:
                return port
