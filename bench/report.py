"""Write and show the report of 10,000 findings.

    python bench/report.py [--json] [--rounds N]

The findings are made up, those of the tests. The page is opened in a Chromium from a file, each
time in a fresh context, and is shown when its last script has run, the table says how many
findings there are, and the charts are drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, expect, sync_playwright

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT / "tests"))

from detections.reports.made import CONTEXT, many, written  # noqa: E402 - the tests' findings
from mailvigil.reports.html import as_html  # noqa: E402 - as above
from mailvigil.reports.vega import scripts  # noqa: E402 - as above

FINDINGS = 10_000
MOST_SECONDS = 3.0


def main(argv: Sequence[str]) -> int:
    """Measure and print; return 0."""
    parser = argparse.ArgumentParser(description=f"Show a report of {FINDINGS:,} findings.")
    parser.add_argument("--json", action="store_true", help="print lines for the results file")
    parser.add_argument("--rounds", type=int, default=5, help="times (default: 5)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="mailvigil-bench") as folder:
        page = Path(folder) / "report.html"
        writing = [write(page) for _ in range(options.rounds)]
        showing = show(page, options.rounds)
        size = page.stat().st_size / 10**6
    lines: list[dict[str, object]] = [
        line(f"{FINDINGS:,} findings: writing the page ({size:.1f} MB)", writing, None),
        line(f"{FINDINGS:,} findings: showing it in Chromium", showing, MOST_SECONDS),
    ]
    for figure in lines:
        sys.stdout.write("" if options.json else f"{figure['what']}: {figure['measured']}\n")
    if options.json:
        json.dump(lines, sys.stdout)
    return 0


def line(what: str, seconds: Sequence[float], most: float | None) -> dict[str, object]:
    """Return a line of the results' table."""
    return {
        "what": what,
        "target": f"at most {most:.0f} s" if most else "",
        "measured": f"{median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})",
        "met": median(seconds) <= most if most else None,
    }


def write(path: Path) -> float:
    """Write the page to *path* and return its duration in seconds, without making findings."""
    hunted = many(FINDINGS)
    if hunted.evidence is None:
        raise ValueError("the tests' findings have no evidence")
    start = time.perf_counter()
    written(path, as_html(hunted, hunted.evidence, CONTEXT, scripts()))
    return time.perf_counter() - start


def show(path: Path, rounds: int) -> list[float]:
    """Return the seconds that a browser takes to show *path*, in each of the *rounds*."""
    chromium = subprocess.run(  # noqa: S603 - the project's own script
        [CHECKOUT / ".ci" / "chromium"], capture_output=True, text=True, check=True
    )
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.stdout.strip(), args=["--no-sandbox"] if root else []
        )
        seconds = [_shown(browser, path) for _ in range(rounds)]
        browser.close()
    return seconds


def _shown(browser: Browser, path: Path) -> float:
    context = browser.new_context()
    page = context.new_page()
    start = time.perf_counter()
    page.goto(path.as_uri())
    expect(page.locator("#count")).to_have_text(f"1 to 25 of {FINDINGS:,}")
    expect(page.locator("svg, canvas").first).to_be_visible()
    seconds = time.perf_counter() - start
    context.close()
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
