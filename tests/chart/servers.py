"""A private PostgreSQL and Redis on free ports, both with TLS beside plaintext, and the certificates for everything."""

import glob
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tools import ROOT, missing, run, succeed, tool

PATIENCE = 30
PASSWORD = "of:postgres/und%more"
REDIS_PASSWORD = "of-redis"
SENTINEL_PASSWORD = "of-sentinels"


# Below the kernel's own range, so that no outgoing connection takes one between the look and the use.
PORTS = random.sample(range(10000, 30000), 20000)


def free_port():
    """A port that nobody listens on now, and that was not given before."""
    while True:
        port = PORTS.pop()
        with socket.socket() as listener:
            try:
                listener.bind(("0.0.0.0", port))
                return port
            except OSError:
                continue


def eventually(what, look):
    """Calls `look` until it gives something; its last exception is the failure's cause."""
    deadline = time.monotonic() + PATIENCE
    cause = None
    while time.monotonic() < deadline:
        try:
            found = look()
            if found:
                return found
        except (OSError, AssertionError) as error:
            cause = error
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE} s: {what}") from cause


class Servers:
    """Both servers; `stop` ends them and leaves nothing behind."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="rowcount-chart-"))
        self.directory.chmod(0o755)
        self.processes = []
        self.ports = {name: free_port() for name in ("postgres", "redis", "redis_tls")}
        try:
            self.user = "postgres" if any(u.pw_name == "postgres" for u in pwd.getpwall()) else "nobody"
            make_certificates(self.directory)
            # Where the commands of the notes look for them.
            shutil.copy(self.directory / "ca.crt", self.directory / "http-ca.crt")
            for name in ("proto", "third_party"):
                (self.directory / name).symlink_to(ROOT / name)
            self.start_postgres()
            self.start_redis()
        except BaseException:
            self.stop()
            raise

    def file(self, name):
        """The text of one of the certificates or keys."""
        return (self.directory / name).read_text()

    def start_postgres(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
        binaries = Path(found[-1]) if found else Path(os.path.dirname(tool("postgres", "make deps")))
        home = self.own("postgres")
        user = {"user": self.user, "cwd": home} if os.geteuid() == 0 else {"cwd": home}
        initdb = [binaries / "initdb", "-D", home / "data", "-U", "postgres", "--auth=trust", "--no-sync"]
        succeed(*initdb, "-E", "UTF8", "--locale=C", **user)
        for name in ("ca.crt", "server.crt", "server.key"):
            self.give(self.directory / name, home / "data" / name)
        hba = [
            "local all postgres trust",
            "hostssl all rowcount 127.0.0.1/32 scram-sha-256",
            "hostnossl all rowcount 127.0.0.1/32 scram-sha-256",
            "hostssl all certified 127.0.0.1/32 cert",
            "host all trusted 127.0.0.1/32 trust",
        ]
        (home / "data" / "pg_hba.conf").write_text("\n".join(hba) + "\n")
        options = {
            "port": self.ports["postgres"],
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": home,
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": "server.crt",
            "ssl_key_file": "server.key",
            "ssl_ca_file": "ca.crt",
            "dynamic_shared_memory_type": "mmap",
        }
        arguments = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        self.spawn([binaries / "postgres", "-D", home / "data", *arguments], home, **user)
        psql = [tool("psql", "make deps"), "-h", home, "-p", self.ports["postgres"], "-U", "postgres", "-qtA"]
        eventually("PostgreSQL answers", lambda: run(*psql, "-c", "SELECT 1", "postgres").returncode == 0)
        succeed(*psql, "-c", "CREATE DATABASE registry", "postgres")
        roles = f"""
            SET password_encryption = 'scram-sha-256';
            CREATE ROLE rowcount LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE certified LOGIN; CREATE ROLE trusted LOGIN;
            CREATE TABLE repositories AS SELECT generate_series(1, 7) AS id;
            GRANT SELECT ON repositories TO rowcount, certified, trusted
        """
        succeed(*psql, "-c", roles, "registry")

    def start_redis(self):
        home = self.own("redis")
        for name in ("ca.crt", "server.crt", "server.key"):
            self.give(self.directory / name, home / name)
        lines = [
            f"port {self.ports['redis']}",
            f"tls-port {self.ports['redis_tls']}",
            "bind 127.0.0.1",
            'save ""',
            "tls-cert-file server.crt",
            "tls-key-file server.key",
            "tls-ca-cert-file ca.crt",
            "tls-auth-clients no",
            f"user rowcount on >{REDIS_PASSWORD} ~* &* +@all",
        ]
        (home / "redis.conf").write_text("\n".join(lines) + "\n")
        self.spawn([tool("redis-server", "make deps"), "redis.conf"], home, cwd=home)
        eventually("Redis answers", lambda: answers(self.ports["redis"]))

    def spawn(self, command, home, **options):
        with open(home / "log", "ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.processes.append(subprocess.Popen([str(part) for part in command], **streams, **options))

    def own(self, name):
        home = self.directory / name
        home.mkdir()
        if os.geteuid() == 0:
            shutil.chown(home, self.user)
        return home

    def give(self, source, target):
        shutil.copy(source, target)
        target.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(target, self.user)

    def stop(self):
        for process in self.processes:
            # To PostgreSQL a fast shutdown, which waits for no client.
            process.send_signal(2)
        for process in self.processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def answers(port):
    """Whether a Redis is there, be it only to ask for a password."""
    with socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(7) in (b"+PONG\r\n", b"-NOAUTH")


def make_certificates(directory):
    """An authority, a certificate of a server on this machine, and one of the client `certified`."""
    openssl = shutil.which("openssl") or missing("openssl is missing: run `make deps`")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    req = [openssl, "req", "-x509", *key]
    succeed(*req, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt", cwd=directory)
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:rowcount.registry.svc,DNS:counts.registry.svc"
    for name, subject in [("server", "/CN=localhost"), ("client", "/CN=certified")]:
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        succeed(*req, *signed, "-subj", subject, "-addext", names, *files, cwd=directory)
