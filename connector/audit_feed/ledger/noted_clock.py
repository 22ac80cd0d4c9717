"""How far the service's clock is ahead of this machine's, kept in the ledger for the commands."""

from __future__ import annotations

from datetime import datetime, timedelta

from audit_feed.ledger.states import LedgerStore

NOTE = "clock offset"
"""Name under which a ledger keeps it, in seconds."""


def note_offset(store: LedgerStore, offset: timedelta | None) -> None:
    """Keep *offset*, if it is known and not what the ledger keeps."""
    text = "" if offset is None else str(round(offset.total_seconds()))
    if text and store.noted(NOTE) != text:
        store.note(NOTE, text)


def service_time(store: LedgerStore, local: datetime) -> datetime:
    """Return the service's time when this machine's clock says *local*, as last known."""
    try:
        return local + timedelta(seconds=int(store.noted(NOTE) or "0"))
    except (ValueError, OverflowError):
        return local
