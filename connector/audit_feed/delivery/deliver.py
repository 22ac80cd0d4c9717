"""The order of steps: a blob is delivered only after its last body was acknowledged. Pure.

Small blobs travel together: a request costs as much as all other work on many of them, and a
commit of the ledger nearly as much. Each is on record as delivered only once its own rows were
acknowledged, so one that travels in company counts no sooner than one that travels alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from audit_feed.blobs import ContentBlob
from audit_feed.errors import (
    AuditFeedError,
    BlobExpiredError,
    BlobRejectedError,
    BodyRefusedError,
    LedgerError,
    RetryError,
    StoppedError,
    ThrottledError,
    fault_of,
)
from audit_feed.ledger import states
from audit_feed.ledger.states import BlobRow, LedgerStore
from audit_feed.records.batches import MAX_BODY_BYTES, Body, Parked, bodies, joined
from audit_feed.records.json_records import records
from audit_feed.records.shape import Record, Row

LONGEST_HOLD = timedelta(seconds=5)
"""How long a body waits for company: a slow feed delays no blob longer."""

MOST_TOGETHER = 20
"""Blobs that wait for one another: a crash has at most so many sent again for each worker."""

_COMMA = len(b",")

Fetch = Callable[[ContentBlob], Iterable[bytes]]
"""Opens a blob and yields its body; raises the errors of this package."""

Outcome = BlobRow | AuditFeedError | None
"""What became of one blob's delivery: its row as stored, or what nobody can blame the blob for
and leaves its row as it was (a throttle puts it off). None where we were told to stop."""

Settled = tuple[BlobRow, Outcome]
"""A row as it was taken, and what became of it."""


class Sink(Protocol):
    """Where rows go."""

    def send(self, body: Body) -> None:
        """Deliver one body and return once it is acknowledged.

        Raises ``RetryError``, ``BodyRefusedError``, ``AccessError`` or ``StoppedError`` otherwise.
        """


@dataclass(frozen=True, slots=True)
class Way:
    """The way from the feed to the sink: what a delivery works with.

    ``field_limit`` is the largest value, in bytes, that the sink keeps in a column;
    ``body_limit`` the largest body.
    """

    fetch: Fetch
    shape: Callable[[Record], Row]
    wanted: Callable[[Record], bool]
    sink: Sink
    store: LedgerStore
    clock: Callable[[], datetime]
    stopped: Callable[[], bool]
    field_limit: int | None = None
    body_limit: int = MAX_BODY_BYTES


def deliver_all(rows: Iterable[BlobRow], way: Way) -> Iterator[Settled]:
    """Bring blobs to the sink, several in one request, and yield what became of each.

    A crash at any step leaves a blob listed: it is sent again, and none is lost. Readers drop
    repeats by the record's Id; the feed itself repeats records, so they must anyway.

    A row is taken when there is room for it. One bad blob does not hold back the others: where
    a request with several is refused for what is in it, each is sent alone.

    Raises:
        LedgerError: The ledger cannot be written. Blobs not yielded are as they were.

    """
    trip = _Trip(way)
    for row in rows:
        trip.take(row)
        yield from trip.settled()
    trip.send()
    yield from trip.settled()


@dataclass(slots=True, eq=False)
class _Load:
    """One blob on its way. ``after`` is its row to be stored, once that is clear."""

    row: BlobRow
    records: int = 0
    sent: int = 0
    parked: int = 0
    waiting: int = 0
    read: bool = False
    after: BlobRow | None = None
    error: AuditFeedError | None = None
    handed_back: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing more can become of it on this trip."""
        return bool(self.after or self.error or self.handed_back)

    @property
    def clear(self) -> bool:
        """Whether it can be settled."""
        return self.over or (self.read and not self.waiting)


