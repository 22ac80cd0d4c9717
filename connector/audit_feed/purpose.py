"""What a ledger was filled for: a sink and a filter. Pure.

A ledger says which blobs were delivered. With another sink, or another filter, that is no longer
true of what is asked for, and "complete" would be said of records that were never sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from audit_feed.blobs import Stream
from audit_feed.errors import LedgerError
from audit_feed.ledger.states import BlobState, LedgerStore
from audit_feed.settings import Settings
from audit_feed.windows import END_OF_TIME, RETENTION, Window

NOTE = "purpose"
"""Name of the ledger's note that holds it."""

FILES = ("file", "folder")
"""Settings of a sink that name a file or folder."""

WAYS_ON = (
    "mailvigil ledger redeliver sends everything again that the feed still has; another ledger "
    "begins anew; mailvigil ledger accept goes on from here as it is"
)


class PurposeError(LedgerError):
    """The ledger was filled for something else. Stop before anything is listed."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """Where records go and which ones. ``target`` names the place within the kind of ``sink``."""

    sink: str
    target: Mapping[str, str]
    include: Mapping[str, Iterable[str]]
    exclude: Mapping[str, Iterable[str]]

    def text(self) -> str:
        """Return it as text: the same purpose gives the same text."""
        parts = {
            "sink": self.sink,
            "target": dict(self.target),
            "include": {name: sorted(values) for name, values in self.include.items()},
            "exclude": {name: sorted(values) for name, values in self.exclude.items()},
        }
        return json.dumps(parts, sort_keys=True)


def purpose_of(settings: Settings, folder: Path) -> Purpose:
    """Return what *settings* ask for; sinks in files start from *folder*.

    The place of a file is kept as seen from the ledger, so that both can be moved together.
    """
    values = dict(settings.sink.values)
    for name in FILES:
        if name in values:
            values[name] = _seen_from(settings.ledger, folder / values[name])
    return Purpose(settings.sink.kind, values, settings.include, settings.exclude)


def check_purpose(store: LedgerStore, purpose: Purpose) -> None:
    """Return if the ledger was filled for *purpose*; note it where nothing was delivered yet.

    Raises:
        PurposeError: It was filled for something else; the message names what differs, no value.
        LedgerError: The ledger cannot be used.

    """
    wanted, noted = purpose.text(), store.noted(NOTE)
    if wanted == noted:
        return
    if noted and has_delivered(store):
        raise PurposeError(
            f"ledger: it was filled for {' and '.join(_differences(noted, wanted))} ({WAYS_ON})"
        )
    accept_purpose(store, purpose)


def accept_purpose(store: LedgerStore, purpose: Purpose) -> None:
    """Note that the ledger is filled for *purpose* from now on."""
    store.note(NOTE, purpose.text())


def has_delivered(store: LedgerStore) -> bool:
    """Return whether anything on record was delivered."""
    return any(_has_delivered(store, stream) for stream in store.streams())


def _has_delivered(store: LedgerStore, stream: Stream) -> bool:
    first = store.first_hour(stream)
    if first is None:
        return False
    rows = store.rows(stream, Window(first - RETENTION, END_OF_TIME))
    return any(row.state is BlobState.DELIVERED for row in rows)


def _differences(noted: str, wanted: str) -> list[str]:
    """Return what differs, for people."""
    before, after = json.loads(noted), json.loads(wanted)
    if not isinstance(before, dict):
        return ["something that cannot be read"]
    names = {
        "sink": "another kind of sink",
        "target": "another place in the sink",
        "include": "another include",
        "exclude": "another exclude",
    }
    return [text for part, text in names.items() if before.get(part) != after[part]]


def _seen_from(ledger: Path, target: Path) -> str:
    try:
        return Path(os.path.relpath(target.resolve(), ledger.resolve().parent)).as_posix()
    except ValueError:  # another drive
        return target.resolve().as_posix()
