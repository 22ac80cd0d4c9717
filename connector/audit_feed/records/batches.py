"""Cut rows into request bodies that the Logs Ingestion API accepts. Pure.

The service's own client counts the records but not the commas, and so builds bodies over its
own limit; this one counts every byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import orjson

from audit_feed.records.elements import OddElement
from audit_feed.records.shape import Row

MAX_BODY_BYTES = 1_000_000
"""Largest body, in bytes of UTF-8 JSON before compression. The service's limit is 1,048,576
bytes a call; whether it counts before or after decompression is not settled, so we count before.
"""

MAX_FIELD_BYTES = 64_000
"""Largest value of a column. Log Analytics cuts one over 64 KB in the middle, which leaves JSON
that cannot be read (Azure Monitor service limits)."""

PARKED = "MailvigilParked"
"""Key that marks, in ``Record``, what of a row is parked: the fields that were too large, or the
whole element where the row does not say all that it said."""

_MARK_BYTES = 6_000
"""Room for the mark: 20 names of 40 characters, each at most 6 bytes as JSON, and its frame."""

_LONGEST_ID = 1_000
"""Characters of a RecordId that remain when a row is split; a GUID has 36."""

_BRACKETS = 2
_OPTIONS = orjson.OPT_UTC_Z


@dataclass(frozen=True, slots=True)
class Body:
    """One request body: a JSON array, and how many rows it holds."""

    data: bytes
    rows: int

    @property
    def digest(self) -> bytes:
        """SHA-256 of ``data``."""
        return sha256(self.data).digest()


@dataclass(frozen=True, slots=True)
class Parked:
    """What could not be sent of one record, and ``why``, for people.

    ``data`` is what did not fit of its row, as JSON: columns are under their names, fields of
    ``Record`` under ``Record``. Of an element that is not understood it is the element's own bytes,
    which need not be JSON; ``record_id`` is empty where it has none.
    """

    record_id: str
    data: bytes
    why: str = "too large"

    @property
    def digest(self) -> str:
        """SHA-256 of ``data``: it identifies a remainder of a blob, whatever its ids."""
        return sha256(self.data).hexdigest()


def joined(parts: Sequence[Body]) -> Body:
    """Return one body with the rows of all *parts*; no limit is looked at."""
    if len(parts) == 1:
        return parts[0]
    inner = b",".join([part.data[1:-1] for part in parts])
    return Body(b"[" + inner + b"]", sum(part.rows for part in parts))


def body_of(lines: Sequence[bytes]) -> Body:
    """Return the body that holds *lines*, each a row as JSON; no limit is looked at."""
    return Body(b"[" + b",".join(lines) + b"]", len(lines))


def lines_of(body: Body) -> list[bytes]:
    """Return the rows of *body*, each as JSON."""
    return [orjson.dumps(row) for row in orjson.loads(body.data)]


def parked_element(odd: OddElement, row: Row | None) -> Parked:
    """Return what is kept of an odd element, of which *row* was made, if any was."""
    return Parked(_short_id(str(row.get("RecordId", ""))) if row else "", odd.data, odd.why)


def refused_row(line: bytes, why: str) -> Parked:
    """Return what is kept of a row, as JSON, that the sink does not take for *why*."""
    return Parked(_short_id(str(orjson.loads(line).get("RecordId", ""))), line, why)


def marked(row: Row, parked: Parked) -> Row:
    """Return *row* with the mark that the element it was made of is kept as *parked*."""
    record = row.get("Record")
    rest = record if isinstance(record, dict) else {}
    mark = {"why": parked.why, "element": parked.digest}
    return {**row, "Record": {**rest, PARKED: mark}}


def bodies(
    rows: Iterable[Row], *, limit: int = MAX_BODY_BYTES, field_limit: int | None = None
) -> Iterator[Body | Parked]:
    """Yield bodies that hold every row once, in order, each at most *limit* bytes.

    A row that does not fit into a body of its own is split: what is too large of it comes as
    ``Parked``, before the body with the row's head, in which ``Record`` names what is missing.

    Args:
        rows: Rows as :func:`audit_feed.records.shape.shape` makes them.
        limit: Largest body in bytes, brackets and commas included; at least 16,384.
        field_limit: Largest value of a column in bytes, at least 16,384; None for any.

    """
    batch: list[bytes] = []
    size = _BRACKETS
    for row in rows:
        line = orjson.dumps(row, option=_OPTIONS)
        if len(line) + _BRACKETS > limit or _has_large(row, len(line), field_limit):
            head, parked = split(row, limit - _BRACKETS, field_limit)
            yield parked
            line = orjson.dumps(head, option=_OPTIONS)
        if batch and size + 1 + len(line) > limit:
            yield body_of(batch)
            batch, size = [], _BRACKETS
        size += len(line) + (1 if batch else 0)
        batch.append(line)
    if batch:
        yield body_of(batch)


def _has_large(row: Row, size: int, field_limit: int | None) -> bool:
    """Tell whether a value of *row*, which has *size* bytes, is over *field_limit*."""
    if field_limit is None or size <= field_limit:
        return False
    return any(_size(value) > field_limit for value in row.values())


def split(row: Row, limit: int, field_limit: int | None = None) -> tuple[Row, Parked]:
    """Return *row* with its largest fields taken out until it fits into *limit* bytes.

    Fields of ``Record`` and text columns go, the largest first. ``RecordId`` stays, unless it
    is too long for an id: then its hash is used. What was taken out is whole in the second value;
    ``Record`` names it under ``PARKED``.
    """
    head = dict(row)
    record = head.get("Record")
    rest = dict(record) if isinstance(record, dict) else {}
    earlier = rest.pop(PARKED, {})
    taken = _Taken()
    record_id = str(head.get("RecordId", ""))
    head["RecordId"] = _short_id(record_id)
    if head["RecordId"] != record_id:
        taken.columns["RecordId"] = record_id
    if field_limit:
        for name in [n for n in _texts(head) if _size(head[n]) > field_limit]:
            taken.columns[name], head[name] = head[name], ""
        _take({}, rest, _size(rest) + _MARK_BYTES - field_limit, taken)
    whole = {**head, "Record": rest}
    _take(head, rest, _size(whole) + _MARK_BYTES - limit, taken)
    parked = Parked(str(head["RecordId"]), orjson.dumps(taken.as_row(), option=_OPTIONS))
    mark = {**(earlier if isinstance(earlier, dict) else {}), **taken.mark()}
    head["Record"] = {**rest, PARKED: {**mark, "sha256": parked.digest}}
    return head, parked


@dataclass(frozen=True, slots=True)
class _Taken:
    """What was taken out of a row: columns, and fields of its ``Record``."""

    columns: Row = field(default_factory=dict)
    fields: Row = field(default_factory=dict)

    def as_row(self) -> Row:
        return {**self.columns, **({"Record": self.fields} if self.fields else {})}

    def mark(self) -> dict[str, object]:
        """Return what is put into ``Record`` instead; its size is bounded, whatever the names."""
        names = sorted([*self.columns, *self.fields])
        return {"count": len(names), "fields": [name[:40] for name in names[:20]]}


def _short_id(record_id: str) -> str:
    if len(record_id) <= _LONGEST_ID:
        return record_id
    return f"sha256:{sha256(record_id.encode()).hexdigest()}"


def _take(head: Row, rest: Row, excess: int, taken: _Taken) -> None:
    """Move the largest values out of *head* and *rest* until *excess* bytes are gone."""
    for size, name, home in _by_size(head, rest):
        if excess <= 0:
            return
        if home is head:
            taken.columns[name], head[name] = head[name], ""
        else:
            taken.fields[name] = rest.pop(name)
        excess -= size


def _by_size(head: Row, rest: Row) -> list[tuple[int, str, Row]]:
    """Return what may be taken out, the largest first: its bytes, its name and where it is."""
    values = [(_size(head[n]) - 2, n, head) for n in _texts(head)]
    values += [(_size({n: v}) - 2, n, rest) for n, v in rest.items()]
    return sorted(values, key=lambda item: item[0], reverse=True)


def _texts(head: Row) -> list[str]:
    return [n for n, v in head.items() if isinstance(v, str) and n != "RecordId"]


def _size(value: object) -> int:
    return len(orjson.dumps(value, option=_OPTIONS))
