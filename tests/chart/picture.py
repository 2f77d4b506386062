"""Draws the dashboard for the README: its own panels, asked of a Prometheus that scrapes a fleet beside the demo's database
and churn, with a holder that is stopped on the way. Grafana itself is not needed. `make dashboard-picture`."""

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import dates, pyplot, ticker  # noqa: E402

from servers import eventually, free_port  # noqa: E402
from test_dashboard import FILE, VARIABLES  # noqa: E402
from tools import binary, tool  # noqa: E402

MINUTES = 5
SCRAPE = 2
# The panels down to this row of the grid: counts, their ages, and the lease.
LAST_ROW = 34
TEXT, FAINT, PANEL, PAGE = "#d8d9da", "#8e8e8e", "#181b1f", "#111217"
COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#b877d9", "#56d9c9", "#f2495c", "#8ab8ff", "#e0b400", "#ff7383"]


class Fleet:
    """Two instances on the demo's database, a Redis of their own, and a Prometheus."""

    def __init__(self, directory):
        self.directory, self.processes = Path(directory), []
        self.spawn("demo", binary(), "demo", "--for", f"{MINUTES + 2}m")
        found = eventually("the demo tells its database", lambda: re.search(r"postgres://\S+", self.log("demo")))
        self.database = found[0]
        self.redis = free_port()
        self.spawn("redis", tool("redis-server"), "--port", str(self.redis), "--save", "", "--bind", "127.0.0.1")
        self.instances = {name: (free_port(), free_port()) for name in ("registry-0", "registry-1")}
        self.running = {name: self.instance(name) for name in self.instances}
        targets = [
            {"targets": [f"127.0.0.1:{http}"], "labels": {"instance": name}}
            for name, (_, http) in self.instances.items()
        ]
        config = {
            "global": {"scrape_interval": f"{SCRAPE}s"},
            "scrape_configs": [{"job_name": "rowcount", "static_configs": targets}],
        }
        (self.directory / "prometheus.yaml").write_text(json.dumps(config))
        self.port = free_port()
        self.spawn(
            "prometheus",
            tool("prometheus"),
            f"--config.file={self.directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self.directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )

    def spawn(self, name, *command, env=None):
        with open(self.directory / name, "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        self.processes.append(process)
        return process

    def log(self, name):
        return (self.directory / name).read_text()

    def instance(self, name):
        grpc, http = self.instances[name]
        settings = {
            "INSTANCEID": name,
            "DATABASE_URL": self.database,
            "REDIS_CACHE_ADDR": f"127.0.0.1:{self.redis}",
            "GRPC_ADDR": f"127.0.0.1:{grpc}",
            "HTTP_ADDR": f"127.0.0.1:{http}",
            "DATABASE_METRICS_INTERVAL": "2s",
            "DATABASE_METRICS_LEASEDURATION": "6s",
            "LEASE_FIRSTSTART": "immediate",
        }
        return self.spawn(name, binary(), "serve", env={f"ROWCOUNT_{key}": value for key, value in settings.items()})

    def stop_the_holder(self):
        """Ends the one that holds, in order, and starts it again."""
        for name, (_, http) in self.instances.items():
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=5) as page:
                if "rowcount_lease_held 1\n" in page.read().decode():
                    self.running[name].terminate()
                    self.running[name].wait(10)
                    time.sleep(5 * SCRAPE)
                    self.running[name] = self.instance(name)
                    return

    def ask(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]["result"]

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGINT)
        for process in self.processes:
            process.wait(30)


