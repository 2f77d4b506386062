"""The rules: of the file, of the chart, and what people read when one of them fires."""

import re
import tempfile
import unittest
from pathlib import Path

import yaml

import chart
import pages
from tools import ROOT, succeed, tool

FILE = chart.CHART / "files" / "rules.yaml"
TESTS = ROOT / "tests" / "chart" / "rules_test.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
MONITORING = chart.CHART / "ci" / "monitoring-values.yaml"


def rules(groups):
    """Every rule, in order."""
    return [rule for group in groups for rule in group["rules"]]


def alerts(groups):
    """Every alert by its name."""
    return {rule["alert"]: rule for rule in rules(groups) if "alert" in rule}


class Rules(unittest.TestCase):
    groups = yaml.safe_load(FILE.read_text())["groups"]

    def rendered(self, *sets, values=MONITORING):
        [rule] = chart.find(chart.objects(values, sets=sets, release="rowcount"), "PrometheusRule")
        return rule["spec"]["groups"]

    def check(self, groups):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "rules.yaml")
            path.write_text(yaml.safe_dump({"groups": groups}))
            succeed(tool("promtool"), "check", "rules", "--lint-fatal", path)

    def test_promtool_takes_the_file_and_every_rendering(self):
        self.check(self.groups)
        for values in (MONITORING, chart.CHART / "ci" / "everything-values.yaml"):
            self.check(self.rendered(values=values))

    def test_every_alert_fires_and_ends_as_its_tests_say(self):
        succeed(tool("promtool"), "test", "rules", TESTS)

    def test_every_alert_is_tested_to_fire_to_hold_back_and_to_end(self):
        times = {}
        for test in yaml.safe_load(TESTS.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                times.setdefault(case["alertname"], []).append(bool(case.get("exp_alerts")))
        for alert in alerts(self.groups):
            fires = times.get(alert, [])
            self.assertIn([False, True, False], [fires[at : at + 3] for at in range(len(fires))], alert)

    def test_every_alert_says_what_and_how_bad_and_where_to_read_on(self):
        for name, alert in alerts(self.groups).items():
            with self.subTest(alert=name):
                self.assertIn(alert["labels"]["severity"], ("critical", "warning"))
                self.assertEqual(set(alert["annotations"]), {"summary", "description", "runbook_url"})
                page = (ROOT / alert["annotations"]["runbook_url"]).read_text()
                self.assertTrue(page.startswith(f"# {name}\n"))
                for heading in ("## What it means", "## What to look at", "## What to do"):
                    self.assertIn(f"\n{heading}\n", page)

    def test_every_runbook_is_of_an_alert(self):
        pages_ = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
        self.assertEqual(pages_, set(alerts(self.groups)))

    def test_every_expression_asks_for_metrics_that_there_are(self):
        recorded = {rule["record"] for rule in rules(self.groups) if "record" in rule}
        for rule in rules(self.groups):
            with self.subTest(rule=rule.get("alert", rule.get("record"))):
                self.assertEqual(pages.unknown(rule["expr"], also=recorded), set())
                self.assertEqual(pages.wrong_labels(rule["expr"]), set())

    def test_every_selector_is_of_one_fleet(self):
        # Two releases in one Prometheus must not make each other's alerts.
        for rule in rules(self.groups):
            for selector in pages.selectors(rule["expr"]):
                self.assertIn('job="rowcount"', {f'{m.name}="{m.value}"' for m in selector.matchers.matchers}, rule)
        text = str(self.rendered())
        self.assertNotIn('job="rowcount",query', text)
        for rule in rules(self.rendered()):
            self.assertEqual(rule["expr"].count('job="'), rule["expr"].count('job="rowcount",namespace="registry"'))

    def test_what_the_chart_renders_is_the_file_for_this_release(self):
        sets = ("prometheusRule.enabled=true", 'prometheusRule.selector="job=\\"rowcount\\""')
        self.assertEqual(self.rendered(*sets, values=chart.MINIMAL), self.groups)

    def test_thresholds_follow_the_interval(self):
        rendered = alerts(self.rendered())
        self.assertTrue(rendered["RowcountCollectionStale"]["expr"].endswith("> 300"))
        self.assertTrue(rendered["RowcountCollectionSlow"]["expr"].endswith("> 60"))
        rendered = alerts(self.rendered('database.metrics={"interval":"1h","leaseDuration":"2h"}'))
        self.assertTrue(rendered["RowcountCollectionStale"]["expr"].endswith("> 18000"))
        self.assertTrue(rendered["RowcountCollectionSlow"]["expr"].endswith("> 3600"))

    def test_an_alert_can_be_left_out_labelled_and_linked(self):
        rendered = alerts(self.rendered())
        self.assertEqual(set(alerts(self.groups)) - set(rendered), {"RowcountGcQueueOverdueGrowing"})
        down = rendered["RowcountDown"]
        self.assertEqual(down["labels"], {"severity": "warning", "team": "registry"})
        self.assertEqual(down["annotations"]["runbook_url"], "https://runbooks.example/rowcount/RowcountDown.md")

    def test_the_schema_knows_every_alert_that_can_be_left_out(self):
        schema = yaml.safe_load((chart.CHART / "values.schema.json").read_text())
        known = schema["properties"]["prometheusRule"]["properties"]["disabled"]["items"]["enum"]
        self.assertEqual(sorted(known), sorted(alerts(self.groups)))

    def test_no_threshold_is_left_behind_by_the_template(self):
        # _rules.tpl replaces these texts; a changed one in the file would silently stay as it is.
        for alert, threshold in [("RowcountCollectionStale", "> 300"), ("RowcountCollectionSlow", "> 10")]:
            self.assertTrue(alerts(self.groups)[alert]["expr"].endswith(threshold))
            self.assertEqual(len(re.findall(r"> \d+", alerts(self.groups)[alert]["expr"])), 1)


if __name__ == "__main__":
    unittest.main()
