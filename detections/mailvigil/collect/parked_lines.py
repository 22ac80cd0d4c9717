"""What was taken out of records, or could not be read, as JSON lines that lose nothing of it."""

from __future__ import annotations

import base64
import json
from typing import TextIO

import orjson

from audit_feed.blobs import Stream
from audit_feed.ledger.states import LedgerStore
from audit_feed.records.batches import Parked


def print_parked(store: LedgerStore, out: TextIO) -> int:
    """Print each remainder with what finds its record again; return how many there were."""
    count = 0
    for stream in store.streams():
        for parked in store.parked(stream):
            print(json.dumps(_line(stream, parked)), file=out)
            count += 1
    return count


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
