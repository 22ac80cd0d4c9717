"""Bring one blob that is larger than the memory of the process that collects it.

    python bench/large_blob.py [--json] [--megabytes N]

The collector is ``mailvigil collect --once`` as a process of its own, whose data memory is
limited; the lab runs in this process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path

from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import FeedOptions, IngestionOptions, LabOptions
from mailvigil.lab.tenant.bulk import bulk_json

CONTENT_TYPE = "Audit.Exchange"
LIMIT_MEGABYTES = 400
MEGABYTE = 10**6
DIFFERENT = 4_000
"""Records that are made; the blob repeats them."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What the collector did: rows that arrived of how many, seconds, and peak memory in bytes."""

    rows: int
    records: int
    wall: float
    processor: float
    peak: int


def main(argv: Sequence[str]) -> int:
    """Measure, print and return 0, or 1 when not every record arrived."""
    parser = argparse.ArgumentParser(description="Collect one very large blob.")
    parser.add_argument("--json", action="store_true", help="print lines for the results file")
    parser.add_argument("--megabytes", type=int, default=500, help="its size (default: 500)")
    options = parser.parse_args(argv)
    measured = brought(options.megabytes * MEGABYTE, LIMIT_MEGABYTES * MEGABYTE)
    whole = measured.rows == measured.records > 0
    lines: list[dict[str, object]] = [
        {
            "what": f"one blob of {options.megabytes} MB: peak memory of the collector",
            "target": f"at most {LIMIT_MEGABYTES} MB",
            "measured": f"{measured.peak / MEGABYTE:.0f} MB"
            if whole
            else "not all records arrived",
            "met": whole and measured.peak <= LIMIT_MEGABYTES * MEGABYTE,
        },
        {
            "what": "the same: speed, by processor time",
            "target": "",
            "measured": f"{options.megabytes / measured.processor:.0f} MB/s",
            "met": None,
        },
    ]
    if options.json:
        sys.stdout.write(json.dumps(lines))
    else:
        sys.stdout.writelines(f"{line['what']}: {line['measured']}\n" for line in lines)
    return 0 if whole else 1


def brought(size: int, limit: int) -> Brought:
    """Collect a blob of *size* bytes in a process of at most *limit* bytes of data."""
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        records = write_blob(folder / "blob.json", size)
        with Lab(_options(folder)) as lab:
            created = datetime.now(UTC) - timedelta(minutes=5)
            lab.publish(CONTENT_TYPE, created, folder / "blob.json")
            file = folder / "collect.yaml"
            config = write_collect_config(lab, file, content_types=(CONTENT_TYPE,))
            cost = _collect(config, limit)
            return Brought(_rows(lab), records, *cost)


def write_blob(path: Path, size: int) -> int:
    """Write a JSON array of about *size* bytes to *path*; return how many records it has."""
    made = [text.encode() for text in bulk_json(DIFFERENT)]
    each = sum(map(len, made)) / len(made) + 1
    count = max(int(size / each), 1)
    with path.open("wb") as out:
        for number, text in enumerate(islice(cycle(made), count)):
            out.write(b"," if number else b"[")
            out.write(text)
        out.write(b"]")
    return count


def _options(folder: Path) -> LabOptions:
    most = 10**15
    return LabOptions(
        folder=folder / "lab",
        feed=FeedOptions(quota=most),
        ingestion=IngestionOptions(
            requests_per_minute=most, bytes_per_minute=most, land_at_close=True
        ),
    )


# A process begins with the peak of the one that started it, so a small one starts the collector.
_MEASURED = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, used = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
wall = time.perf_counter() - start
print(json.dumps([wall, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def _collect(config: Path, limit: int) -> tuple[float, float, int]:
    """Run the collector to its end; return seconds, seconds of processor, and peak memory."""
    command = [sys.executable, "-P", "-m", "mailvigil", "collect", "--once", "--config"]
    limited = ["sh", "-c", f'ulimit -d {limit // 1024} && exec "$@"', "sh", *command, str(config)]
    measured = [sys.executable, "-I", "-S", "-c", _MEASURED, *limited]
    done = subprocess.run(measured, stdout=subprocess.PIPE, check=True)  # noqa: S603 - our own
    wall, processor, peak = json.loads(done.stdout)
    return wall, processor, peak * (1 if sys.platform == "darwin" else 1024)


def _rows(lab: Lab) -> int:
    """Return how many records arrived; the collector's own statements are in another table."""
    ((count,),) = lab.rows("SELECT count(*) FROM M365Activity_CL")
    return int(str(count))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
