"""What Table Storage keeps of a stream as a whole, and short texts that the app keeps there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from azure.data.tables import TableClient, UpdateMode

from audit_feed.blobs import Stream
from audit_feed.errors import LedgerError
from audit_feed.ledger import table_client
from audit_feed.ledger.coverage import Coverage, coverage_from, coverage_text
from audit_feed.ledger.table_client import MAX_ROUNDS, translated_errors
from audit_feed.ledger.table_rows import TableEntity, stream_key, stream_of, text, time

_PARTITION = "streams"
_COVERAGE = "coverage"
_META = "meta"
NOTES = "notes"
"""The partition of what ``LedgerStore.note`` keeps."""

_NOT_IN_KEYS = re.compile(r"[/\\#?%\x00-\x1f\x7f-\x9f]")


class TableStreams:
    """One row for each stream, with the first hour of interest."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._first: dict[Stream, datetime] = {}

    def register(self, stream: Stream, first: datetime) -> datetime:
        """Record from when on *stream* is of interest; see ``LedgerStore.register_stream``."""
        known = self._first.get(stream)
        if known is None or known > first:
            known = self._first[stream] = self._register(stream, first)
        return known

    def first_hour(self, stream: Stream) -> datetime | None:
        """Return the earliest hour of interest; see ``LedgerStore.first_hour``."""
        if stream in self._first:
            return self._first[stream]
        with translated_errors("begin"):
            return _first(table_client.get(self._table, _key(stream)))

    def all(self) -> Sequence[Stream]:
        """Return every stream; see ``LedgerStore.streams``."""
        with translated_errors("streams"):
            return [stream_of(entity["RowKey"]) for entity in self._rows()]

    def move_first_hour(self, stream: Stream, first: datetime) -> None:
        """Say nothing more of what was before *first*.

        Called before the hours are dropped: a crash in between leaves rows that nothing is said
        of, and never a statement about hours that are gone.
        """
        known = self.first_hour(stream)
        if known is None or known >= first:
            return
        with translated_errors("prune"):
            row = table_client.get(self._table, _key(stream))
            if row is None or (_first(row) or first) >= first:
                return
            entity = {**_key(stream), "first": text(first)}
            etag = table_client.etag_of(row)
            if table_client.replace(self._table, entity, etag, UpdateMode.MERGE):
                self._first[stream] = first

    def put_summaries(self, summaries: Mapping[Stream, str]) -> None:
        """Keep a short text about each stream, at most 32,000 characters each."""
        # The property is called "told" in tables that are deployed: a new name would lose them.
        entities = [{**_key(stream), "told": summary} for stream, summary in summaries.items()]
        with translated_errors("summaries"):
            table_client.merge_all(self._table, entities)

    def summaries(self) -> Mapping[Stream, str]:
        """Return the last text about each stream, ``""`` where there is none."""
        with translated_errors("summaries"):
            return {stream_of(e["RowKey"]): str(e.get("told", "")) for e in self._rows()}

    def _register(self, stream: Stream, first: datetime) -> datetime:
        """Write *first* if it is earlier than what is stored; return what is stored then."""
        entity = {**_key(stream), "first": text(first)}
        with translated_errors("begin"):
            for _ in range(MAX_ROUNDS):
                row = table_client.get(self._table, _key(stream))
                known = _first(row)
                if known and known <= first:
                    return known
                # The row also holds the summary, so it is merged and not replaced.
                written = (
                    table_client.replace(
                        self._table, entity, table_client.etag_of(row), UpdateMode.MERGE
                    )
                    if row
                    else table_client.create(self._table, entity)
                )
                if written:
                    return first
        raise LedgerError(f"ledger: {stream.content_type}: others write there all the time")

    def coverage(self, stream: Stream) -> tuple[Coverage | None, str]:
        """Return the coverage and the ETag of its row; None and ``""`` where it has none."""
        with translated_errors("coverage"):
            row = table_client.get(self._table, _coverage_key(stream))
        if row is None:
            return None, ""
        return coverage_from(str(row.get("spans") or "")), table_client.etag_of(row)

    def put_coverage(self, stream: Stream, coverage: Coverage, etag: str) -> bool:
        """Write the coverage in place of what was read with *etag*; return whether it was that."""
        entity = {**_coverage_key(stream), "spans": coverage_text(coverage)}
        with translated_errors("coverage"):
            if etag:
                return table_client.replace(self._table, entity, etag)
            return table_client.create(self._table, entity)

    def _rows(self) -> list[TableEntity]:
        return table_client.query(self._table, "PartitionKey eq @p", {"p": _PARTITION})


class TableMarkers:
    """Short texts under a name: what the app has done last."""

    def __init__(self, table: TableClient, partition: str = _META) -> None:
        self._table = table
        self._partition = partition

    def get(self, name: str) -> str:
        """Return the text under *name*, or ``""``."""
        with translated_errors("marker"):
            row = table_client.get(
                self._table, {"PartitionKey": self._partition, "RowKey": _marker_key(name)}
            )
        return str(row.get("mark") or "") if row else ""

    def set(self, name: str, value: str) -> None:
        """Keep a text under *name*."""
        entity = {
            "PartitionKey": self._partition,
            "RowKey": _marker_key(name),
            "mark": value,
        }
        with translated_errors("marker"):
            self._table.upsert_entity(entity, mode=UpdateMode.MERGE)


def _key(stream: Stream) -> dict[str, str]:
    return {"PartitionKey": _PARTITION, "RowKey": stream_key(stream)}


def _coverage_key(stream: Stream) -> dict[str, str]:
    return {"PartitionKey": _COVERAGE, "RowKey": stream_key(stream)}


def _first(row: TableEntity | None) -> datetime | None:
    """Return the first hour of a stream's row, None where it holds none that can be read."""
    try:
        return time(row["first"]) if row else None
    except (KeyError, ValueError):
        return None


def _marker_key(name: str) -> str:
    """Return *name* without what a key may not hold."""
    return _NOT_IN_KEYS.sub(lambda match: f"_{ord(match[0]):x}_", name)
