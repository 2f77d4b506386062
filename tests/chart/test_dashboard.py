"""The dashboard asks for nothing that is not there."""

import json
import unittest

import promql_parser

import chart
import pages

FILE = chart.CHART / "files" / "dashboard.json"
# What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "1m", "$namespace": ".*", "$job": ".*", "$instance": ".*"}


def filled_in(expression):
    """An expression as Prometheus gets it."""
    for variable, text in VARIABLES.items():
        expression = expression.replace(variable, text)
    return expression


class Dashboard(unittest.TestCase):
    board = json.loads(FILE.read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]

    def expressions(self):
        for panel in self.panels:
            for target in panel["targets"]:
                with self.subTest(panel=panel["title"], expr=target["expr"]):
                    yield target["expr"]

    def test_every_expression_parses_and_finds_its_metrics_and_labels(self):
        for expression in self.expressions():
            text = filled_in(expression)
            self.assertNotIn("$", text)
            promql_parser.parse(text)
            self.assertEqual(pages.unknown(text), set())
            self.assertEqual(pages.wrong_labels(text), set())

    def test_every_family_of_ours_is_shown(self):
        # process_* beside CPU, memory and files, and what only tells a version or a start, are for other eyes.
        elsewhere = {"process_start_time_seconds", "process_threads", "process_virtual_memory_bytes"}
        elsewhere |= {
            "rowcount_collection_last_success_timestamp_seconds",
            "rowcount_config_last_reload_success_timestamp_seconds",
            "rowcount_estimate_last_success_timestamp_seconds",
            "rowcount_snapshot_timestamp_seconds",
        }
        known = pages.families()
        shown = {pages.family(s.name, known) for e in self.expressions() for s in pages.selectors(filled_in(e))}
        self.assertEqual(set(known) - shown, elsewhere)

    def test_every_selector_is_of_the_chosen_fleet(self):
        for expression in self.expressions():
            for selector in pages.selectors(filled_in(expression)):
                given = {matcher.name for matcher in selector.matchers.matchers}
                self.assertLessEqual({"namespace", "job"}, given)

    def test_rates_follow_the_interval_of_the_scrape(self):
        for expression in self.expressions():
            if "rate(" in expression:
                self.assertIn("[$__rate_interval]", expression)

    def test_every_panel_has_a_title_a_description_a_unit_and_the_data_source(self):
        for panel in self.panels:
            with self.subTest(panel=panel["title"]):
                self.assertTrue(panel["title"] and panel["description"].endswith("."))
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                for place in [panel, *panel["targets"]]:
                    self.assertEqual(place["datasource"], {"type": "prometheus", "uid": "${datasource}"})

    def test_the_dashboard_can_be_told_apart_and_aimed(self):
        self.assertEqual(self.board["uid"], "rowcount")
        self.assertIsNone(self.board.get("id"), "an id would be another Grafana's")
        names = [variable["name"] for variable in self.board["templating"]["list"]]
        self.assertEqual(names, ["datasource", "namespace", "job", "instance"])
        ids = [panel["id"] for panel in self.board["panels"]]
        self.assertEqual(len(ids), len(set(ids)))

    def test_no_two_panels_overlap(self):
        taken = {}
        for panel in self.board["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), taken, f"{panel['title']} over {taken.get((x, y))}")
                    taken[x, y] = panel["title"]

    def test_the_chart_carries_the_file(self):
        documents = chart.objects(chart.CHART / "ci" / "monitoring-values.yaml")
        [found] = chart.find(documents, "ConfigMap", "rowcount-dashboard")
        self.assertEqual(json.loads(found["data"]["rowcount.json"]), self.board)
        self.assertEqual(found["metadata"]["labels"]["grafana_dashboard"], "1")


if __name__ == "__main__":
    unittest.main()
