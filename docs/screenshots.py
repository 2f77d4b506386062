#!/usr/bin/env python3
"""Pictures of the status page, out of a real run: a demo of two instances that has counted for two minutes, with one
of its tables locked for the last seconds. Usage: screenshots.py PROGRAM DIRECTORY"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PATIENCE = 180
# As many values as the page draws, at the demo's interval of a second.
TREND = 120
LOCKED = "gc_blob_review_queue"
CHROMIUM = (
    "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run --hide-scrollbars"
    " --disable-background-networking --disable-component-update --disable-sync"
).split()

# Name, width and height of the screen, whether all of the page or only the screen, colours, and whether a phone.
PICTURES = [
    ("status-page", 1280, 1000, False, "light", False),
    ("status-page-dark", 1280, 1000, False, "dark", False),
    ("status-page-whole", 1280, 1000, True, "light", False),
    ("status-page-phone", 360, 1280, False, "dark", True),
]


def eventually(what, look):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise SystemExit(f"not within {PATIENCE} s: {what}")


class Browser:
    """Chromium by WebDriver."""

    def __init__(self, home):
        command = ["chromedriver", "--port=0"]
        env = dict(os.environ, HOME=home, TMPDIR=home)
        self.driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        told = next(line for line in self.driver.stdout if "started successfully on port" in line)
        port = re.search(r"on port (\d+)", told)[1]
        self.url = f"http://127.0.0.1:{port}"
        options = {"args": [*CHROMIUM, f"--user-data-dir={home}/profile"]}
        made = self.post("/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.session = f"/session/{made['sessionId']}"

    def post(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def devtools(self, command, **params):
        return self.post(f"{self.session}/goog/cdp/execute", {"cmd": command, "params": params})

    def picture(self, page, width, height, is_whole, scheme, is_phone):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1.5 if is_phone else 1, "mobile": is_phone}
        self.devtools("Emulation.setDeviceMetricsOverride", **metrics)
        colours = [{"name": "prefers-color-scheme", "value": scheme}]
        self.devtools("Emulation.setEmulatedMedia", features=colours)
        self.post(f"{self.session}/url", {"url": page})
        shown = {"script": "return !document.getElementById('status').hidden", "args": []}
        eventually("the page has data", lambda: self.post(f"{self.session}/execute/sync", shown))
        taken = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        return base64.b64decode(taken["data"])

    def stop(self):
        request = urllib.request.Request(self.url + self.session, method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()
        self.driver.terminate()
        self.driver.wait()


def status(page):
    with urllib.request.urlopen(f"{page}status", timeout=10) as answer:
        return json.load(answer)


def is_followed(page):
    points = status(page)["history"]["points"]
    return len(points.get("blobs", [])) >= TREND


def is_stale(page):
    return any(count["queryName"] == LOCKED and count.get("stale") for count in status(page)["rowCounts"])


def main(program, directory):
    command = [program, "demo", "--instances", "2", "--for", "1h"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        told = {}
        for line in demo.stdout:
            told |= {name: found[1] for name, found in [
                ("page", re.search(r"curl -s (http://\S+/)metrics", line)), ("database", re.search(r"psql (\S+)", line)),
            ] if found}
            if len(told) == 2:
                break
        page = told["page"]
        eventually("two minutes were counted", lambda: is_followed(page))
        sql = f"BEGIN; LOCK TABLE {LOCKED}; SELECT pg_sleep(600)"
        locking = subprocess.Popen(["psql", "-qX", "-d", told["database"], "-c", sql], stdout=subprocess.DEVNULL)
        eventually("a count is stale", lambda: is_stale(page))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
            browser = Browser(home)
            for name, *how in PICTURES:
                # Few colours: a picture of text needs no more, and is a third as large.
                quantise = ["pngquant", "--speed", "1", "--quality", "70-95", "--strip", "-"]
                picture = subprocess.run(quantise, input=browser.picture(page, *how), stdout=subprocess.PIPE, check=True)
                file = Path(directory, f"{name}.png")
                file.write_bytes(picture.stdout)
                print(f"{file}: {len(picture.stdout) // 1000} kB")
            browser.stop()
        locking.terminate()
    finally:
        # It says that it was interrupted, and ends its servers.
        demo.send_signal(signal.SIGTERM)
        demo.stdout.close()
        demo.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
