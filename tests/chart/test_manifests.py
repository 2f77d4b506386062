"""What is rendered is what Kubernetes and the Prometheus Operator take."""

import tempfile
import unittest
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

import chart
from tools import ROOT, run, succeed, tool

MONITORING = "monitoring.coreos.com/v1"
VERSIONS = sorted(kubernetes_validate.utils.all_versions(), key=lambda text: [int(n) for n in text.split(".")])
OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]


class Manifests(unittest.TestCase):
    def each(self):
        for values in chart.CI:
            with self.subTest(values=chart.name(values)):
                yield chart.objects(values)

    def test_every_feature_has_its_values(self):
        features = {chart.name(values) for values in chart.CI}
        wanted = {
            "minimal",
            "tls",
            "mtls-tokens",
            "sentinel",
            "cluster",
            "monitoring",
            "rates",
            "networkpolicy",
            "everything",
        }
        self.assertLessEqual(wanted, features)

    def test_the_chart_has_nothing_that_lint_would_tell(self):
        for values in chart.CI:
            with self.subTest(values=chart.name(values)):
                succeed(tool("helm"), "lint", "--strict", "--kube-version", chart.KUBERNETES, chart.CHART, "-f", values)

    def test_the_oldest_and_the_newest_kubernetes_take_every_object(self):
        oldest = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())["kubeVersion"]
        self.assertEqual(oldest, f">={OLDEST.rsplit('.', 1)[0]}.0-0", "Chart.yaml promises what is checked")
        for documents in self.each():
            for document in documents:
                if document["apiVersion"] == MONITORING:
                    continue
                for version in (OLDEST, NEWEST):
                    kubernetes_validate.validate(document, version, strict=True)

    def test_the_operator_takes_every_monitor_and_rule(self):
        # kubernetes-validate knows no custom resources: the schema here is an excerpt of theirs, of what the chart uses.
        schema = yaml.safe_load((Path(__file__).parent / "monitoring.schema.yaml").read_text())
        seen = set()
        for documents in self.each():
            for document in documents:
                if document["apiVersion"] == MONITORING:
                    jsonschema.validate(document, dict(schema, **{"$ref": f"#/definitions/{document['kind']}"}))
                    seen.add(document["kind"])
        self.assertEqual(seen, {"ServiceMonitor", "PodMonitor", "PrometheusRule"})

    def test_checkov_finds_nothing_but_what_is_explained(self):
        program = tool("checkov")
        with tempfile.TemporaryDirectory() as directory:
            for values in chart.CI:
                Path(directory, f"{chart.name(values)}.yaml").write_text(chart.text(values))
            config = ROOT / "tests" / "chart" / "checkov.yaml"
            done = run(program, "--config-file", config, "-d", directory, cwd=directory)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("Failed checks: 0", done.stdout)

    def test_a_selector_never_takes_the_pod_of_helm_test(self):
        for documents in self.each():
            [test] = [pod for pod in chart.find(documents, "Pod")]
            labels = test["metadata"]["labels"]
            for service in chart.find(documents, "Service"):
                self.assertFalse(service["spec"]["selector"].items() <= labels.items())
            selector = chart.deployment(documents)["spec"]["selector"]["matchLabels"]
            self.assertEqual(set(selector), {"app.kubernetes.io/name", "app.kubernetes.io/instance"})

    def test_no_pod_reads_the_names_of_services(self):
        for documents in self.each():
            pods = [chart.deployment(documents)["spec"]["template"]["spec"]]
            pods += [pod["spec"] for pod in chart.find(documents, "Pod")]
            for pod in pods:
                self.assertIs(pod["enableServiceLinks"], False)
                self.assertIs(pod["automountServiceAccountToken"], False)

    def test_every_instance_is_probed_by_grpc_in_plaintext_and_by_http_with_tls(self):
        for values, probe in [("minimal", "grpc"), ("tls", "httpGet"), ("everything", "httpGet")]:
            documents = chart.objects(chart.CHART / "ci" / f"{values}-values.yaml")
            container = chart.deployment(documents)["spec"]["template"]["spec"]["containers"][0]
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                self.assertIn(probe, container[kind], f"{values}: {kind}")

    def test_a_change_of_a_setting_changes_the_pods(self):
        def checksum(*sets):
            template = chart.deployment(chart.objects(chart.MINIMAL, sets=sets))["spec"]["template"]
            return template["metadata"]["annotations"]["checksum/config"]

        self.assertNotEqual(checksum(), checksum('catalog="registry"'))
        self.assertEqual(checksum(), checksum("replicaCount=3"))

    def test_two_releases_share_no_lease(self):
        fleets = {
            yaml.safe_load(chart.configuration(chart.objects(chart.MINIMAL, release=release, namespace=namespace)))[
                "cluster"
            ]
            for release, namespace in [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")]
        }
        self.assertEqual(len(fleets), 4)

    def test_one_instance_without_redis_is_never_two(self):
        documents = chart.objects(chart.CHART / "ci" / "single-values.yaml")
        self.assertEqual(chart.deployment(documents)["spec"]["strategy"], {"type": "Recreate"})
        strategy = chart.deployment(chart.objects(chart.MINIMAL))["spec"]["strategy"]
        self.assertEqual(strategy["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1})

    def test_egress_reaches_every_port_that_is_configured(self):
        [policy] = chart.find(chart.objects(chart.CHART / "ci" / "everything-values.yaml"), "NetworkPolicy")
        ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        # DNS, PostgreSQL, Redis and its Sentinels, Prometheus, OTLP, and the rule of the user's.
        self.assertEqual(ports, {53, 5433, 6379, 26379, 9090, 4317, 443})


if __name__ == "__main__":
    unittest.main()
