"""A tenant of the lab whose audit log grows, and a collector's folder for it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Literal

import yaml

from audit_feed.windows import HOUR, hour_of
from detections.collect.crash.truth import Site
from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.lab import Lab

SinkKind = Literal["duckdb", "loganalytics", "jsonl"]
SINKS: tuple[SinkKind, ...] = ("duckdb", "loganalytics", "jsonl")
TYPES = ("Audit.Exchange", "Audit.General")
HOURS = 9
"""How far back the log goes."""

LARGE = 55_000
"""Bytes of a large record's text, below what Log Analytics keeps in a field: 19 of them are
more than a request may have."""

GIANT = 70_000
"""Bytes of a text that Log Analytics does not keep in a field."""

WORKERS = 4
"""Blobs in hand at once: so many may be asked for again after a kill."""

BEGINNING = datetime.min.replace(tzinfo=UTC)


def dice(*seed: object) -> random.Random:
    """Return dice that fall the same way for the same *seed*."""
    return random.Random(str(seed))  # noqa: S311 - no secret


@dataclass(slots=True)
class Audited:
    """The log of a tenant: every record's Note names the record."""

    lab: Lab
    dice: random.Random
    _numbers: Iterator[int] = field(default_factory=count)
    _known: list[dict[str, object]] = field(default_factory=list)
    _seen: datetime = BEGINNING

    def past(self, blobs: int) -> None:
        """Publish *blobs* blobs over the last hours; only before anybody has listed them."""
        now = self.lab.clock.now()
        for number in range(blobs):
            created = now - HOURS * HOUR * self.dice.uniform(0.001, 0.999)
            self.publish(created, self._some(), kind=TYPES[number % len(TYPES)])

    def present(self, blobs: int) -> None:
        """Publish *blobs* blobs now; some are listed a little later, but within their hour."""
        for number in range(blobs):
            now = self.lab.clock.now()
            late = timedelta(seconds=self.dice.choice((0, 0, 2)))
            available = min(now + late, hour_of(now) + HOUR - timedelta(milliseconds=1))
            self.publish(now, self._some(), available=available, kind=TYPES[number % len(TYPES)])

    def publish(
        self,
        created: datetime,
        records: list[dict[str, object]],
        *,
        available: datetime | None = None,
        kind: str = TYPES[0],
    ) -> str:
        """Publish one blob and return its id."""
        self._known += records
        self._seen = max(self._seen, available or created)
        return self.lab.publish(kind, created, records, available=available)

    def wait_until_all_is_listed(self) -> None:
        """Return when a listing that begins now has everything: the feed asks in seconds."""
        left = self._seen + timedelta(seconds=1) - self.lab.clock.now()
        time.sleep(max(left.total_seconds(), 0))

    def record(self, text_bytes: int = 0) -> dict[str, object]:
        """Return a new record."""
        name = f"record-{next(self._numbers)}"
        return {
            "Id": name,
            "CreationTime": f"{self.lab.clock.now() - HOURS * HOUR:%Y-%m-%dT%H:%M:%S}",
            "Operation": "MailItemsAccessed",
            "RecordType": 50,
            "Workload": "Exchange",
            "UserId": "adele@contoso.example",
            "ClientIPAddress": "192.0.2.10",
            "Note": f"note of {name}",
            **({"Text": "x" * text_bytes} if text_bytes else {}),
        }

    def _some(self) -> list[dict[str, object]]:
        """Return records of a blob: seldom large ones, often with one that has come before."""
        if self.dice.random() < 0.05:
            return [self.record(LARGE) for _ in range(self.dice.randint(19, 40))]
        records = [
            self.record(self.dice.randint(0, 3_000)) for _ in range(self.dice.randint(1, 25))
        ]
        if self._known and self.dice.random() < 0.4:
            records.append(self.dice.choice(self._known[-500:]))
        return records


def site(lab: Lab, folder: Path, sink: SinkKind, workers: int = WORKERS) -> tuple[Site, Path]:
    """Make a collector's folder and return its files and its configuration."""
    folder.mkdir(parents=True)
    path = write_collect_config(lab, folder / "collect.yaml", content_types=TYPES)
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config |= {"since": f"{HOURS + 1}h", "workers": workers}
    rows = {"duckdb": folder / "workspace.duckdb", "jsonl": folder / "rows"}.get(sink)
    if sink == "duckdb":
        config["sink"] = {"kind": "duckdb", "file": "workspace.duckdb"}
    if sink == "jsonl":
        config["sink"] = {"kind": "jsonl", "folder": "rows"}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return Site(lab, folder / "ledger.sqlite", rows), path
