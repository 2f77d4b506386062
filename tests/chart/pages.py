"""The names of metrics that a real page has, and those that an expression asks for."""

import promql_parser

from tools import ROOT

# Prometheus' own, about each scrape.
OF_PROMETHEUS = {"up"}
SUFFIXES = ("_bucket", "_sum", "_count")


def families():
    """Name → type, of the page that a test of the program pins."""
    page = (ROOT / "tests" / "api" / "golden" / "metrics.txt").read_text()
    lines = [line.split() for line in page.splitlines() if line.startswith("# TYPE ")]
    return {name: kind for _, _, name, kind in lines}


def labels():
    """Name → its labels, of the same page."""
    page = (ROOT / "tests" / "api" / "golden" / "metrics.txt").read_text()
    found = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, rest = line.partition("{")
            given = promql_parser.parse(line.rsplit(" ", 1)[0]).matchers.matchers if rest else []
            found.setdefault(name.split(" ")[0], set()).update(matcher.name for matcher in given)
    return found


def selectors(expression):
    """Every series selector of an expression."""
    found = []

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        for child in ("lhs", "rhs", "expr", "vector_selector", "param"):
            inner = getattr(node, child, None)
            if inner is not None:
                visit(inner)
        for argument in getattr(node, "args", []) or []:
            visit(argument)

    visit(promql_parser.parse(expression))
    return found


def family(name, known):
    """The family that a series belongs to."""
    for suffix in SUFFIXES:
        base = name.removesuffix(suffix)
        if base != name and known.get(base) == "histogram":
            return base
    return name


def unknown(expression, also=()):
    """Names in an expression that no page has."""
    known = families()
    names = {selector.name for selector in selectors(expression)}
    return {name for name in names if family(name, known) not in known} - OF_PROMETHEUS - set(also)


def wrong_labels(expression):
    """`name{label}` of labels that the page's series do not have; those that a scrape adds are left out."""
    added = {"job", "namespace", "instance", "pod"}
    have = labels()
    wrong = set()
    for selector in selectors(expression):
        given = {matcher.name for matcher in selector.matchers.matchers} - added
        wrong |= {f"{selector.name}{{{label}}}" for label in given - have.get(selector.name, given)}
    return wrong
