"""What the program would refuse is refused before anything is installed, and nothing else."""

import tempfile
import unittest

import chart
from tools import binary, run

DURATIONS = [
    "database.connectTimeout",
    "redis.cache.dialTimeout",
    "redis.cache.readTimeout",
    "redis.cache.writeTimeout",
    "collection.timeout",
    "collection.triggerInterval",
    "rates.prometheus.timeout",
    "rates.gauge.interval",
]
LEASE = ["database.metrics.interval", "database.metrics.leaseDuration", "lease.quarantine"]


class Edges(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        cls.addClassCleanup(cls.base.close)
        cls.base.write(chart.configuration(chart.objects(chart.MINIMAL)))
        cls.base.flush()

    def refused_by_the_program(self, given):
        """The settings that it names, in lower case."""
        variables = {"ROWCOUNT_" + path.upper().replace(".", "_"): value for path, value in given.items()}
        done = run(binary(), "check", "--config", self.base.name, env=variables)
        self.assertIn(done.returncode, (0, 78), done.stderr)
        return {path.lower() for path in given if f"\n  {path.lower()}: " in done.stderr}

    def refused_by_the_chart(self, given):
        done = chart.template([chart.MINIMAL], [f'{path}="{value}"' for path, value in given.items()])
        if done.returncode == 0:
            return set()
        self.assertIn("wrong values:\n", done.stderr)
        problems = done.stderr.split("wrong values:\n")[1].splitlines()
        return {path.lower() for path in given if any(line.startswith(f"{path}: ") for line in problems)}

    def test_durations(self):
        refused = {}
        for value in ("0s", "9ms", "10ms", "99ms", "100ms", "0.999s", "1s", "8760h", "8760h1ms"):
            given = dict.fromkeys(DURATIONS, value)
            refused[value] = self.refused_by_the_chart(given)
            self.assertEqual(refused[value], self.refused_by_the_program(given), value)
        self.assertEqual(len(refused["8760h1ms"]), len(DURATIONS))
        self.assertEqual(refused["1s"], set())

    def test_the_lease_its_interval_and_its_quarantine(self):
        for values, is_refused in [
            (("10s", "30s", "31.5s"), False),
            (("10s", "30s", "31.499s"), True),
            (("10s", "33s", "34.65s"), False),
            (("10s", "33s", "34.649s"), True),
            (("1s", "2s", "2.25s"), False),
            (("1s", "2s", "2.249s"), True),
            (("1s", "1.6s", "1.8s"), False),
            (("1s", "1.6s", "1.799s"), True),
            (("1s", "1.6s", "1ms"), True),
            (("30s", "30s", "0s"), True),
            (("99ms", "1s", "0s"), True),
            (("100ms", "199ms", "0s"), True),
            (("100ms", "200ms", "0s"), False),
        ]:
            given = dict(zip(LEASE, values))
            refused = self.refused_by_the_chart(given)
            self.assertEqual(refused, self.refused_by_the_program(given), values)
            self.assertEqual(bool(refused), is_refused, values)


if __name__ == "__main__":
    unittest.main()
