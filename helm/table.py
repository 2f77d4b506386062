#!/usr/bin/env python3
"""Writes the table of values into README.md, from the comments of values.yaml: `make chart-docs`. With --check it only
says whether the table is current. A value without a comment is an error, so none goes undocumented."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent / "rowcount"
BEGIN, END = "<!-- values: made by table.py -->\n", "<!-- /values -->\n"
# Maps whose keys are Kubernetes' own: one row with the whole.
WHOLE = {"resources", "podSecurityContext", "securityContext", "topologySpreadConstraints", "dashboard.labels"}


def rows(text):
    """(path, default, comment) of every value, in order."""
    lines = text.splitlines()
    parents, comment = [], []
    for number, line in enumerate(lines):
        key = re.match(r"( *)([A-Za-z]+):(?: (.*))?$", line)
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
            continue
        if key is None:
            comment = []
            continue
        depth, value = len(key[1]) // 2, key[3]
        parents = [*parents[:depth], key[2]]
        path = ".".join(parents)
        if any(path.startswith(f"{whole}.") for whole in WHOLE):
            comment = []
            continue
        if path in WHOLE:
            value = whole(lines[number + 1 :], depth)
        if value is not None:
            yield path, value, " ".join(comment)
        comment = []


def whole(lines, depth):
    """What stands below a key, on one line."""
    block = []
    for line in lines:
        if line and not line.startswith("  " * (depth + 1)):
            break
        block += [line.strip()] if line.strip() else []
    return " ".join(block)


def table(text):
    """The rows as Markdown."""
    found = list(rows(text))
    bare = [path for path, _, comment in found if not comment]
    if bare:
        sys.exit(f"values.yaml: no comment above {', '.join(bare)}")
    cells = [(f"`{path}`", f"`{value}`", comment.replace("|", "\\|")) for path, value, comment in found]
    return "| value | default | what it is |\n|---|---|---|\n" + "".join(f"| {' | '.join(cell)} |\n" for cell in cells)


def main():
    readme = HERE / "README.md"
    before = readme.read_text()
    head, rest = before.split(BEGIN)
    _, tail = rest.split(END)
    after = head + BEGIN + table((HERE / "values.yaml").read_text()) + END + tail
    if "--check" in sys.argv:
        sys.exit(0 if before == after else "helm/rowcount/README.md is not current: run `make chart-docs`")
    readme.write_text(after)


if __name__ == "__main__":
    main()
