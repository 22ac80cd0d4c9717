"""Hours that hold elements which are not understood, kept in the ledger's notes. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

from audit_feed.blobs import Stream
from audit_feed.ledger.states import LedgerStore


class FlawedHours:
    """One stream's hours that are listed alone, because their own listings have a flaw.

    Joined with others again, they would cost those their proof, and the way back down to one
    hour, in every pass. After a crash, or where two processes list, one may be missing: then it
    is found again.
    """

    def __init__(self, store: LedgerStore, stream: Stream) -> None:
        self._store = store
        self._name = f"flawed {stream.tenant} {stream.content_type}"

    def all(self) -> frozenset[datetime]:
        """Return them, aware UTC; none where the note cannot be read: they are found again."""
        try:
            items = json.loads(self._store.noted(self._name) or "[]")
            return frozenset(datetime.fromisoformat(item) for item in items)
        except (ValueError, TypeError):
            return frozenset()

    def add(self, hours: Collection[datetime], earliest: datetime) -> None:
        """Add *hours*, and forget those before *earliest*; a known one costs no write."""
        known = self.all()
        if not known.issuperset(hours):
            listed = sorted(hour for hour in known.union(hours) if hour >= earliest)
            self._store.note(self._name, json.dumps([hour.isoformat() for hour in listed]))
