"""Cut rows into request bodies that the Logs Ingestion API accepts. Pure.

The service's own client counts the records but not the commas, and so builds bodies over its
own limit; this one counts every byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from audit_feed.shape import Row

MAX_BODY_BYTES = 1_000_000
"""Largest body, in bytes of UTF-8 JSON before compression. The service's limit is 1,048,576
bytes a call; whether it counts before or after decompression is not settled, so we count before.
"""

PARKED = "MailvigilParked"
"""Key that marks, in ``Record``, which fields of a row were too large and are parked."""

_MARK_BYTES = 8_000
"""Room for the mark: 20 names of 40 characters, each at most 6 bytes as JSON, and its frame."""

_BRACKETS = 2
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class Body:
    """One request body: a JSON array, and how many rows it holds."""

    data: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class Parked:
    """What did not fit of one row: its id and the fields taken out, as JSON."""

    record_id: str
    data: bytes


def bodies(rows: Iterable[Row], *, limit: int = MAX_BODY_BYTES) -> Iterator[Body | Parked]:
    """Yield bodies that hold every row once, in order, each at most *limit* bytes.

    A row that does not fit into a body of its own is split: what is too large of it comes as
    ``Parked``, before the body with the row's head, in which ``Record`` names what is missing.

    Args:
        rows: Rows as :func:`audit_feed.shape.shape` makes them.
        limit: Largest body in bytes, brackets and commas included; at least 4,096.

    """
    batch: list[bytes] = []
    size = _BRACKETS
    for row in rows:
        line = orjson.dumps(row, option=_OPTIONS)
        if len(line) + _BRACKETS > limit:
            head, parked = split(row, limit - _BRACKETS)
            yield parked
            line = orjson.dumps(head, option=_OPTIONS)
        if batch and size + 1 + len(line) > limit:
            yield _body(batch)
            batch, size = [], _BRACKETS
        size += len(line) + (1 if batch else 0)
        batch.append(line)
    if batch:
        yield _body(batch)


def split(row: Row, limit: int) -> tuple[Row, Parked]:
    """Return *row* with its largest fields taken out until it fits into *limit* bytes.

    Fields of ``Record`` and text columns go, the largest first, but never ``RecordId``. What
    was taken out is whole in the second value; ``Record`` names it under ``PARKED``.
    """
    head = dict(row)
    record = head.get("Record")
    rest = dict(record) if isinstance(record, dict) else {}
    taken: Row = {}
    excess = len(orjson.dumps(row, option=_OPTIONS)) + _MARK_BYTES - limit
    for size, name, home in _by_size(head, rest):
        if excess <= 0:
            break
        taken[name] = home[name]
        if home is head:
            head[name] = ""
        else:
            del rest[name]
        excess -= size
    head["Record"] = {**rest, PARKED: _mark(taken)}
    return head, Parked(str(row.get("RecordId", "")), orjson.dumps(taken, option=_OPTIONS))


def _by_size(head: Row, rest: Row) -> list[tuple[int, str, Row]]:
    """Return what may be taken out, the largest first: its bytes, its name and where it is."""
    texts = [n for n, v in head.items() if isinstance(v, str) and n != "RecordId"]
    found = [(len(orjson.dumps(head[n])) - 2, n, head) for n in texts]
    found += [(len(orjson.dumps({n: v}, option=_OPTIONS)) - 2, n, rest) for n, v in rest.items()]
    return sorted(found, key=lambda item: item[0], reverse=True)


def _mark(taken: Row) -> dict[str, object]:
    """Return what stands in ``Record`` for the fields taken out; bounded, whatever their names."""
    return {"count": len(taken), "fields": [name[:40] for name in sorted(taken)[:20]]}


def _body(batch: list[bytes]) -> Body:
    return Body(b"[" + b",".join(batch) + b"]", len(batch))