class Picture:
    """Panels at the places of the grid."""

    def __init__(self, fleet, begin, end):
        self.fleet, self.begin, self.end = fleet, begin, end
        self.figure = pyplot.figure(figsize=(16, 15), facecolor=PAGE)

    def axes(self, panel, head=0.45, foot=0.0, left=0.0):
        """The inside of a panel, below its title; sizes in units of the grid."""
        place = panel["gridPos"]
        x, y, w, h = (place[key] for key in "xywh")

        def rectangle(x, y, w, h):
            return [x / 24, 1 - (y + h) / LAST_ROW, w / 24, h / LAST_ROW]

        gap = 0.08
        frame = self.figure.add_axes(rectangle(x + gap, y + gap, w - 2 * gap, h - 2 * gap), facecolor=PANEL)
        frame.set(xticks=[], yticks=[])
        for side in frame.spines.values():
            side.set_visible(False)
        title = {"color": TEXT, "fontsize": 9, "weight": "bold", "va": "center"}
        frame.text(0.012, 1 - 0.55 / h, panel["title"], transform=frame.transAxes, **title)
        inner = self.figure.add_axes(
            rectangle(x + 0.3 + left, y + 0.6 + head, w - 0.6 - left, h - 0.9 - head - foot), facecolor=PANEL
        )
        for side in inner.spines.values():
            side.set_visible(False)
        return inner

    def queries(self, panel):
        for number, target in enumerate(panel["targets"]):
            text = target["expr"]
            for variable, value in VARIABLES.items():
                text = text.replace(variable, {"$__rate_interval": "30s"}.get(variable, value))
            yield number, text, target["legendFormat"]

    @staticmethod
    def legend(text, labels):
        return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), text)

    def row(self, panel):
        place = panel["gridPos"]
        y = 1 - (place["y"] + 0.55) / LAST_ROW
        self.figure.text(0.006, y, panel["title"], color=TEXT, fontsize=11, va="center")

    def stat(self, panel):
        axes = self.axes(panel)
        axes.set(xticks=[], yticks=[])
        found = []
        defaults = panel["fieldConfig"]["defaults"]
        names = {key: option["text"] for mapping in defaults.get("mappings", []) for key, option in mapping["options"].items()}
        for _, text, legend in self.queries(panel):
            for series in self.fleet.ask("query", query=text, time=self.end):
                value, name = float(series["value"][1]), self.legend(legend, series["metric"])
                plain = f"{value:.1f} s" if defaults["unit"] == "s" else f"{value:,.0f}"
                shown = names.get(f"{value:.0f}", plain)
                mode = panel["options"]["textMode"]
                found.append(name if mode == "name" else f"{name} {shown}" if mode == "value_and_name" else shown)
        text, size = "\n".join(found) or defaults.get("noValue", "no data"), 17 if len(found) < 2 else 12
        axes.text(0.5, 0.45, text, color=COLOURS[0], fontsize=size, ha="center", va="center")

    def table(self, panel):
        axes = self.axes(panel)
        axes.set(xticks=[], yticks=[])
        rows, method = {}, {}
        for number, text, _ in self.queries(panel):
            for series in self.fleet.ask("query", query=text, time=self.end):
                name = series["metric"]["query_name"]
                rows.setdefault(name, {})[number] = float(series["value"][1])
                method[name] = series["metric"].get("method", method.get(name, ""))
        names = sorted((n for n in rows if 0 in rows[n]), key=lambda name: -rows[name][0])
        columns = [
            (0.0, "left", "Query"),
            (0.48, "right", "Rows"),
            (0.52, "left", "Method"),
            (0.76, "right", "At least"),
            (0.90, "right", "At most"),
            (1.0, "right", "Age"),
        ]
        for at, align, head in columns:
            axes.text(at, 1, head, color=COLOURS[2], fontsize=8, ha=align, va="top")
        for line, name in enumerate(names, 1):
            values = rows[name]
            least, most = (f"{values[n]:,.0f}" if n in values else "" for n in (1, 2))
            cells = [name, f"{values[0]:,.0f}", method[name], least, most, f"{values.get(3, 0):.1f} s"]
            for (at, align, _), cell in zip(columns, cells):
                axes.text(at, 1 - line / (len(names) + 1), cell, color=TEXT, fontsize=8, ha=align, va="top")

    def series(self, panel):
        for _, text, legend in self.queries(panel):
            for series in self.fleet.ask("query_range", query=text, start=self.begin, end=self.end, step=SCRAPE):
                times = [float(at) for at, _ in series["values"]]
                yield self.legend(legend, series["metric"]), times, [float(value) for _, value in series["values"]]

    def timeseries(self, panel):
        axes = self.axes(panel, foot=1.6, left=0.9)
        stacked = panel["fieldConfig"]["defaults"]["custom"].get("drawStyle") == "bars"
        if panel["fieldConfig"]["defaults"]["custom"].get("scaleDistribution", {}).get("type") == "log":
            axes.set_yscale("log")
        for number, (name, times, values) in enumerate(self.series(panel)):
            style = {"color": COLOURS[number % len(COLOURS)], "label": name}
            moments = [at / 86400 for at in times]
            if stacked:
                axes.bar(moments, values, width=SCRAPE / 86400, **style)
            else:
                axes.plot(moments, values, linewidth=1.2, linestyle=["-", "--", ":"][number // len(COLOURS) % 3], **style)
        self.finish(axes, panel)
        columns = 3 if panel["gridPos"]["w"] > 6 else 2
        # Four lines of names are what there is room for; Grafana would let them scroll.
        handles, names = axes.get_legend_handles_labels()
        shown = 4 * columns
        axes.legend(
            handles[:shown],
            names[:shown],
            loc="upper left",
            bbox_to_anchor=(-0.08, -0.12),
            ncols=columns,
            fontsize=6,
            frameon=False,
            labelcolor=TEXT,
            columnspacing=1,
        )

    def state_timeline(self, panel):
        axes = self.axes(panel, foot=0.6, left=1.2)
        names = []
        for line, (name, times, values) in enumerate(self.series(panel)):
            names.append(name)
            for at, value in zip(times, values):
                if value == 1:
                    axes.barh(line, SCRAPE / 86400, left=at / 86400, color=COLOURS[0], height=0.7)
        self.finish(axes, panel)
        axes.set_yticks(range(len(names)), names)

    def finish(self, axes, panel):
        axes.set_xlim(self.begin / 86400, self.end / 86400)
        axes.xaxis.set_major_locator(dates.MinuteLocator())
        axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
        axes.tick_params(colors=FAINT, labelsize=7, length=0)
        axes.set_axisbelow(True)
        axes.grid(color="#2c3235", linewidth=0.6)
        if panel["fieldConfig"]["defaults"].get("min") == 0:
            axes.set_ylim(bottom=0)
        if axes.get_yscale() == "linear":
            unit = {"s": " s"}.get(panel["fieldConfig"]["defaults"]["unit"], "")
            axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.6g}{unit}"))

    def draw(self, path):
        for panel in json.loads(FILE.read_text())["panels"]:
            if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= LAST_ROW:
                getattr(self, panel["type"].replace("-", "_"))(panel)
        self.figure.savefig(path, dpi=75, facecolor=PAGE)


def main():
    with tempfile.TemporaryDirectory() as directory:
        fleet = Fleet(directory)
        try:
            begin = time.time()
            time.sleep(MINUTES * 30)
            fleet.stop_the_holder()
            time.sleep(begin + MINUTES * 60 - time.time())
            Picture(fleet, begin, time.time()).draw(sys.argv[1])
        finally:
            fleet.stop()


if __name__ == "__main__":
    main()
