"""The chart and the program know the same settings, and each value reaches its own."""

import unittest

import yaml

import chart
import settings

EVERYTHING = chart.CHART / "ci" / "everything-values.yaml"


def renderings():
    """Every values file's settings, by path."""
    return {chart.name(values): settings.rendered(chart.configuration(chart.objects(values))) for values in chart.CI}


class Settings(unittest.TestCase):
    def test_the_program_reads_every_setting_that_is_rendered(self):
        known = settings.documented() | {"queries"}
        for name, given in renderings().items():
            unknown = {path for path in given if settings.of_secret(path) not in known}
            self.assertEqual(unknown, set(), name)

    def test_the_chart_renders_every_setting_that_the_program_reads(self):
        given = {path for rendering in renderings().values() for path in rendering}
        given |= {settings.of_secret(path) for path in given if path.endswith("file")}
        left_out = settings.documented() - given
        secrets = {path for path in settings.NOT_IN_CHART if path != "instanceid"}
        self.assertEqual(left_out | secrets, set(settings.NOT_IN_CHART))
        files = {f"{path}file" for path in secrets}
        rendered = {path for rendering in renderings().values() for path in rendering}
        self.assertLessEqual(files, rendered, "each secret that is not rendered has a file that is")
        self.assertFalse(secrets & rendered, "no secret is rendered itself")

    def test_every_query_key_is_taken(self):
        schema = yaml.safe_load((chart.CHART / "values.schema.json").read_text())
        self.assertEqual(set(schema["definitions"]["query"]["properties"]), settings.query_keys())

    def test_each_value_reaches_the_setting_of_its_name(self):
        defaults = settings.leaves(yaml.safe_load((chart.CHART / "values.yaml").read_text()))
        of_lower = {path.lower(): path for path, _ in defaults}
        known = settings.documented()
        given = dict(settings.leaves(yaml.safe_load(EVERYTHING.read_text())))
        rendered = settings.rendered(chart.configuration(chart.objects(EVERYTHING)))
        reached = set()
        for path, value in given.items():
            setting = path.lower()
            if setting in known and setting not in settings.RECORDS:
                self.assertIn(setting, of_lower, path)
                self.assertEqual(rendered[setting], value, path)
                reached.add(setting)
        # What has another name in the values: ports, and paths of mounted files.
        other = {path for path in rendered if path not in reached and path not in settings.RECORDS}
        unlike = {
            path for path in other if not (path.endswith(".addr") or str(rendered[path]).startswith("/etc/rowcount/"))
        }
        self.assertEqual(unlike, {"grpc.tls.clientcas", "http.tls.clientcas", "rates.prometheus.tokenfile"})
        self.assertEqual(rendered["grpc.addr"], "0.0.0.0:50052")
        self.assertEqual(rendered["http.addr"], "0.0.0.0:9465")

    def test_no_value_of_everything_is_a_default(self):
        # So the test above cannot pass by a default that happens to be right.
        defaults = dict(settings.leaves(yaml.safe_load((chart.CHART / "values.yaml").read_text())))
        given = dict(settings.leaves(yaml.safe_load(EVERYTHING.read_text())))
        known = settings.documented()
        same = {path for path, value in given.items() if path.lower() in known and defaults.get(path) == value}
        self.assertEqual(same, {"database.metrics.enabled", "redis.cache.enabled"}, "false would leave out the rest")

    def test_queries_and_costs_arrive_as_they_were_written(self):
        given = yaml.safe_load(EVERYTHING.read_text())
        rendered = yaml.safe_load(chart.configuration(chart.objects(EVERYTHING)))
        self.assertEqual(rendered["queries"], given["queries"])
        self.assertEqual(rendered["rates"]["costs"], given["rates"]["costs"])
        tokens = [
            {"name": t["name"], "role": t["role"], "tokenfile": f"/etc/rowcount/tokens/{t['name']}"}
            for t in given["auth"]["tokens"]
        ]
        self.assertEqual(rendered["auth"]["tokens"], tokens)

    def test_a_large_number_stays_a_number(self):
        sets = ('queries={"blobs":{"cap":1000000}}', "collection.staleAfter=1000000")
        text = chart.configuration(chart.objects(chart.MINIMAL, sets=sets))
        self.assertIn("cap: 1000000\n", text)
        self.assertIn("staleafter: 1000000\n", text)

    def test_every_path_that_is_rendered_is_mounted(self):
        for values in chart.CI:
            documents = chart.objects(values)
            mounted = {f"/etc/rowcount/{path}" for path, _ in chart.mounted_files(documents)}
            named = set(paths(yaml.safe_load(chart.configuration(documents)))) | {"/etc/rowcount/rowcount.yaml"}
            self.assertEqual(named, mounted, chart.name(values))

    def test_a_secret_is_nowhere_but_in_its_file(self):
        for values in chart.CI:
            documents = chart.objects(values)
            self.assertEqual(chart.find(documents, "Secret"), [], "the chart makes no Secret, so it knows none")
            for container in chart.deployment(documents)["spec"]["template"]["spec"]["containers"]:
                for variable in container.get("env", []):
                    self.assertNotIn("secretKeyRef", variable.get("valueFrom", {}), "no secret is in the environment")


def paths(tree):
    """Every path of a mounted file in a tree."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        for item in tree:
            yield from paths(item)
    elif isinstance(tree, str) and tree.startswith("/etc/rowcount/"):
        yield tree


if __name__ == "__main__":
    unittest.main()
