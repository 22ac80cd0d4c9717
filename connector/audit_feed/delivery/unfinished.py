"""Listings that were stopped between two pages, kept in the ledger until they go on. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from audit_feed.blobs import Stream
from audit_feed.ledger.states import LedgerStore
from audit_feed.windows import Window

MAX_CHARACTERS = 30_000
"""What a note of the ledger holds. With more, the oldest listings begin anew."""


@dataclass(frozen=True, slots=True)
class ListingPosition:
    """How far a listing of *window* has come that began at ``began`` (aware UTC).

    ``address`` is the next page's, ``""`` for the first one. ``flaw`` is what was wrong with a
    page before, and ``odd`` that elements were. ``stale`` counts the pages in a row that named no
    blob that was not named before.
    ``resumed`` says that another run has listed the pages before.
    """

    window: Window
    began: datetime
    address: str = ""
    flaw: str = ""
    stale: int = 0
    odd: bool = False
    resumed: bool = False


class UnfinishedListings:
    """One stream's unfinished listings, in the ledger's notes."""

    def __init__(self, store: LedgerStore, stream: Stream) -> None:
        self._store = store
        self._name = f"unfinished {stream.tenant} {stream.content_type}"

    def all(self) -> Sequence[ListingPosition]:
        """Return them, oldest first; none where the note cannot be read: those begin anew."""
        try:
            return [_position(item) for item in json.loads(self._store.noted(self._name) or "[]")]
        except (ValueError, KeyError, TypeError):
            return []

    def keep(self, position: ListingPosition) -> None:
        """Keep *position*, in place of an earlier one of the same listing."""
        self._write([*self._others(position), position])

    def drop(self, position: ListingPosition) -> None:
        """Forget a listing: it goes on now, or begins anew."""
        self._write(self._others(position))

    def _others(self, position: ListingPosition) -> list[ListingPosition]:
        return [p for p in self.all() if (p.window, p.began) != (position.window, position.began)]

    def _write(self, positions: Sequence[ListingPosition]) -> None:
        items = [_item(position) for position in positions]
        while len(text := json.dumps(items)) > MAX_CHARACTERS:
            items = items[1:]
        self._store.note(self._name, text)


def _item(position: ListingPosition) -> dict[str, object]:
    return {
        "start": position.window.start.isoformat(),
        "end": position.window.end.isoformat(),
        "began": position.began.isoformat(),
        "address": position.address,
        "flaw": position.flaw,
        "stale": position.stale,
        "odd": position.odd,
    }


def _position(item: dict[str, str]) -> ListingPosition:
    time = datetime.fromisoformat
    return ListingPosition(
        Window(time(item["start"]), time(item["end"])),
        time(item["began"]),
        str(item["address"]),
        str(item["flaw"]),
        int(item["stale"]),
        odd=bool(item.get("odd")),
        resumed=True,
    )
