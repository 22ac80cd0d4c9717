"""Remainders of records that did not fit into a body, in Table Storage."""

from __future__ import annotations

import gzip
from collections.abc import Container, Sequence
from datetime import datetime

from azure.data.tables import TableClient, UpdateMode

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.errors import LedgerError
from audit_feed.ledger import table_client
from audit_feed.ledger.table_rows import TableEntity, blob_key, hour_from, hour_key, stream_key
from audit_feed.ledger.texts import storable
from audit_feed.records.batches import Parked

TOO_LARGE = "too large"
"""Why remainders were parked by a version that did not store it."""

LONGEST_WHY = 1_000

PIECE_BYTES = 60_000
"""Part of a remainder that goes in one row; a value has at most 64 KiB (Table service)."""


class TableParked:
    """Each remainder in rows of ``PIECE_BYTES``, compressed. A row's key ends in its number."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    def park(self, blob: ContentBlob, parked: Parked) -> None:
        """Keep a remainder; see ``LedgerStore.park``.

        Its first piece is written last: pieces without a first one are what a crash has left, and
        are passed over, while a first piece without the others is an error.
        """
        where, name = blob_key(blob)
        data = gzip.compress(parked.data, compresslevel=6, mtime=0)
        pieces = [data[n : n + PIECE_BYTES] for n in range(0, len(data), PIECE_BYTES)]
        with table_client.translated_errors(f"blob {blob.id}: park"):
            for number in reversed(range(len(pieces))):
                self._table.upsert_entity(
                    {
                        "PartitionKey": stream_key(blob.stream),
                        "RowKey": f"{name}|{parked.digest}|{number:06}",
                        "hour": where.rpartition("|")[2],
                        "id": blob.id,
                        "record_id": storable(parked.record_id),
                        "why": storable(parked.why)[:LONGEST_WHY],
                        "pieces": len(pieces),
                        "data": pieces[number],
                    },
                    mode=UpdateMode.REPLACE,
                )

    def parked(self, stream: Stream) -> Sequence[Parked]:
        """Return every remainder of *stream*.

        Raises:
            LedgerError: A piece is missing, or is not what it was.

        """
        return [_joined(name, pieces) for name, pieces in self._pieces(stream).items()]

    def _pieces(self, stream: Stream) -> dict[str, list[TableEntity]]:
        """Return the pieces of each remainder whose first one is there, in order."""
        by_name: dict[str, list[TableEntity]] = {}
        values = {"p": stream_key(stream)}
        with table_client.translated_errors("parked"):
            for entity in table_client.query(self._table, "PartitionKey eq @p", values):
                name, _, number = str(entity["RowKey"]).rpartition("|")
                if int(number) < int(str(entity["pieces"])):  # the same in fewer pieces, once
                    by_name.setdefault(name, []).append(entity)
        return {n: rows for n, rows in by_name.items() if rows[0]["RowKey"] == f"{n}|{0:06}"}

    def drop_unreadable(self, stream: Stream) -> int:
        """Delete remainders of which a piece is missing or is another one; return how many."""
        broken = [pieces for n, pieces in self._pieces(stream).items() if not _readable(n, pieces)]
        with table_client.translated_errors("repair"):
            table_client.delete_all(self._table, [piece for pieces in broken for piece in pieces])
        return len(broken)

    def prune(self, stream: Stream, before: datetime, left: Container[datetime]) -> None:
        """Drop what was parked of blobs before the hour *before*, unless the hour is in *left*."""
        values = {"p": stream_key(stream), "h": hour_key(before)}
        with table_client.translated_errors("prune"):
            condition = "PartitionKey eq @p and hour lt @h"
            entities = table_client.query(self._table, condition, values, select=["hour"])
            old = [entity for entity in entities if hour_from(entity["hour"]) not in left]
            table_client.delete_all(self._table, old)


def _joined(name: str, pieces: Sequence[TableEntity]) -> Parked:
    try:
        data = gzip.decompress(b"".join(_bytes(piece["data"]) for piece in pieces))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise LedgerError(f"ledger: parked {name}: cannot be read") from error
    first = pieces[0]
    parked = Parked(str(first["record_id"]), data, str(first.get("why") or TOO_LARGE))
    if parked.digest != name.rpartition("|")[2]:
        raise LedgerError(f"ledger: parked {name}: is not what was parked")
    return parked


def _readable(name: str, pieces: Sequence[TableEntity]) -> bool:
    try:
        _joined(name, pieces)
    except LedgerError:
        return False
    return True


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("no bytes")
    return value
