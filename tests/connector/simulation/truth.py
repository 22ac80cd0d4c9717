"""What is true of each hour, by what the feed has shown; and whether the programs say so."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from audit_feed.blobs import ContentBlob, Stream, content_key
from audit_feed.ledger.statement import HourStatement
from audit_feed.records.batches import PARKED, Parked
from audit_feed.windows import HOUR, MARGIN, RETENTION, Window
from connector.simulation.feed_side import FeedSide
from connector.simulation.history import record_of
from connector.simulation.transport import Chain
from connector.simulation.workspace import Workspace
from connector.simulation.world import World, demand
from mailvigil.lab.server.contents import Blob

TOLERANCE = timedelta(seconds=6)
"""The collector's idea of the service's time may be off by so much: a header has whole seconds."""


@dataclass(slots=True)
class Truth:
    """The world's side of every statement."""

    world: World
    feed: FeedSide
    workspace: Workspace
    blobs: Sequence[Blob]
    hours_checked: int = 0
    checked: dict[tuple[Stream, datetime], tuple[HourStatement, int]] = field(default_factory=dict)

    def check(
        self, stream: Stream, hours: Iterable[HourStatement], parked: Sequence[Parked]
    ) -> None:
        """Demand that nothing is called complete that is not."""
        held, chains = _Held(parked), self.feed.log.chains
        failed = [
            n for n, c in enumerate(chains) if c.stream == stream and not c.excused and not c.whole
        ]
        for hour in hours:
            self.hours_checked += 1
            if hour.complete:
                self._check_anew(stream, hour, held, failed[-1] if failed else -1)

    def _check_anew(self, stream: Stream, hour: HourStatement, held: _Held, failed: int) -> None:
        """Check a statement, or of one that was checked before only what can have changed.

        *failed* is the place of the last listing that did not come to its end.
        """
        before, seen = self.checked.get((stream, hour.hour), (None, 0))
        if before != hour:
            self._check_complete(stream, hour, held)
            seen = 0
        if failed >= seen and not self.feed.log.ahead:
            name = f"{stream.content_type} {hour.hour:%d %H}h is called complete"
            self._check_last_listing(stream, hour, name)
        self.checked[stream, hour.hour] = (hour, len(self.feed.log.chains))

    def _check_complete(self, stream: Stream, hour: HourStatement, held: _Held) -> None:
        name = f"{stream.content_type} {hour.hour:%d %H}h is called complete"
        at = stated = hour.listed_at
        demand(at is not None, f"{name} and was never listed")
        assert at is not None
        assert stated is not None
        demand(at >= hour.hour + HOUR + MARGIN, f"{name} too early")
        last = at
        if self.feed.log.lied:
            at, last = self._listed_by(stream, hour.hour, name)
        demand(at <= self.world.service() + TOLERANCE, f"{name} by a listing in the future")
        known = self._is_misdated(stream, stated) or self.is_known(stream, hour.hour)
        demand(known, f"{name}, but no subscription is known for it")
        # A feed that forgets may show a blob to the first listing and not to the one that is noted.
        still = {blob.id for blob in self.shown(stream, hour.hour, last - TOLERANCE)}
        for blob in self.shown(stream, hour.hour, at - TOLERANCE):
            if blob.id in still:
                self.check_delivered(stream, blob, held, name)

    def _is_misdated(self, stream: Stream, stated: datetime) -> bool:
        """Return whether a listing, or that the subscription existed, can have a wrong time.

        A wrong time that two sources agree on is believed: a limit that the documents state.
        """
        log = self.feed.log
        chains = [c for c in log.chains if c.stream == stream]
        asked = (c.asked for c in chains if c.whole)
        believed = any(c.window.end > c.asked + TOLERANCE for c in chains)
        misdated = believed or all(abs(at - stated) > TOLERANCE for at in asked)
        return log.ahead or (log.lied and misdated)

    def _listed_by(self, stream: Stream, hour: datetime, name: str) -> tuple[datetime, datetime]:
        """Return when the hour was first listed whole, and last, whatever the feed's Date.

        By a clock that was ahead, the margin can be over early.
        """
        found: list[Chain] = []
        first = None
        for listing in sorted(self.feed.log.chains, key=lambda c: c.asked):
            if listing.stream == stream and listing.whole:
                found.append(listing)
                if first is None and _covered(found, hour, hour + HOUR):
                    first = listing.asked
        demand(first is not None, f"{name}, but was never listed to its end")
        assert first is not None
        return first, max(c.asked for c in found if _overlaps(c.window, hour))

    def is_known(self, stream: Stream, hour: datetime, tolerance: timedelta = TOLERANCE) -> bool:
        """Return whether anybody can know that the subscription existed throughout the hour."""
        log = self.feed.log
        enabled, absent = sorted(log.enabled.get(stream, ())), log.absent.get(stream, ())
        before = bisect_right(enabled, hour + tolerance)
        after = bisect_left(enabled, hour + HOUR - tolerance)
        if not before or after == len(enabled):
            return False
        return not any(enabled[before - 1] < at < enabled[after] for at in absent)

    def is_gone(self, stream: Stream) -> bool:
        """Return whether the subscription did not exist when the stream was last listed."""
        enabled, absent = (
            self.feed.log.enabled.get(stream, ()),
            self.feed.log.absent.get(stream, ()),
        )
        return bool(absent) and (not enabled or max(absent) > max(enabled))

    def shown(self, stream: Stream, hour: datetime, at: datetime) -> list[Blob]:
        """Return what the feed showed of the hour at *at*, by its own clock."""
        model = self.feed.model
        found = model.listed(
            stream.tenant, stream.content_type, hour, hour + HOUR, at - self.world.service_offset
        )
        return [blob for blob in found if blob.element is None]

    def check_delivered(self, stream: Stream, blob: Blob, held: _Held, name: str) -> None:
        """Demand that all records of the blob were acknowledged, or are kept in the ledger."""
        key = key_of(stream, blob)
        for record in blob.record_ids or ():
            if record in self.workspace.poisoned:
                demand(held.has(record), f"{name} without {record} of {blob.id[-12:]}, not parked")
                continue
            there = self.workspace.acknowledged[key, record]
            demand(there, f"{name} without {record} of {blob.id[-12:]}")
            self._check_row(key, record, held, name)

    def _check_row(self, key: str, record: str, held: _Held, name: str) -> None:
        """Demand a whole record in the table, or a head whose remainder is kept."""
        row = self.workspace.rows.get((key, record))
        if row is None:
            demand((key, record) in self.workspace.dropped, f"{name}: {record} is nowhere")
            return
        rest = row["Record"]
        assert isinstance(rest, Mapping)
        pad = record_of(record)["Pad"]
        if rest.get("Pad") == pad:
            return
        mark = rest.get(PARKED)
        demand(isinstance(mark, Mapping), f"{name}: {record} is cut and does not say so")
        assert isinstance(mark, Mapping)
        demand(mark.get("sha256") in held.digests, f"{name}: {record} is cut, but not parked")

    def _check_last_listing(self, stream: Stream, hour: HourStatement, name: str) -> None:
        """Demand that no later listing of the hour failed without one that came to its end.

        Two that are asked for within the tolerance are so at the same time: no process knows the
        order of requests of another one better.
        """
        chains = [
            c
            for c in self.feed.log.chains
            if c.stream == stream
            and _overlaps(c.window, hour.hour)
            and not c.excused
            and not _is_over_the_edge(c, hour.hour)
        ]
        for failed in chains:
            if failed.whole or failed.asked <= (hour.listed_at or failed.asked):
                continue
            since = failed.asked - TOLERANCE
            later = [c for c in chains if c.whole and c.ended and c.ended >= since]
            demand(
                _covered(later, max(hour.hour, failed.window.start), hour.hour + HOUR),
                f"{name}, but its listing at {failed.asked:%d %H:%M:%S} did not come to its end",
            )


@dataclass(slots=True)
class _Held:
    """What the ledger has parked."""

    parked: Sequence[Parked]
    digests: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.digests = frozenset(item.digest for item in self.parked)

    def has(self, record: str) -> bool:
        return any(item.record_id == record for item in self.parked)


def key_of(stream: Stream, blob: Blob) -> str:
    """Return the key that the rows of a blob have."""
    return content_key(
        ContentBlob(stream=stream, id=blob.id, uri="-", created=blob.created, expires=blob.created)
    )


def _is_over_the_edge(listing: Chain, hour: datetime) -> bool:
    """Tell whether the feed no longer kept the hour's beginning when it was listed."""
    return hour < listing.window.start <= listing.asked - RETENTION + HOUR


def _overlaps(window: Window, hour: datetime) -> bool:
    return window.start < hour + HOUR and window.end > hour


def _covered(chains: Sequence[Chain], start: datetime, end: datetime) -> bool:
    """Tell whether the windows of *chains* leave out nothing from *start* to *end*."""
    at = start
    for chain in sorted(chains, key=lambda c: c.window.start):
        if chain.window.start <= at:
            at = max(at, chain.window.end)
    return at >= end
