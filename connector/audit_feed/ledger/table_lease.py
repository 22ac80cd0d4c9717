"""The lease of the ledger in Table Storage: one collector at a time."""

from __future__ import annotations

from datetime import UTC, datetime

from azure.data.tables import TableClient

from audit_feed.errors import LeaseHeldError
from audit_feed.ledger import table_client
from audit_feed.ledger.table_rows import TableEntity, text, time

_KEY = {"PartitionKey": "lease", "RowKey": "lease"}


class TableLease:
    """One row with the owner and the time at which its lease ends.

    The owner's clock writes that time and another machine's clock compares it: a clock that runs
    ahead by more than the lease's length takes a lease that is still held. Rows are guarded by
    their ETags all the same, so two collectors at once send blobs twice and lose none.
    """

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._held = ""

    def acquire(self, owner: str, now: datetime, until: datetime) -> None:
        """Take or renew the lease; see ``LedgerStore.acquire_lease``."""
        lease = {**_KEY, "owner": owner, "until": text(until)}
        with table_client.translated_errors("lease"):
            row = table_client.get(self._table, _KEY)
            if row and row.get("owner", "") not in {"", owner} and now < _until(row):
                raise LeaseHeldError("ledger: another collector works with it (stop it first)")
            taken = (
                table_client.replace(self._table, lease, table_client.etag_of(row))
                if row
                else table_client.create(self._table, lease)
            )
        if not taken:
            raise LeaseHeldError("ledger: another collector has just taken it (stop it first)")
        self._held = owner

    def release(self, owner: str) -> None:
        """Give the lease back; see ``LedgerStore.release_lease``."""
        if not owner:
            return
        with table_client.translated_errors("lease"):
            row = table_client.get(self._table, _KEY)
            if row and row.get("owner") == owner:
                free = {**_KEY, "owner": "", "until": ""}
                table_client.replace(self._table, free, table_client.etag_of(row))
        self._held = ""

    def close(self) -> None:
        """Give back the lease that this process holds, if any."""
        self.release(self._held)


def _until(row: TableEntity) -> datetime:
    """Return when a lease ends; one that cannot be read has ended, and is written anew."""
    try:
        return time(row["until"])
    except (KeyError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
