"""The memory of callers in Azure Table Storage.

Workers add the callers of each order as *notes*, without waiting for one another; ``gather``
merges the notes into one row for each caller, in transactions that count nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

import orjson
from azure.data.tables import (
    TableClient,
    TableServiceClient,
    TableTransactionError,
    TransactionOperation,
    UpdateMode,
)

from audit_feed.azure_app.callers import Access, CallerKey, Callers, merged
from audit_feed.errors import LedgerError
from audit_feed.ledger.table import PREFIX
from audit_feed.ledger.table_client import MAX_TRANSACTION, translated_errors
from audit_feed.ledger.table_rows import TableEntity, text, time

VERSION = 1
MAX_NOTES = 45
"""Notes of one transaction: each is deleted, and may need a caller's row too; a transaction has
at most ``MAX_TRANSACTION`` operations."""

_CALLER, _NOTE = "c|", "n|"


class TableCallers:
    """Every caller that is remembered. Safe for threads, processes and machines."""

    def __init__(self, service: TableServiceClient, prefix: str = PREFIX) -> None:
        """Open the memory, or make an empty one; raises ``LedgerError``."""
        with translated_errors("callers"):
            self._table: TableClient = service.create_table_if_not_exists(f"{prefix}callers")

    def add(self, tenant: str, source: str, callers: Callers) -> None:
        """Add the callers of *source*; the same source again replaces itself.

        Raises:
            LedgerError: The table does not work.

        """
        entities = [
            _entity(tenant, f"{_NOTE}{_hash(source)}|{_hash(*key)}", key, access)
            for key, access in callers.items()
        ]
        how = {"mode": UpdateMode.REPLACE}
        with translated_errors("callers"):
            for n in range(0, len(entities), MAX_TRANSACTION):
                batch = entities[n : n + MAX_TRANSACTION]
                self._table.submit_transaction(
                    [(TransactionOperation.UPSERT, entity, how) for entity in batch]
                )

    def gather(self, tenant: str) -> int:
        """Merge notes into the callers' rows; return how many.

        A note that another process merges at the same time is left to it: the transaction deletes
        the notes too, and fails whole where one is gone.

        Raises:
            LedgerError: The table does not work, or holds what cannot be read.

        """
        with translated_errors("callers"):
            notes = self._between(tenant, _NOTE)
            done = 0
            for n in range(0, len(notes), MAX_NOTES):
                done += self._merge(tenant, notes[n : n + MAX_NOTES])
        return done

    def _merge(self, tenant: str, notes: Sequence[TableEntity]) -> int:
        new = merged(_caller(note) for note in notes)
        steps: list[Any] = [(TransactionOperation.DELETE, note) for note in notes]
        known = {str(e["RowKey"]): e for e in self._between(tenant, _CALLER)}
        for key, access in new.items():
            name = f"{_CALLER}{_hash(*key)}"
            before = _caller(known[name]).get(key) if name in known else None
            entity = _entity(tenant, name, key, before.merged_with(access) if before else access)
            steps.append((TransactionOperation.UPSERT, entity, {"mode": UpdateMode.REPLACE}))
        try:
            self._table.submit_transaction(steps)
        except TableTransactionError as error:
            if error.status_code in {404, 412}:
                return 0
            raise
        return len(notes)

    def all(self, tenant: str) -> Callers:
        """Return all that was gathered of *tenant*; raises ``LedgerError``."""
        with translated_errors("callers"):
            return merged(_caller(entity) for entity in self._between(tenant, _CALLER))

    def _between(self, tenant: str, start: str) -> list[TableEntity]:
        asked = "PartitionKey eq @p and RowKey ge @a and RowKey lt @b"
        values = {"p": tenant, "a": start, "b": start[:-1] + "}"}
        return list(self._table.query_entities(asked, parameters=values))


def _hash(*parts: str) -> str:
    return sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _entity(tenant: str, name: str, key: CallerKey, access: Access) -> dict[str, object]:
    return {
        "PartitionKey": tenant,
        "RowKey": name,
        "version": VERSION,
        "who": orjson.dumps(key).decode(),
        "first": text(access.first),
        "last": text(access.last),
        "operations": str(access.operations),
        "mailboxes": ",".join(sorted(access.mailboxes)),
    }


def _caller(entity: TableEntity) -> Callers:
    if entity["version"] != VERSION:
        raise LedgerError("ledger: callers: of another version (they are left as they are)")
    tenant, caller, protocol = orjson.loads(str(entity["who"]))
    names: Iterable[str] = str(entity["mailboxes"]).split(",") if entity["mailboxes"] else ()
    access = Access(
        time(entity["first"]),
        time(entity["last"]),
        int(str(entity["operations"])),
        frozenset(names),
    )
    return {(tenant, caller, protocol): access}
