"""One instance of the service, started as the rendered pod would start it: the volume's files laid out in a directory,
the container's arguments, nothing else in the environment."""

import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import chart
from servers import PASSWORD, REDIS_PASSWORD, SENTINEL_PASSWORD, eventually, free_port
from tools import binary, run, succeed

MOUNT = "/etc/rowcount"


# The user and the group of the pod.
UID = 65532


class Instance:
    """What `values` render, with the addresses of `servers`. `enter` is what comes before the container's arguments where
    the program runs in a root file system of its own, with the files at /etc/rowcount there."""

    def __init__(self, servers, values, sets=(), enter=None):
        self.ports = {"grpc": free_port(), "http": free_port()}
        given = [f"{name}.port={port}" for name, port in self.ports.items()]
        # No holder's past to wait for, and no IPv6 to hope for.
        given += ['lease.firstStart="immediate"', 'listenHost="0.0.0.0"', *sets]
        self.documents = chart.objects(values, sets=tuple(given))
        self.notes = chart.notes(values, given)
        self.directory = Path(tempfile.mkdtemp(prefix="rowcount-pod-"))
        self.directory.chmod(0o755)
        self.servers = servers
        self.enter = enter
        self.process = None
        for path, _ in chart.mounted_files(self.documents):
            file = self.directory / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(self.content(path))
            file.chmod(0o440)
            if os.geteuid() == 0:
                # As fsGroup does.
                shutil.chown(file, 0, UID)

    def content(self, path):
        """What the volume holds at `path`."""
        url = f"postgres://rowcount:of%3Apostgres%2Fund%25more@localhost:{self.servers.ports['postgres']}/registry"
        known = {
            "rowcount.yaml": self.outside(chart.configuration(self.documents)),
            "database/password": PASSWORD + "\n",
            "database/url": url + "\n",
            "database/tls.crt": self.servers.file("client.crt"),
            "database/tls.key": self.servers.file("client.key"),
            "redis/password": REDIS_PASSWORD + "\n",
            "redis/sentinel-password": SENTINEL_PASSWORD + "\n",
        }
        if path in known:
            return known[path]
        if path.startswith("tokens/"):
            return token(path.removeprefix("tokens/"))
        certificates = {"ca.crt": "ca.crt", "client-ca.crt": "ca.crt", "tls.crt": "server.crt", "tls.key": "server.key"}
        name = certificates.get(Path(path).name)
        return self.servers.file(name) if name else token(path.replace("/", "-"))

    def entered(self):
        """The program itself, or what runs it with the files mounted."""
        return [*self.enter, self.directory] if self.enter else [binary()]

    def outside(self, text):
        """A text with the paths of the files as the program finds them."""
        return text if self.enter else text.replace(MOUNT, str(self.directory))

    def start(self):
        """Starts it, and waits until the startup probe passes."""
        container = chart.deployment(self.documents)["spec"]["template"]["spec"]["containers"][0]
        command = [*self.entered(), *map(self.outside, container["args"])]
        with open(self.directory / "log", "wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.process = subprocess.Popen(command, env={}, **streams)
        eventually("the startup probe passes", lambda: self.alive() and self.probe("startupProbe"))

    def alive(self):
        if self.process.poll() is not None:
            # Not an AssertionError: waiting on would not help.
            raise RuntimeError(f"it ended with {self.process.returncode}:\n{self.log()}")
        return True

    def log(self):
        return (self.directory / "log").read_text()

    def probe(self, kind):
        """Whether the kubelet would be content."""
        container = chart.deployment(self.documents)["spec"]["template"]["spec"]["containers"][0]
        probe = container[kind]
        if "grpc" in probe:
            service = ["--service", probe["grpc"]["service"]] if "service" in probe["grpc"] else []
            url = f"http://127.0.0.1:{probe['grpc']['port']}"
            return run(binary(), "healthcheck", "--server", url, *service).returncode == 0
        [port] = [p["containerPort"] for p in container["ports"] if p["name"] == probe["httpGet"]["port"]]
        url = f"{probe['httpGet']['scheme'].lower()}://127.0.0.1:{port}{probe['httpGet']['path']}"
        # As the kubelet does: it verifies nothing and shows nothing.
        blind = ssl._create_unverified_context()
        with urllib.request.urlopen(url, timeout=5, context=blind) as answer:
            return answer.status == 200

    def helm_test(self):
        """Runs the command of `helm test`, against this instance."""
        [pod] = chart.find(self.documents, "Pod")
        host = f"{chart.find(self.documents, 'Service')[-1]['metadata']['name']}.registry.svc"
        arguments = pod["spec"]["containers"][0]["args"]
        ca = self.servers.directory / "ca.crt"
        arguments = [a.replace(host, "localhost").replace(f"{MOUNT}/ca.crt", str(ca)) for a in arguments]
        return succeed(binary(), *arguments)

    def noted(self, program):
        """Runs the command of the notes that begins with `program`, where what they fetch lies."""
        [line] = [line.strip() for line in self.notes.splitlines() if line.strip().startswith(f"{program} ")]
        used = re.search(r"get secret \S+ -o go-template='\{\{index .data \"(.+)\" \| base64decode\}\}'\)", self.notes)
        env = {"TOKEN": token(used[1])} if used else {}
        return succeed("bash", "-euo", "pipefail", "-c", line, cwd=self.servers.directory, env=env)

    def page(self, path="/metrics"):
        """A page of the ops port, as its monitor would ask for it."""
        monitors = chart.find(self.documents, "ServiceMonitor") + chart.find(self.documents, "PodMonitor")
        scheme = "https" if self.tls("http") else "http"
        request = urllib.request.Request(f"{scheme}://localhost:{self.ports['http']}{path}")
        for monitor in monitors:
            [endpoint] = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
            if "authorization" in endpoint:
                request.add_header("Authorization", f"Bearer {token(endpoint['authorization']['credentials']['key'])}")
        context = ssl.create_default_context(cafile=self.servers.directory / "ca.crt")
        context.load_cert_chain(self.servers.directory / "client.crt", self.servers.directory / "client.key")
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return answer.read().decode()

    def tls(self, port):
        paths = [path for path, _ in chart.mounted_files(self.documents)]
        return f"{port}/tls.crt" in paths

    def counts(self):
        """What `rowcount counts` prints, by query."""
        arguments = ["--server", f"http://127.0.0.1:{self.ports['grpc']}"]
        if self.tls("grpc"):
            directory = self.servers.directory
            arguments = ["--server", f"https://localhost:{self.ports['grpc']}", "--tls-ca", directory / "ca.crt"]
            arguments += ["--tls-cert", directory / "client.crt", "--tls-key", directory / "client.key"]
        tokens = sorted(path for path, _ in chart.mounted_files(self.documents) if path.startswith("tokens/"))
        if tokens:
            arguments += ["--token-file", self.directory / tokens[0]]
        answer = json.loads(succeed(binary(), "counts", "-o", "json", *arguments))
        return {count["queryName"]: count.get("rowCount") for count in answer["rowCounts"]}

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)


def token(name):
    """The token of a name: long enough for anybody."""
    return f"{name}-0123456789abcdef0123456789abcdef"
