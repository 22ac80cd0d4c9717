"""Measure how long a blob takes from the feed into the workspace while a collector follows.

    python bench/follow.py [--json]

The collector is ``mailvigil collect --follow`` as a process of its own; the lab runs in this
one. Blobs appear spread over the time between two polls, so that the median is the typical wait.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions
from mailvigil.lab.tenant.bulk import bulk_records

CONTENT_TYPE = "Audit.Exchange"
RECORDS_A_BLOB = 20
LOOK_SECONDS = 0.2
LONGEST_SECONDS = 240.0
"""When a blob is given up."""


@dataclass(frozen=True, slots=True)
class Pace:
    """One measurement: options of the collector, and how the blobs are spread."""

    name: str
    options: tuple[str, ...]
    blobs: int
    apart: float
    most: float


PACES = (
    Pace("--poll 2s", ("--poll", "2s"), 15, 2.3, 5.0),
    Pace("the default pace", (), 6, 11.0, 70.0),
)


def main(argv: Sequence[str]) -> int:
    """Measure, print and return 0."""
    parser = argparse.ArgumentParser(description="Measure the way of a blob to its rows.")
    parser.add_argument("--json", action="store_true", help="print lines for the results file")
    options = parser.parse_args(argv)
    lines = [line(pace, waits(pace)) for pace in PACES]
    if options.json:
        sys.stdout.write(json.dumps(lines))
    else:
        sys.stdout.writelines(f"{line['what']}: {line['measured']}\n" for line in lines)
    return 0


def line(pace: Pace, seconds: Sequence[float]) -> dict[str, object]:
    """Return the line of the results file."""
    middle = median(seconds)
    return {
        "what": f"from the feed to rows, {pace.name}, {len(seconds)} blobs",
        "target": f"under {pace.most:.0f} s",
        "measured": f"{middle:.1f} s ({min(seconds):.1f} to {max(seconds):.1f})",
        "met": middle < pace.most,
    }


def waits(pace: Pace) -> list[float]:
    """Return for each blob the seconds until its rows were in the workspace."""
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        with Lab(LabOptions(folder=folder / "lab")) as lab:
            file = folder / "collect.yaml"
            config = write_collect_config(lab, file, content_types=(CONTENT_TYPE,))
            with _following(config, pace.options):
                _first_listing(lab)
                return _spread(lab, pace)


@contextmanager
def _following(config: Path, options: Sequence[str]) -> Iterator[None]:
    command = [sys.executable, "-P", "-m", "mailvigil", "collect", "--follow", *options]
    process = subprocess.Popen([*command, "--config", str(config)], stdout=sys.stderr)  # noqa: S603
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _first_listing(lab: Lab) -> None:
    """Wait until the collector has begun: its start is not part of a blob's wait."""
    end = time.monotonic() + LONGEST_SECONDS
    while not lab.counts.tally("page").answered:
        _look_again(end)


def _spread(lab: Lab, pace: Pace) -> list[float]:
    """Publish one blob after the other and return the delay of each."""
    records = bulk_records(pace.blobs * RECORDS_A_BLOB)
    begun, published, waited = time.monotonic(), dict[str, float](), list[float]()
    end = begun + LONGEST_SECONDS
    while len(waited) < pace.blobs:
        now = time.monotonic()
        made = len(published) + len(waited)
        if made < pace.blobs and now >= begun + pace.apart * made:
            blob = [next(records) for _ in range(RECORDS_A_BLOB)]
            lab.publish(CONTENT_TYPE, datetime.now(UTC), blob)
            published[str(blob[-1]["Id"])] = now
        for record_id in _arrived(lab) & published.keys():
            waited.append(time.monotonic() - published.pop(record_id))
        _look_again(end)
    return waited


def _arrived(lab: Lab) -> set[str]:
    return {str(record_id) for (record_id,) in lab.rows("SELECT RecordId FROM M365Activity_CL")}


def _look_again(end: float) -> None:
    time.sleep(LOOK_SECONDS)
    if time.monotonic() > end:
        raise SystemExit("void: a blob did not arrive")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
