"""The settings of the service, as docs/configuration.md lists them (a Rust test ties that table to the code), and what of
them the chart leaves out."""

import re

import yaml

from tools import ROOT

# Settings that the chart does not render, each with its reason.
NOT_IN_CHART = {
    "instanceid": "the default is the pod's name and a random suffix, which is unique by itself",
    "database.url": "a secret: urlfile",
    "database.password": "a secret: passwordfile",
    "redis.cache.password": "a secret: passwordfile",
    "redis.cache.sentinelpassword": "a secret: sentinelpasswordfile",
}

# Keys whose values are records or queries, which have no keys of their own in the table.
RECORDS = {"auth.tokens", "rates.costs", "queries"}


def documented():
    """The paths of the table."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    table = page.split("\n## Settings\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z.]+)` \|", table, re.MULTILINE))


def query_keys():
    """The keys of a query."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    return set(re.findall(r"^\| `([a-z]+)` \|", page.split("\n| key of a query |")[1].split("\n\n")[0], re.MULTILINE))


def leaves(tree, parent=""):
    """Every path of a tree with its value; a list and a record are leaves."""
    for key, value in tree.items():
        path = f"{parent}.{key}" if parent else key
        if isinstance(value, dict) and path not in RECORDS:
            yield from leaves(value, path)
        else:
            yield path, value


def rendered(text):
    """The settings of a rowcount.yaml, by path."""
    return dict(leaves(yaml.safe_load(text)))


def of_secret(path):
    """The setting that `path` gives, itself or as a file."""
    setting = path.removesuffix("file")
    return setting if path.endswith("file") and setting in documented() else path
