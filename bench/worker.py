"""Measure the whole worker, from download to acknowledged upload, beside the plain loop.

    python bench/worker.py [--json] [--rounds N] [--blobs N] [--workers N]

The lab runs in this process on one processor, each side in a process of its own on the other
(``bench/worker_side.py``), TLS on both ways. The sides take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import yaml

from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import FeedOptions, IngestionOptions, LabOptions
from mailvigil.lab.tenant.bulk import bulk_records

SIDE = Path(__file__).resolve().with_name("worker_side.py")
CONTENT_TYPE = "Audit.Exchange"
RECORD_BYTES, RECORDS_A_BLOB = 2_500, 20
NO_LIMIT = 10**15
LEAST_SPEED, LEAST_TIMES_PLAIN, LEAST_OF_CEILING = 66.0, 4.0, 0.6
STEPS = ("download", "parse", "serialise", "gzip", "upload")

Json = Any  # output of another process, checked by its use


def main(argv: Sequence[str]) -> int:
    """Measure, print and return 0."""
    options = _options(argv)
    lines = list(lines_of(measured(options.rounds, options.blobs, options.workers)))
    if options.json:
        sys.stdout.write(json.dumps(lines))
    else:
        sys.stdout.writelines(f"{line['what']}: {line['measured']}\n" for line in lines)
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the whole worker.")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default: 5)")
    parser.add_argument("--blobs", type=int, default=3_000, help="blobs a turn (default: 3000)")
    parser.add_argument("--workers", type=int, default=8, help="blobs in hand (default: 8)")
    return parser.parse_args(argv)


def measured(rounds: int, blobs: int, workers: int) -> Json:
    """Return seconds and sizes of every turn of every side."""
    own_processor, other_processor = _processors()
    os.sched_setaffinity(0, {own_processor})
    bodies = list(blob_bodies(blobs))
    figures: Json = {"bytes": sum(map(len, bodies)), "ours": [], "plain": [], "steps": []}
    with (
        tempfile.TemporaryDirectory(prefix="bench") as folder,
        Lab(_lab_options(Path(folder))) as lab,
    ):
        publish(lab, bodies)
        config = _config(lab, Path(folder), workers)
        for _ in range(rounds):
            for side in ("ours", "plain", "steps"):
                figures[side].append(_turn(lab, side, config, other_processor, blobs))
    return figures


def lines_of(figures: Json) -> Iterator[dict[str, object]]:
    """Return the lines of the results file: what, target, measured, met."""
    size = figures["bytes"] / 1e6
    ours, plain, steps = figures["ours"], figures["plain"], figures["steps"]
    speeds = [size / turn["wall"] for turn in ours]
    yield _line("whole worker on one processor", speeds, " MB/s", LEAST_SPEED)
    yield _line("the same, by processor time", [size / t["processor"] for t in ours], " MB/s")
    yield _line("the plain loop", [size / turn["wall"] for turn in plain], " MB/s")
    yield _line("the same, by processor time", [size / t["processor"] for t in plain], " MB/s")
    for clock, least in (("wall", LEAST_TIMES_PLAIN), ("processor", None)):
        ratios = [their[clock] / our[clock] for our, their in zip(ours, plain, strict=True)]
        yield _line(f"worker / plain loop, by {clock} time", ratios, "", least)
    ceilings = [1 / sum(turn[step] for step in STEPS) for turn in steps]
    yield _line("ceiling: the bare steps added up, by processor time", ceilings, " MB/s")
    for clock, least in (("wall", LEAST_OF_CEILING), ("processor", None)):
        shares = [size / our[clock] / top for our, top in zip(ours, ceilings, strict=True)]
        yield _line(f"worker / ceiling, worker by {clock} time", shares, "", least)
    for step in STEPS:
        yield _line(f"bare {step}, processor ms a MB", [turn[step] * 1e3 for turn in steps], "")
    rests = [
        (our["processor"] / size - 1 / top) * 1e3 for our, top in zip(ours, ceilings, strict=True)
    ]
    yield _line("the rest (rows, ledger, threads), processor ms a MB", rests, "")
    busy = [turn["lab"] / turn["wall"] for turn in ours]
    yield _line("the lab's processor, part of the worker's time", busy, "")


def _line(
    what: str, values: Sequence[float], unit: str, least: float | None = None
) -> dict[str, object]:
    middle = median(values)
    return {
        "what": what,
        "target": f"at least {least:g}{unit}" if least else "",
        "measured": f"{middle:.2f}{unit} ({min(values):.2f} to {max(values):.2f})",
        "met": middle >= least if least else None,
    }


def _processors() -> tuple[int, int]:
    """Return the lab's and the worker's; the same one where there is no other."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[-1], usable[0]


def _lab_options(folder: Path) -> LabOptions:
    return LabOptions(
        folder=folder / "lab",
        feed=FeedOptions(quota=NO_LIMIT, shared_quota=NO_LIMIT),
        ingestion=IngestionOptions(
            requests_per_minute=NO_LIMIT, bytes_per_minute=NO_LIMIT, land_at_close=True
        ),
    )


def blob_bodies(count: int) -> Iterator[bytes]:
    """Yield bodies of *count* blobs, each of 20 records of about 2.5 KB."""
    records = (widened(record) for record in bulk_records(count * RECORDS_A_BLOB))
    for _ in range(count):
        yield orjson.dumps([next(records) for _ in range(RECORDS_A_BLOB)])


def widened(record: dict[str, object]) -> dict[str, object]:
    """Return *record* with more items in its folder, until it has the size."""
    wide, number = dict(record), 0
    items: list[object] = []
    missing = RECORD_BYTES - len(orjson.dumps(wide))
    while missing > 0:
        number += 1
        item = {"InternetMessageId": f"<{number:03d}.{record['Id']}@mail.contoso.example>",
                "SizeInBytes": 20_000 + number}  # fmt: skip
        missing -= len(orjson.dumps(item)) + 1
        items.append(item)
    if items:
        given = wide.get("Folders")
        folders = list(given) if isinstance(given, list) else []
        wide["Folders"] = [*folders, {"FolderItems": items, "Id": "LgAAAAB", "Path": "\\Inbox"}]
    return wide


def publish(lab: Lab, bodies: Sequence[bytes]) -> None:
    """Put the blobs into the feed, spread over the last hours."""
    first = datetime.now(UTC) - timedelta(hours=5)
    step = timedelta(hours=4) / len(bodies)
    for number, body in enumerate(bodies):
        lab.publish(CONTENT_TYPE, first + step * number, body)


def _config(lab: Lab, folder: Path, workers: int) -> Path:
    path = write_collect_config(lab, folder / "collect.yaml", content_types=(CONTENT_TYPE,))
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    text = yaml.safe_dump({**data, "workers": workers, "since": "24h"})
    path.write_text(text, encoding="utf-8")
    return path


def _turn(lab: Lab, side: str, config: Path, processor: int, blobs: int) -> Json:
    """Run one side once; what it sent must have arrived whole."""
    before, spent = lab.counts.ingested["rows"], time.process_time()
    command = [sys.executable, "-P", str(SIDE), side, str(config), str(processor)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - our own
    figures = json.loads(done.stdout)
    figures["lab"] = time.process_time() - spent
    rows = lab.counts.ingested["rows"] - before
    if rows != blobs * RECORDS_A_BLOB:
        raise SystemExit(f"void: {side} brought {rows} rows of {blobs * RECORDS_A_BLOB}")
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
