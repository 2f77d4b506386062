"""Renderings of the chart, by the real Helm."""

import functools
import shutil
import tempfile
from pathlib import Path

import yaml

from tools import ROOT, run, tool

CHART = ROOT / "helm" / "rowcount"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
# Helm renders for the Kubernetes of its own library unless it is told one.
KUBERNETES = "1.30.0"
MINIMAL = CHART / "ci" / "minimal-values.yaml"


def name(values):
    """What a values file is about."""
    return values.name.removesuffix("-values.yaml")


def template(values=(), sets=(), release="rowcount", namespace="registry", chart=CHART):
    """Runs `helm template`; gives the finished process."""
    files = [argument for file in values for argument in ("-f", file)]
    given = [argument for text in sets for argument in ("--set-json", text)]
    where = ["--namespace", namespace, "--kube-version", KUBERNETES]
    return run(tool("helm"), "template", release, chart, *where, *files, *given)


@functools.cache
def text(*values, sets=(), **where):
    """A rendering that must succeed."""
    done = template(values, sets, **where)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


def objects(*values, sets=(), **where):
    """The objects of a rendering."""
    return [document for document in yaml.safe_load_all(text(*values, sets=sets, **where)) if document]


def find(documents, kind, name=None):
    """The objects of a kind."""
    return [d for d in documents if d["kind"] == kind and (name is None or d["metadata"]["name"] == name)]


def deployment(documents):
    """The one Deployment."""
    [found] = find(documents, "Deployment")
    return found


def configuration(documents):
    """The text of rowcount.yaml."""
    [found] = [d for d in find(documents, "ConfigMap") if "rowcount.yaml" in d["data"]]
    return found["data"]["rowcount.yaml"]


def mounted_files(documents):
    """The paths below /etc/rowcount that the pod finds, each with the kind of its source."""
    [files] = [v for v in deployment(documents)["spec"]["template"]["spec"]["volumes"] if v["name"] == "files"]
    for source in files["projected"]["sources"]:
        for kind, content in source.items():
            for item in content.get("items", [{"path": "rowcount.yaml"}]):
                yield item["path"], kind


def notes(values, sets=()):
    """What Helm prints after an install of these values. Only an install prints it, and that wants a cluster: so a copy of
    the chart has the notes in an object."""
    with tempfile.TemporaryDirectory() as directory:
        copy = shutil.copytree(CHART, Path(directory, "chart"))
        text = (copy / "templates" / "NOTES.txt").read_text()
        (copy / "templates" / "notes.yaml").write_text(
            '{{ define "notes" }}' + text + '{{ end }}kind: Notes\ntext: {{ include "notes" . | quote }}\n'
        )
        done = template([values], sets, chart=copy)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    [found] = find([document for document in yaml.safe_load_all(done.stdout) if document], "Notes")
    return found["text"]
