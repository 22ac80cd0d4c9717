"""What was taken out of records, or could not be read, as JSON lines that lose nothing of it."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TextIO

import orjson

from audit_feed.blobs import Stream
from audit_feed.ledger.states import LedgerStore
from audit_feed.records.batches import Parked
from mailvigil.errors import InputError


def print_parked(store: LedgerStore, out: TextIO) -> int:
    """Print each remainder with what finds its record again; return how many there were."""
    count = 0
    for stream in store.streams():
        for parked in store.parked(stream):
            print(json.dumps(_line(stream, parked)), file=out)
            count += 1
    return count


def write_parked(store: LedgerStore, path: Path) -> int:
    """Write each remainder to a new file that only its owner can read; return how many there are.

    Raises:
        InputError: The file exists already, or cannot be made.

    """
    with _new(path) as file:
        return print_parked(store, file)


def _new(path: Path) -> TextIO:
    """Open a file that is not there yet: an earlier export is not written over."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except FileExistsError:
        raise InputError(str(path), "exists already", "name another file") from None
    except OSError as error:
        why = f"cannot be written: {error.strerror}"
        raise InputError(str(path), why, "name a file in a folder that exists") from None


def _line(stream: Stream, parked: Parked) -> dict[str, object]:
    return {
        "tenant": stream.tenant,
        "content_type": stream.content_type,
        "record_id": parked.record_id,
        "sha256": parked.digest,
        "why": parked.why,
        **_content(parked.data),
    }


def _content(data: bytes) -> dict[str, object]:
    """Return *data* as a value where JSON gives the same bytes back, else as it came."""
    try:
        value = orjson.loads(data)
        if orjson.dumps(value) == data:
            return {"parked": value}
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass
    try:
        return {"raw": data.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(data).decode()}
