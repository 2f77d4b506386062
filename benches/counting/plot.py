"""Draws what `make bench-counting` measured: each round of each strategy as a dot, the median as a bar."""

import csv
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

COLOURS = {"nothing": "#8e8e8e", "rowcount": "#3274d9", "COUNT(*) each 10 s": "#e0752d"}
PANELS = [
    ("cpu_seconds", 1.0, "CPU of the server, s a round", False),
    ("buffers", 1e-6, "buffers, millions a round", False),
    ("p99_us", 1e-3, "p99 of the load, ms", False),
    ("longest_us", 1e-3, "longest snapshot of who counts, ms", True),
]


def main(source, target):
    with open(source, newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(13, 3.6), constrained_layout=True)
    for axis, (column, scale, title, counters_only) in zip(axes, PANELS):
        names = [name for name in COLOURS if not (counters_only and name == "nothing")]
        for place, name in enumerate(names):
            values = [float(row[column]) * scale for row in rows if row["strategy"] == name]
            axis.bar(place, statistics.median(values), color=COLOURS[name], alpha=0.55, width=0.65)
            axis.plot([place] * len(values), values, "o", color=COLOURS[name], markersize=4)
        axis.set_xticks(range(len(names)), [name.replace(" each", "\neach") for name in names], fontsize=9)
        axis.set_title(title, fontsize=10)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=110)


main(*sys.argv[1:])
