"""The image: as small as it can be, and enough to run the program with a read-only root, no home and no rights."""

import json
import os
import re
import shutil
import tempfile
import tomllib
import unittest
from pathlib import Path

import chart
from instance import UID, Instance
from names import NameServer
from servers import Servers, eventually
from tools import ROOT, binary, missing, run, succeed, tool

# What `unshare` runs: what a container's runtime adds, the settings at their place, the rest read-only, then the program as
# the image's user.
ENTER = """
set -eu
mount --bind "$1" "$1"
mkdir -p "$1/dev" "$1/proc"
mount --rbind /dev "$1/dev"
mount --rbind /proc "$1/proc"
mount --bind "$2" "$1/etc/rowcount"
mount -o remount,bind,ro "$1"
root=$1; shift 2
exec chroot --userspec={uid}:{uid} "$root" /usr/bin/rowcount "$@"
"""


def lint(path):
    return run(tool("hadolint"), "--failure-threshold", "info", path)


class Dockerfile(unittest.TestCase):
    text = (ROOT / "Dockerfile").read_text()

    def test_hadolint_finds_nothing(self):
        done = lint(ROOT / "Dockerfile")
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_the_base_is_pinned_and_the_image_has_nothing_below_it(self):
        bases = [line.split()[1] for line in self.text.splitlines() if line.startswith("FROM ")]
        self.assertRegex(bases[0], r"^rust:\d+\.\d+\.\d+-\w+$")
        self.assertEqual(bases[1:], ["scratch"])

    def test_the_build_gets_every_file_that_it_reads(self):
        taken = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        self.assertLessEqual({"Cargo.toml", "Cargo.lock", "build.rs", "src", "benches", "proto", "third_party"}, taken)
        self.assertIn("deploy/rootfs.sh", taken)
        for source in (ROOT / "src").rglob("*.rs"):
            for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
                file = (source.parent / name).resolve().relative_to(ROOT)
                self.assertTrue(any(file.is_relative_to(path) for path in taken), f"{source.name} includes {file}")


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        tool("buildah", "apt-get install buildah")
        if os.geteuid() != 0:
            missing("not root: only root enters a root file system")
        if "statically linked" not in run("ldd", binary()).stdout:
            missing(f"{binary()} is not static: `make test-chart` builds one")
        cls.directory = Path(tempfile.mkdtemp(prefix="rowcount-image-"))
        cls.addClassCleanup(lambda: shutil.rmtree(cls.directory, ignore_errors=True))
        print(succeed(ROOT / "deploy" / "image.sh", binary(), cls.directory, "abc123").strip())
        cls.container = cls.buildah("from", "--pull-never", f"localhost/rowcount:{cls.version()}").strip()
        cls.root = Path(cls.buildah("mount", cls.container).strip())
        cls.addClassCleanup(lambda: cls.buildah("umount", cls.container))
        cls.files = {str(path.relative_to(cls.root)) for path in cls.root.rglob("*") if not path.is_dir()}

    @classmethod
    def buildah(cls, *arguments):
        storage = ["--storage-driver", "vfs", "--root", cls.directory / "storage", "--runroot", cls.directory / "run"]
        return succeed(tool("buildah"), *storage, *arguments)

    @staticmethod
    def version():
        return tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]

    def test_there_is_the_program_and_what_it_reads_and_nothing_else(self):
        self.assertEqual(
            self.files,
            {"usr/bin/rowcount", "etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/ssl/certs/ca-certificates.crt"},
        )

    def test_it_runs_as_nobody_in_particular_and_tells_its_health_and_origin(self):
        image = json.loads(self.buildah("inspect", "--type", "image", f"localhost/rowcount:{self.version()}"))["Docker"]
        config = image["config"]
        self.assertEqual(config["User"], f"{UID}:{UID}")
        self.assertEqual(config["Entrypoint"], ["/usr/bin/rowcount"])
        self.assertEqual(config["Healthcheck"]["Test"], ["CMD", "/usr/bin/rowcount", "healthcheck"])
        labels = config["Labels"]
        self.assertEqual(labels["org.opencontainers.image.version"], self.version())
        self.assertEqual(labels["org.opencontainers.image.revision"], "abc123")
        self.assertEqual(set(config["ExposedPorts"]), {"50051/tcp", "9464/tcp"})

    def test_the_program_counts_out_of_it_with_a_read_only_root_and_no_home(self):
        servers = Servers()
        self.addCleanup(servers.stop)
        # A name that only a name server knows, as in a cluster: a static glibc must ask it too.
        names = NameServer("postgres.test", "127.53.0.1")
        self.addCleanup(names.stop)
        (self.root / "etc" / "resolv.conf").write_text("nameserver 127.53.0.1\noptions timeout:1 attempts:2\n")
        sets = [f"database.port={servers.ports['postgres']}", 'database.host="postgres.test"']
        sets.append(f'redis.cache.addr=["127.0.0.1:{servers.ports["redis"]}"]')
        enter = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", ENTER.format(uid=UID), "sh", self.root]
        instance = Instance(servers, chart.MINIMAL, sets, enter)
        self.addCleanup(instance.stop)
        instance.start()
        status = Path(f"/proc/{instance.process.pid}/status").read_text()
        self.assertIn(f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}\n", status)
        self.assertIn("CapEff:\t0000000000000000\n", status)
        row = 'registry_database_rows{query_name="repositories"} 7\n'
        eventually("the count is scraped", lambda: row in instance.page())
        self.assertGreater(names.asked, 0)
        instance.process.terminate()
        self.assertEqual(instance.process.wait(30), 0)


if __name__ == "__main__":
    unittest.main()
