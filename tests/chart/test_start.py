"""The program starts with what the chart renders, serves, and answers the rendered probes and `helm test`."""

import json
import re
import unittest

import chart
from instance import Instance
from replicated import Replicated
from servers import Servers, eventually
from tools import binary, succeed, tool

# What a values file needs to find the servers of this test instead of its own.
SERVERS = {
    "minimal": [],
    "single": ['database.user="trusted"'],
    "monitoring": ['tracing.endpoint=""'],
    "rates": [],
    "networkpolicy": ['tracing.endpoint=""'],
    "sentinel": ['redis.cache.addr=["localhost:{sentinel_0}","localhost:{sentinel_1}","localhost:{sentinel_2}"]'],
    "cluster": ['redis.cache.addr=["localhost:{node_0}","localhost:{node_1}","localhost:{node_2}"]'],
    "tls": ['redis.cache.addr=["localhost:{redis_tls}"]'],
    "mtls-tokens": ['database.user="certified"', "grpc.tls.allowedNames=[]"],
    "everything": [
        'database.user="certified"',
        'database.dbName="registry"',
        'database.password.existingSecret=""',
        'redis.cache.addr=["localhost:{redis_tls}"]',
        'redis.cache.mainName=""',
        'redis.cache.sentinelUsername=""',
        'redis.cache.sentinelPassword.existingSecret=""',
        'redis.cache.username="rowcount"',
        "grpc.tls.allowedNames=[]",
        "http.tls.allowedNames=[]",
        'tracing.endpoint=""',
        "rates.gauge.enabled=false",
        "extraArgs=[]",
    ],
}


class Start(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        binary()
        cls.servers = Servers()
        cls.addClassCleanup(cls.servers.stop)
        cls.replicated = Replicated(cls.servers)

    def instance(self, values, *sets):
        """An instance that is not started."""
        ports = self.servers.ports | self.replicated.ports
        given = [f"database.port={ports['postgres']}", f'redis.cache.addr=["localhost:{ports["redis"]}"]']
        if chart.name(values) == "single":
            given.pop()
        if "database:\n  url:" not in values.read_text():
            given.append('database.host="localhost"')
        given += [text.format(**ports) for text in sets]
        instance = Instance(self.servers, values, given)
        self.addCleanup(instance.stop)
        return instance

    def test_every_rendering_is_taken_as_it_is(self):
        for values in chart.CI:
            with self.subTest(values=chart.name(values)):
                instance = Instance(self.servers, values)
                self.addCleanup(instance.stop)
                succeed(binary(), "check", "--config", instance.directory / "rowcount.yaml")

    def test_every_rendering_starts_and_counts(self):
        started = set()
        for values in chart.CI:
            name = chart.name(values)
            with self.subTest(values=name):
                # A fleet of its own: those before it still run.
                instance = self.instance(values, f'cluster="{name}"', *SERVERS[name])
                instance.start()
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    self.assertTrue(instance.probe(probe), probe)
                self.assertEqual(instance.helm_test(), "SERVING\n")
                query = "all_repositories" if name == "everything" else "repositories"
                row = f'registry_database_rows{{query_name="{query}"}} 7\n'
                eventually("the count is scraped", lambda: row in instance.page())
                self.assertEqual(instance.counts()[query], 7)
                self.assertIn(row, instance.noted("curl"))
                tool("grpcurl")
                answer = json.loads(instance.noted("grpcurl"))
                self.assertIn(query, {count["queryName"] for count in answer["rowCounts"]})
                started.add(name)
        print("started:", ", ".join(sorted(started)))
        self.assertEqual(started, {chart.name(values) for values in chart.CI})

    def test_two_instances_share_one_lease_and_hand_it_over(self):
        first, second = (self.instance(chart.MINIMAL) for _ in range(2))
        first.start()
        eventually("the first counts", lambda: "rowcount_lease_held 1\n" in first.page())
        second.start()
        self.assertIn("rowcount_lease_held 0\n", second.page())
        first.process.terminate()
        self.assertEqual(first.process.wait(30), 0)
        eventually("the second counts", lambda: "rowcount_lease_held 1\n" in second.page())

    def test_a_probe_and_helm_test_fail_when_nobody_serves(self):
        instance = self.instance(chart.MINIMAL)
        self.assertFalse(instance.probe("livenessProbe"))
        with self.assertRaisesRegex(AssertionError, "cannot reach"):
            instance.helm_test()

    def test_the_database_is_asked_by_the_password_of_the_mounted_file(self):
        instance = self.instance(chart.MINIMAL)
        file = instance.directory / "database" / "password"
        file.chmod(0o600)
        file.write_text("another\n")
        instance.start()
        failed = re.compile(r'rowcount_query_failures_total\{query_name="repositories",reason="connection"\} [1-9]')
        eventually("the password is refused", lambda: failed.search(instance.page()))
        self.assertNotIn("another", instance.log())


if __name__ == "__main__":
    unittest.main()