@dataclass(slots=True)
class _Trip:
    """What one hand has taken and not settled yet: about one body's worth."""

    way: Way
    loads: list[_Load] = field(default_factory=list)
    waiting: list[tuple[_Load, Body]] = field(default_factory=list)
    size: int = 0
    since: datetime | None = None

    def take(self, row: BlobRow) -> None:
        """Read a blob; its last body may stay to wait for others."""
        load = _Load(row)
        self.loads.append(load)
        now = self.way.clock()
        if row.blob.expires <= now:
            load.after = states.expired(row, now)
            return
        self._guarded([load], lambda: self._read(load))
        held = self.way.clock() - self.since if self.since else timedelta()
        if held > LONGEST_HOLD or len(self.waiting) >= MOST_TOGETHER:
            self.send()

    def send(self) -> None:
        """Send what waits."""
        waiting, self.waiting, self.size, self.since = self.waiting, [], 0, None
        going = [(load, body) for load, body in waiting if not load.over]
        if not going:
            return
        try:
            self._post(going)
        except BodyRefusedError:
            for load, body in going:
                if not load.over:
                    self._post([(load, body)])

    def settled(self) -> Iterator[Settled]:
        """Store what is clear, in one step, and yield it."""
        clear = [load for load in self.loads if load.clear]
        if not clear:
            return
        self.loads = [load for load in self.loads if not load.clear]
        rows = [self._after(load) for load in clear]
        stored = iter(self.way.store.put_all([row for row in rows if row]))
        found = [next(stored) if row else None for row in rows]
        for load, outcome in zip(clear, found, strict=True):
            yield load.row, load.error or outcome

    def _after(self, load: _Load) -> BlobRow | None:
        """Return the row to be stored, if it changes."""
        if load.over:
            return load.after
        return states.delivered(
            load.row,
            self.way.clock(),
            records=load.records,
            sent=load.sent,
            parked=load.parked,
        )

    def _read(self, load: _Load) -> None:
        way, name = self.way, f"blob {load.row.blob.id}"
        rows = self._rows(load)
        for part in bodies(rows, limit=way.body_limit, field_limit=way.field_limit):
            if way.stopped():
                raise StoppedError(f"{name}: handed back")
            if isinstance(part, Parked):
                way.store.park(load.row.blob, part)
                load.parked += 1
            else:
                self._add(load, part)
            if load.over:
                return
        load.read = True

    def _rows(self, load: _Load) -> Iterator[Row]:
        way, blob = self.way, load.row.blob
        for record in records(f"blob {blob.id}", way.fetch(blob)):
            load.records += 1
            if way.wanted(record):
                yield way.shape(record)

    def _add(self, load: _Load, body: Body) -> None:
        if self.waiting and self.size + len(body.data) + _COMMA > self.way.body_limit:
            self.send()
        self.waiting.append((load, body))
        load.waiting += 1
        self.size += len(body.data)
        self.since = self.since or self.way.clock()

    def _post(self, going: Sequence[tuple[_Load, Body]]) -> None:
        """Send bodies in one request; only one that goes alone may be refused for good."""

        def post() -> None:
            try:
                self.way.sink.send(joined([body for _, body in going]))
            except BodyRefusedError as error:
                if len(going) > 1:
                    raise
                raise error.cause from None
            for load, body in going:
                load.waiting -= 1
                load.sent += len(body.data)

        self._guarded([load for load, _ in going], post)

    def _guarded(self, loads: Sequence[_Load], step: Callable[[], None]) -> None:
        """Do *step*; what goes wrong becomes that of each of *loads*."""
        try:
            step()
        except (LedgerError, BodyRefusedError):
            raise
        except StoppedError:
            for load in loads:
                load.handed_back = True
        except Exception as error:  # noqa: BLE001 - a blob that breaks us must not stop the others
            for load in loads:
                _went_wrong(load, error, self.way.clock())


def _went_wrong(load: _Load, error: Exception, now: datetime) -> None:
    row = load.row
    match error:
        case BlobExpiredError():
            load.after = states.expired(row, now)
        case BlobRejectedError():
            load.after = states.rejected(row, now, str(error))
        case RetryError():
            load.after = states.failed(row, now, str(error))
        case ThrottledError():
            load.after = states.postponed(row, now + (error.wait or timedelta()))
            load.error = error
        case AuditFeedError():
            load.error = error
        case _:
            load.after = states.failed(row, now, f"blob {row.blob.id}: {fault_of(error)}")
