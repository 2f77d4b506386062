"""Files that are made from others, or say the same as others, are current; those for other ways to run are sound."""

import re
import tempfile
import tomllib
import unittest
from pathlib import Path

import yaml

import chart
from tools import ROOT, binary, run, succeed, tool

DEPLOY = ROOT / "deploy"


class Generated(unittest.TestCase):
    def test_the_table_of_values_is_current(self):
        succeed("python3", ROOT / "helm" / "table.py", "--check")

    def test_the_table_has_every_value(self):
        readme = (chart.CHART / "README.md").read_text()
        listed = set(re.findall(r"^\| `([A-Za-z.]+)` \|", readme, re.MULTILINE))
        whole = {path for path in listed if not any(other.startswith(f"{path}.") for other in listed)}
        self.assertEqual(listed, whole)
        for path in leaves(yaml.safe_load((chart.CHART / "values.yaml").read_text())):
            self.assertTrue(any(path == row or path.startswith(f"{row}.") for row in listed), path)

    def test_the_plain_manifests_are_current(self):
        tool("helm")
        self.assertEqual(succeed(DEPLOY / "kubernetes.sh"), (DEPLOY / "kubernetes.yaml").read_text())

    def test_the_plain_manifests_have_no_trace_of_helm(self):
        text = (DEPLOY / "kubernetes.yaml").read_text()
        self.assertNotIn("helm.sh", text)
        self.assertNotIn("managed-by", text)
        kinds = [document["kind"] for document in yaml.safe_load_all(text)]
        wanted = [
            "ConfigMap",
            "Deployment",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "Service",
            "Service",
            "ServiceAccount",
        ]
        self.assertEqual(sorted(kinds), wanted)

    def test_the_chart_is_of_the_crate(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        self.assertEqual(yaml.safe_load((chart.CHART / "Chart.yaml").read_text())["appVersion"], version)
        self.assertIn(f"\nARG VERSION={version}\n", (ROOT / "Dockerfile").read_text())
        self.assertIn(f"image: rowcount:{version}\n", (DEPLOY / "compose.yaml").read_text())


class Elsewhere(unittest.TestCase):
    def test_the_reference_implementation_takes_the_compose_file(self):
        env = {"DATABASE_PASSWORD": "any"}
        project = yaml.safe_load(succeed(tool("compose-spec"), "compose.yaml", cwd=DEPLOY, env=env))
        self.assertEqual(set(project["services"]), {"postgres", "redis", "rowcount-1", "rowcount-2", "prometheus"})
        for name, service in project["services"].items():
            self.assertNotRegex(service["image"], r"(:latest|^[^:]+)$", name)
            for port in service.get("ports", []):
                self.assertEqual(port["host_ip"], "127.0.0.1", f"{name} is not for the network")
        for file in project["configs"].values():
            self.assertTrue(Path(file["file"]).exists(), file["file"])

    def test_the_program_takes_the_settings_of_the_compose_file(self):
        done = run(binary(), "check", "--config", DEPLOY / "rowcount.yaml")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_program_takes_the_plain_settings(self):
        documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(chart.configuration(documents))
            file.flush()
            done = run(binary(), "check", "--config", file.name)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_prometheus_takes_its_settings(self):
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "prometheus.yaml").write_text((DEPLOY / "prometheus.yaml").read_text())
            Path(directory, "rules.yaml").write_text((chart.CHART / "files" / "rules.yaml").read_text())
            succeed(tool("promtool"), "check", "config", "prometheus.yaml", cwd=directory)

    def test_systemd_takes_the_unit_and_finds_it_hardened(self):
        program = tool("systemd-analyze", "apt-get install systemd")
        with tempfile.TemporaryDirectory() as directory:
            unit = Path(directory, "rowcount.service")
            text = (DEPLOY / "rowcount.service").read_text()
            unit.write_text(text.replace("/usr/local/bin/rowcount", binary()))
            done = run(program, "verify", "--man=no", unit)
            told = [line for line in done.stderr.splitlines() if "rowcount.service" in line]
            self.assertEqual((done.returncode, told), (0, []), done.stderr)
            exposure = run(program, "security", "--offline=true", "--threshold=15", unit)
            self.assertEqual(exposure.returncode, 0, exposure.stdout.splitlines()[-1:])


class Notes(unittest.TestCase):
    def notes(self, name):
        return chart.notes(chart.CHART / "ci" / f"{name}-values.yaml")

    def test_plaintext_is_called_in_plaintext(self):
        notes = self.notes("minimal")
        self.assertIn("grpcurl -plaintext 127.0.0.1:50051 rowcount.v1.RowCountService/GetRowCounts", notes)
        self.assertIn("curl -s http://127.0.0.1:9464/metrics", notes)
        self.assertNotIn("TOKEN", notes)

    def test_tls_is_called_by_the_name_of_the_certificate(self):
        notes = self.notes("tls")
        self.assertIn("grpcurl -cacert ca.crt -authority rowcount.registry.svc 127.0.0.1:50051", notes)
        self.assertIn(
            "--resolve rowcount.registry.svc:9464:127.0.0.1 https://rowcount.registry.svc:9464/metrics", notes
        )
        self.assertIn(
            "get secret rowcount-tls -o go-template='{{index .data \"ca.crt\" | base64decode}}' > ca.crt", notes
        )

    def test_a_token_that_may_more_will_do_where_none_may_only_read(self):
        tokens = 'auth.tokens=[{"name":"admin","role":"operate","existingSecret":"tokens","key":"admin"}]'
        notes = chart.notes(chart.MINIMAL, [tokens])
        self.assertIn("get secret tokens -o go-template='{{index .data \"admin\" | base64decode}}'", notes)
        documents = chart.objects(chart.MINIMAL, sets=(tokens, "serviceMonitor.enabled=true"))
        [monitor] = chart.find(documents, "ServiceMonitor")
        [endpoint] = monitor["spec"]["endpoints"]
        self.assertEqual(endpoint["authorization"]["credentials"], {"name": "tokens", "key": "admin"})

    def test_certificates_and_tokens_are_shown(self):
        notes = self.notes("mtls-tokens")
        self.assertIn("-cert client.crt -key client.key", notes)
        self.assertIn('-H "authorization: Bearer $TOKEN"', notes)
        self.assertIn(
            "get secret rowcount-tokens -o go-template='{{index .data \"prometheus\" | base64decode}}'", notes
        )
        self.assertIn(
            "-import-path proto -import-path third_party -proto rowcount/v1/row_count_service.proto",
            notes,
            "reflection is off",
        )

    def test_every_value_file_has_notes_without_gaps(self):
        for values in chart.CI:
            notes = self.notes(chart.name(values))
            self.assertNotIn("<no value>", notes)
            self.assertNotIn("\n\n\n", notes)

    def test_what_is_unusual_is_said(self):
        self.assertIn("There is no Redis", self.notes("single"))


def leaves(tree, parent=""):
    """Every path whose value is no map, or an empty one."""
    for key, value in tree.items():
        path = f"{parent}.{key}" if parent else key
        if isinstance(value, dict) and value:
            yield from leaves(value, path)
        else:
            yield path


if __name__ == "__main__":
    unittest.main()
