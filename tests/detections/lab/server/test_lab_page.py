"""The page on the lab: its commands for a first start and a week after it, in processes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from detections.commands.shell_lines import words_of
from detections.lab.server.test_serve import ready
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK

PAGE = Path(__file__).parents[4] / "docs" / "lab.md"
HEADING = "## A first start, and a week later\n"
PORT = re.compile(r" --port \d+")


def block(kind: str, number: int = 0) -> list[str]:
    """Return the lines of a block of the section, without the sign of a prompt."""
    section = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    text = re.findall(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[number]
    return [line.removeprefix("$ ").strip() for line in text.splitlines()]


def command(line: str) -> list[str]:
    return [sys.executable, "-P", "-m", "mailvigil", *words_of(line)]


def run(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(line), cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@contextmanager
def served(folder: Path, line: str) -> Iterator[str]:
    """Run the lab as *line* says, but on a free port; yield its address."""
    process = subprocess.Popen(
        command(PORT.sub("", line)), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        yield ready(process)["lab"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def move(folder: Path, lab: str, line: str) -> None:
    """Do what a line with curl does, at the address *lab*."""
    asked = re.fullmatch(r"curl --cacert (\S+) https://[^/]+(/\S+) -d '(.*)'", line)
    assert asked, line
    requests.post(
        lab + asked[2], json=json.loads(asked[3]), verify=str(folder / asked[1]), timeout=30
    ).raise_for_status()


@pytest.mark.posix
@pytest.mark.slow
def test_a_week_after_a_first_start_all_is_complete_by_the_commands_of_the_page(
    tmp_path: Path,
) -> None:
    [serve], [collect, ledger] = block("console"), block("console", 1)
    loop, moved, again, _ = block("text")
    with served(tmp_path, serve) as lab:
        began, first = run(tmp_path, collect), run(tmp_path, ledger)
        days = []
        for _ in re.findall(r"\d+", loop):
            move(tmp_path, lab, moved)
            days.append(run(tmp_path, again))
        [last] = [run(tmp_path, line) for line in block("console", 2)]

    assert began.returncode == EXIT_OK, began.stderr
    assert first.returncode == EXIT_FAILED
    assert "no subscription is known to have existed" in first.stdout
    assert "Nothing needs to be done about the hours below." in first.stdout
    assert [day.returncode for day in days] == [EXIT_OK] * 8
    assert all(re.search(r"[1-9]\d* blobs delivered", day.stdout) for day in days)
    assert (last.returncode, last.stderr) == (EXIT_OK, "")
    _headings, *feeds = last.stdout.splitlines()
    assert [line.split()[1:5:3] for line in feeds] == [
        ["Audit.AzureActiveDirectory", "complete"],
        ["Audit.Exchange", "complete"],
        ["Audit.SharePoint", "complete"],
    ]
