"""Programs that are not ours. CI has them all; elsewhere a test without its program says so and is skipped."""

import os
import shutil
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".tools" / "bin"
VENV = ROOT / ".tools" / "chart" / "bin"
PATH = os.pathsep.join([str(BIN), str(VENV), os.environ["PATH"], "/usr/sbin", "/sbin"])


def tool(name, hint="make tools"):
    """The path of a program, of what `make tools` installed or of the PATH."""
    found = shutil.which(name, path=PATH)
    if found is None:
        missing(f"{name} is missing: run `{hint}`")
    return found


def binary():
    """Our own program: ROWCOUNT_BINARY, or what cargo built last."""
    path = Path(os.environ.get("ROWCOUNT_BINARY", ROOT / "target" / "debug" / "rowcount"))
    if path.exists():
        return str(path)
    return missing(f"{path} is missing: run `cargo build`")


def missing(message):
    """Skips the test; fails it where everything must be there."""
    if os.environ.get("CI") == "true":
        raise AssertionError(message)
    raise unittest.SkipTest(message)


def run(*command, **options):
    """Runs a program to its end, its output as text."""
    options.setdefault("timeout", 300)
    env = dict(os.environ, PATH=PATH, **options.pop("env", {}))
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env, **options)


def succeed(*command, **options):
    """Runs a program that must succeed; gives its standard output."""
    done = run(*command, **options)
    if done.returncode != 0:
        raise AssertionError(f"{Path(str(command[0])).name} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
