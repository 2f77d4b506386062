"""Values that cannot work are refused before anything is installed, each by its name."""

import unittest

import chart


class Refusals(unittest.TestCase):
    def refused(self, *sets, values=chart.MINIMAL):
        done = chart.template([values], sets)
        self.assertNotEqual(done.returncode, 0, f"{sets} were taken")
        return done.stderr

    def problems(self, *sets, values=chart.MINIMAL):
        text = self.refused(*sets, values=values)
        self.assertIn("wrong values:\n", text)
        return text.split("wrong values:\n")[1].split("\n\n")[0].splitlines()

    def test_a_key_that_is_not_known_is_refused_by_the_schema(self):
        for given, told in [
            ("databse={}", "additional properties 'databse' not allowed"),
            ('database.metrics.leaseduration="1m"', "additional properties 'leaseduration' not allowed"),
            ('queries.tags={"enable":false}', "additional properties 'enable' not allowed"),
            ('queries.Tags={"enabled":false}', "additional properties 'Tags' not allowed"),
            ('grpc.tls.certificate="a.pem"', "additional properties 'certificate' not allowed"),
        ]:
            with self.subTest(given=given):
                self.assertIn(told, self.refused(given))

    def test_a_value_of_the_wrong_kind_is_refused_by_the_schema(self):
        for given, told in [
            ("database.metrics.interval=10", "at '/database/metrics/interval': got number, want string"),
            ('database.metrics.interval="10"', "at '/database/metrics/interval': '10' does not match pattern"),
            ('database.sslMode="on"', "at '/database/sslMode': value must be one of"),
            ("grpc.port=0", "at '/grpc/port': minimum: got 0, want 1"),
            ('redis.cache.addr=["redis"]', "at '/redis/cache/addr/0': 'redis' does not match pattern"),
            ('redis.cache.addr="redis:6379"', "at '/redis/cache/addr': got string, want array"),
            ('image.tag="latest"', "at '/image/tag'"),
            ('auth.tokens=[{"name":"a","role":"read","key":"a"}]', "missing property 'existingSecret'"),
            ('auth.tokens=[{"name":"a","role":"all","existingSecret":"s","key":"a"}]', "at '/auth/tokens/0/role'"),
        ]:
            with self.subTest(given=given):
                self.assertIn(told, self.refused(given))

    def test_a_lease_that_is_not_longer_than_the_interval(self):
        told = "database.metrics.leaseDuration: 10s must be longer than database.metrics.interval, 10s"
        self.assertEqual(self.problems('database.metrics.leaseDuration="10s"'), [told])
        told = "database.metrics.leaseDuration: 30s must be longer than database.metrics.interval, 0.5m1s"
        self.assertEqual(self.problems('database.metrics.interval="0.5m1s"'), [told])
        accepted = chart.template([chart.MINIMAL], ['database.metrics.interval="29s999ms"'])
        self.assertEqual(accepted.returncode, 0, accepted.stderr)

    def test_a_quarantine_that_is_shorter_than_the_lease_and_its_margin(self):
        told = (
            "lease.quarantine: 30s must be 0s, or at least 31.5s: database.metrics.leaseDuration, 30s, and its margin"
        )
        self.assertEqual(self.problems('lease.quarantine="30s"'), [told])

    def test_a_gauge_without_the_prometheus_that_it_is_made_of(self):
        told = "rates.gauge.enabled: needs rates.prometheus.url, which is not set"
        self.assertEqual(self.problems("rates.gauge.enabled=true"), [told])
        self.assertIn("at '/rates/gauge/model': value must be one of", self.refused('rates.gauge.model="m"'))

    def test_an_address_that_is_given_twice(self):
        told = "redis.cache.addr: a:1 is given twice"
        self.assertEqual(self.problems('redis.cache.addr=["a:1","b:1","a:1"]'), [told])

    def test_no_credential(self):
        told = (
            "database: no credential; set database.password.existingSecret, database.url.existingSecret or "
            "database.clientCertificate.existingSecret, or database.passwordless: true where the server asks for none"
        )
        self.assertEqual(self.problems('database.password.existingSecret=""'), [told])

    def test_two_credentials(self):
        told = "database: give one credential, not database.password and database.passwordless"
        self.assertEqual(self.problems("database.passwordless=true"), [told])
        told = self.problems('database.url.existingSecret="s"')
        self.assertEqual(told[0], "database: give one credential, not database.url and database.password")
        self.assertIn("database.host: is a part of what database.url holds; give one of the two", told)

    def test_a_database_without_its_name(self):
        told = self.problems('database.host=""', 'database.dbName=""')
        self.assertEqual(
            told,
            [f"database.{key}: is not set; set it, or database.url.existingSecret" for key in ("dbName", "host")],
        )

    def test_instances_that_never_count_need_no_database(self):
        done = chart.template([], ["database.metrics.enabled=false", 'redis.cache.addr=["redis:6379"]'])
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_several_instances_without_redis(self):
        told = "replicaCount: 2 instances share their lease in Redis; set redis.cache.addr, or replicaCount: 1"
        self.assertEqual(self.problems("redis.cache.addr=[]"), [told])
        self.assertEqual(self.problems("redis.cache.enabled=false"), [told])

    def test_sentinels_without_a_main_server_and_the_other_way_round(self):
        told = "redis.cache.mainName: is not set, but there are credentials of Sentinels"
        self.assertEqual(self.problems('redis.cache.sentinelUsername="a"'), [told])
        told = 'redis.cache.mainName: is "main", but redis.cache.addr names no Sentinel'
        self.assertIn(told, self.problems('redis.cache.mainName="main"', "redis.cache.addr=[]"))

    def test_a_database_number_in_a_cluster(self):
        told = (
            "redis.cache.db: 1 is not in a Cluster, which has 0 only; set redis.cache.mainName where the addresses are "
            "Sentinels"
        )
        self.assertEqual(self.problems('redis.cache.addr=["a:1","b:1"]', "redis.cache.db=1"), [told])

    def test_plaintext_that_nobody_allowed(self):
        told = [
            f"{port}.tls.existingSecret: is not set; set it, or insecure: true to allow plaintext"
            for port in ("grpc", "http")
        ]
        self.assertEqual(self.problems("insecure=false"), told)

    def test_certificates_of_clients_without_tls(self):
        told = self.problems('grpc.tls.clientCAs.existingSecret="s"', 'http.tls.allowedNames=["a"]')
        self.assertEqual(
            told,
            ["grpc.tls.clientCAs: needs grpc.tls.existingSecret", "http.tls.allowedNames: needs http.tls.clientCAs"],
        )

    def test_one_port_for_both(self):
        told = "http.port: 50051 is also grpc.port; give each a port of its own"
        self.assertEqual(self.problems("http.port=50051"), [told])

    def test_two_tokens_of_one_name(self):
        token = '{"name":"a","role":"read","existingSecret":"s","key":"a"}'
        self.assertEqual(self.problems(f"auth.tokens=[{token},{token}]"), ["auth.tokens: the name a is given 2 times"])

    def test_two_sources_of_one_file(self):
        told = "database.ca: give existingSecret or existingConfigMap, not both"
        given = ['database.ca.existingSecret="a"', 'database.ca.existingConfigMap="b"']
        self.assertEqual(self.problems(*given), [told])

    def test_two_credentials_for_prometheus(self):
        given = [f'rates.prometheus.{key}.existingSecret="s"' for key in ("token", "password")]
        self.assertEqual(
            self.problems(*given),
            [
                "rates.prometheus: give one credential, not rates.prometheus.token and rates.prometheus.password",
                "rates.prometheus: username and password go together",
            ],
        )

    def test_a_monitor_that_cannot_scrape(self):
        told = "podMonitor.enabled: serviceMonitor.enabled is true too, and every instance would be scraped twice"
        self.assertEqual(self.problems("serviceMonitor.enabled=true", "podMonitor.enabled=true"), [told])
        told = "podMonitor.tlsConfig: has no cert and keySecret, but http.tls.clientCAs asks for a certificate"
        values = chart.CHART / "ci" / "mtls-tokens-values.yaml"
        self.assertEqual(self.problems("podMonitor.tlsConfig=null", values=values), [told])
        told = "serviceMonitor.token: nobody is no name of auth.tokens"
        self.assertEqual(self.problems("serviceMonitor.enabled=true", 'serviceMonitor.token="nobody"'), [told])

    def test_a_budget_of_two_minds(self):
        told = "podDisruptionBudget: give minAvailable or maxUnavailable, and the other empty"
        self.assertEqual(self.problems("podDisruptionBudget.minAvailable=1"), [told])

    def test_every_problem_is_told_at_once(self):
        told = self.problems(
            'database.metrics.leaseDuration="1s"', "redis.cache.addr=[]", "http.port=50051", "insecure=false"
        )
        self.assertEqual(len(told), 5, told)


if __name__ == "__main__":
    unittest.main()
