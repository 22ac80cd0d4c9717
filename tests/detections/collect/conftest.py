"""A lab with a few blobs in it, and the real command against it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from detections.presets import PRESET
from mailvigil.cli import main
from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.lab import Lab

TYPES = ("Audit.Exchange", "Audit.General")


@dataclass(frozen=True, slots=True)
class Ran:
    """What one command printed, and its exit code."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _no_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PRESET:
        monkeypatch.delenv(name, raising=False)


def run(*argv: str | Path) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    code = main([str(word) for word in argv], io.BytesIO(), out, err)
    return Ran(code, out.getvalue(), err.getvalue())


def record(number: int, **fields: object) -> dict[str, object]:
    time = datetime(2026, 3, 2, 9, tzinfo=UTC) + timedelta(minutes=number)
    return {
        "Id": f"record-{number}",
        "CreationTime": f"{time:%Y-%m-%dT%H:%M:%S}",
        "Operation": "MailItemsAccessed",
        "RecordType": 50,
        "Workload": "Exchange",
        "OrganizationId": "11111111-aaaa-4bbb-8ccc-000000000001",
        "UserId": "adele@contoso.example",
        "MailboxOwnerUPN": "adele@contoso.example",
        "AppId": "00000002-0000-0ff1-ce00-000000000000",
        "ClientInfoString": "Client=OWA;Action=ViaProxy",
        "ClientIPAddress": "192.0.2.10",
        "Folders": [
            {"Path": "\\Inbox", "Id": "f", "FolderItems": [{"InternetMessageId": "<1>", "Id": "i"}]}
        ],
        **fields,
    }


def publish(lab: Lab, blobs: int = 6, each: int = 5, ago: timedelta = timedelta(hours=3)) -> int:
    """Publish *blobs* blobs of *each* records, half of either type; return the records."""
    for number in range(blobs):
        records = [record(number * each + n) for n in range(each)]
        lab.publish(TYPES[number % 2], lab.clock.now() - ago, records)
    return blobs * each


def config(lab: Lab, folder: Path, **changed: object) -> Path:
    """Write a collector's configuration with *changed* keys and return its file."""
    path = write_collect_config(lab, folder / "collect.yaml", content_types=TYPES)
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**data, **changed}), encoding="utf-8")
    return path
