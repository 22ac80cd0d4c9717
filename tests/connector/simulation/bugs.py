"""Faults put back into the connector, and the first seed by which the simulation finds each.

PYTHONPATH=tests .venv/bin/python -P -m connector.simulation.bugs [NAME ...]
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from audit_feed.azure_app import housekeeping
from audit_feed.azure_app.orders import PacedOrders
from audit_feed.blobs import Page, Stream
from audit_feed.delivery import deliver, listing, narrowing
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.listing import StreamListing
from audit_feed.errors import AuditFeedError, BlobRejectedError, BodyRefusedError
from audit_feed.feed import client, service_clock
from audit_feed.feed.service_clock import ServiceClock
from audit_feed.feed.tokens import CachedToken
from audit_feed.ledger import sqlite, statement, states, table_snapshot
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.ledger.statement import HourTally
from audit_feed.ledger.states import BlobRow, BlobState
from audit_feed.ledger.table import TableLedger
from audit_feed.ledger.table_blobs import TableBlobs
from audit_feed.ledger.table_hours import TableHours
from audit_feed.times import http_date
from audit_feed.windows import HOUR, HourListing, Window, due_windows
from connector.simulation.simulate import PROGRAMS, play_fresh
from connector.simulation.world import Broken

MOST_SEEDS = 300
"""Seeds of each program that are played for one bug."""

Patch = pytest.MonkeyPatch
Given = Any
"""What the connector hands over, and is handed on."""

LEDGERS: Sequence[type[Any]] = (SqliteLedger, TableLedger)


@dataclass(frozen=True, slots=True)
class Bug:
    """A fault: ``put_in`` puts it in. ``number`` is that of the kind in docs/field-faults.md."""

    put_in: Callable[[Patch], None]
    what: str

    @property
    def name(self) -> str:
        """What it is called here."""
        return self.put_in.__name__


def hours_without_subscription(patch: Patch) -> None:
    for module in (statement, table_snapshot):
        patch.setattr(module, "is_covered", lambda *_: True)


def absence_not_noted(patch: Patch) -> None:
    for store in LEDGERS:
        patch.setattr(store, "note_absent", lambda *_: None)


def complete_never_withdrawn(patch: Patch) -> None:
    for store in LEDGERS:
        patch.setattr(store, "mark_unlisted", lambda *_: None)


def local_clock(patch: Patch) -> None:
    patch.setattr(ServiceClock, "now", lambda self: self.local())
    patch.setattr(ServiceClock, "offset", timedelta())


def stated_the_minute_after(patch: Patch) -> None:
    def proves(self: HourListing, hour: datetime) -> bool:
        return self.at is not None and not self.problem and self.at >= hour + HOUR

    patch.setattr(HourListing, "proves", proves)
    patch.setattr(statement, "MARGIN", timedelta())


def one_answer_is_final(patch: Patch) -> None:
    def refused(row: BlobRow, to: BlobState, now: datetime, why: str) -> BlobRow:
        return states._moved(replace(row, last_error=why), to, now)  # noqa: SLF001 - the step

    patch.setattr(states, "_refused", refused)


def expired_by_the_clock(patch: Patch) -> None:
    real = deliver._Batch.add  # noqa: SLF001 - the step

    def add(self: Given, row: BlobRow) -> None:
        early = row.blob.expires - timedelta(days=6, hours=20)
        if early <= self.pipeline.clock():
            delivery = deliver._BlobDelivery(row)  # noqa: SLF001
            gone = replace(row, state=BlobState.EXPIRED, finished=self.pipeline.clock())
            delivery.after = gone
            self.deliveries.append(delivery)
        else:
            real(self, row)

    patch.setattr(deliver._Batch, "add", add)  # noqa: SLF001


def grown_blobs_ignored(patch: Patch) -> None:
    patch.setattr(states, "has_grown", lambda *_: False)


def first_page_taken_for_all(patch: Patch) -> None:
    real = StreamListing._page  # noqa: SLF001 - the step

    def page(self: StreamListing, position: Given) -> Page:
        return replace(real(self, position), next="")

    patch.setattr(StreamListing, "_page", page)


def odd_page_passed_over(patch: Patch) -> None:
    real = StreamListing._page  # noqa: SLF001 - the step

    def page(self: StreamListing, position: Given) -> Page:
        found = real(self, position)
        return replace(found, flaw="", blobs=() if found.flaw else found.blobs)

    patch.setattr(StreamListing, "_page", page)


def refused_token_kept(patch: Patch) -> None:
    patch.setattr(CachedToken, "replace", lambda *_: False)


def retry_after_not_read(patch: Patch) -> None:
    patch.setattr(client, "retry_after", lambda *_: None)


def marked_before_the_write(patch: Patch) -> None:
    real = TableHours._merge  # noqa: SLF001 - the step

    def merge(self: Given, entities: Sequence[Mapping[str, object]]) -> None:
        self._remember((str(e["PartitionKey"]), str(e["RowKey"])) for e in entities)
        real(self, entities)

    patch.setattr(TableHours, "_merge", merge)


def etag_not_compared(patch: Patch) -> None:
    def etag(self: Given, row: BlobRow, key: tuple[str, str]) -> str:
        del row
        found = self._table.get_entity(*key)
        return str(found.metadata["etag"])

    patch.setattr(TableBlobs, "_etag", etag)


def orders_lost_for_good(patch: Patch) -> None:
    real, calls = PacedOrders.send, [0]

    def send(self: PacedOrders, *args: Given) -> None:
        calls[0] += 1
        if calls[0] % 5:
            real(self, *args)

    patch.setattr(PacedOrders, "send", send)
    patch.setattr(housekeeping, "requeue_lost", lambda *_: 0)


def remainder_not_kept(patch: Patch) -> None:
    for store in LEDGERS:
        patch.setattr(store, "park", lambda *_: None)


def refused_body_not_narrowed(patch: Patch) -> None:
    def run(self: Given, lines: Given, error: BodyRefusedError) -> None:
        del self, lines
        raise error.cause

    patch.setattr(narrowing.Narrowing, "run", run)


def odd_element_costs_the_blob(patch: Patch) -> None:
    def odd(self: Given, delivery: Given, element: Given) -> None:
        del self, element
        raise BlobRejectedError(f"blob {delivery.row.blob.id}: not a list of records")

    patch.setattr(deliver._Batch, "_odd_row", odd)  # noqa: SLF001 - the step


def closed_hour_listed_once(patch: Patch) -> None:
    def due(
        listed: Mapping[datetime, HourListing], first: datetime, now: datetime, *more: Given
    ) -> list[Window]:
        windows = due_windows(listed, first, now, *more)
        done = {hour for hour, last in listed.items() if last.proves(hour)}
        return [w for w in windows if not _hours_of(w) <= done]

    patch.setattr(listing, "due_windows", due)


def _hours_of(window: Window) -> set[datetime]:
    first = window.start.replace(minute=0, second=0)
    return {first + HOUR * n for n in range(-(-(window.end - first) // HOUR))}


def window_not_clamped(patch: Patch) -> None:
    patch.setattr(listing, "within_retention", lambda window, _now: window)


def address_not_encoded(patch: Patch) -> None:
    def target(address: str, query: Mapping[str, str]) -> str:
        path = address.partition("//")[2]
        asked = "&".join(f"{k}={v}" for k, v in query.items())
        return f"/{path.partition('/')[2]}{'&' if '?' in path else '?'}{asked}"

    patch.setattr(client, "target", target)


def losses_leave_the_statement(patch: Patch) -> None:
    real = statement._state  # noqa: SLF001 - the step

    def state(hour: datetime, tally: HourTally, *rest: Given, **named: Given) -> Given:
        return real(hour, replace(tally, expired=0, rejected=0), *rest, **named)

    patch.setattr(statement, "_state", state)


def delivered_though_not_acknowledged(patch: Patch) -> None:
    real = deliver._Batch._post  # noqa: SLF001 - the step

    def post(self: Given, going: Given) -> None:
        try:
            real(self, going)
        except AuditFeedError:
            for delivery, _ in going:
                delivery.waiting -= 1

    patch.setattr(deliver._Batch, "_post", post)  # noqa: SLF001


def marked_before_the_blobs_are_added(patch: Patch) -> None:
    real = StreamListing._add_blobs  # noqa: SLF001 - the step

    def add(self: StreamListing, page: Page) -> None:
        if not page.next:
            end = self.began.replace(minute=0, second=0, microsecond=0)
            self.store.mark_listed(self.stream, [end - HOUR * n for n in range(12)], self.began)
        real(self, page)

    patch.setattr(StreamListing, "_add_blobs", add)


def beginning_not_kept(patch: Patch) -> None:
    def register(self: Given, stream: Stream, first: datetime) -> datetime:
        del self, stream
        return first

    for store in LEDGERS:
        patch.setattr(store, "register_stream", register)


def only_the_first_try(patch: Patch) -> None:
    def untried(store: Any) -> Callable[..., list[BlobRow]]:  # noqa: ANN401 - one of LEDGERS
        real = store.due

        def due(self: Given, *args: Given) -> list[BlobRow]:
            return [row for row in real(self, *args) if not row.attempts]

        return due

    for store in LEDGERS:
        patch.setattr(store, "due", untried(store))


def one_date_is_believed(patch: Patch) -> None:
    def observe(
        self: Given,
        date_header: str,
        sent: datetime,
        received: datetime,
        age: timedelta = timedelta(),
        _valid: object = None,
    ) -> bool:
        date = http_date(date_header)
        if date is not None and date.year in range(2000, 2200):
            offset = date + age - received + (received - sent) / 2
            self._observed = service_clock._Observed(offset, received, self._seconds())  # noqa: SLF001
        return False

    patch.setattr(ServiceClock, "observe", observe)


def tokens_do_not_bound_the_time(patch: Patch) -> None:
    patch.setattr(service_clock, "_is_within", lambda *_: True)


def listings_of_a_wrong_time_stay(patch: Patch) -> None:
    patch.setattr(StreamListing, "_take_back", lambda *_: None)


def blobs_wait_for_a_wrong_time(patch: Patch) -> None:
    for module in (states, sqlite):
        patch.setattr(module, "FARTHEST_DUE", timedelta(days=400))


def pruned_by_a_wrong_time(patch: Patch) -> None:
    def prune(self: Collector) -> None:
        for stream in self.streams:
            self.store.prune(stream, self.clock() - self.retention)

    patch.setattr(Collector, "prune", prune)


def cached_listings_prove(patch: Patch) -> None:
    patch.setattr(client, "_is_stale", lambda *_: False)


def age_is_not_read(patch: Patch) -> None:
    patch.setattr(client, "_age", lambda _answer: timedelta())


BUGS: Sequence[Bug] = (
    Bug(hours_without_subscription, "1: hours without a subscription are complete"),
    Bug(absence_not_noted, "1: AF20022 leaves the hours covered"),
    Bug(complete_never_withdrawn, "2: a later listing that fails takes nothing back"),
    Bug(local_clock, "3: windows and statements go by the local clock"),
    Bug(one_date_is_believed, "3: one answer with a wrong Date is believed"),
    Bug(tokens_do_not_bound_the_time, "3: a time in which its token is not good is believed"),
    Bug(listings_of_a_wrong_time_stay, "3: hours listed while the clock was ahead stay listed"),
    Bug(blobs_wait_for_a_wrong_time, "3: a blob put off while the clock was ahead waits for it"),
    Bug(pruned_by_a_wrong_time, "3: the ledger is pruned by a clock that is ahead"),
    Bug(cached_listings_prove, "3: a listing out of a cache counts as one of now"),
    Bug(age_is_not_read, "3: the time of a cached answer is taken for now"),
    Bug(stated_the_minute_after, "4: an hour is stated when it has ended"),
    Bug(losses_leave_the_statement, "6: a blob that was given up counts for nothing"),
    Bug(odd_element_costs_the_blob, "9: an odd element costs its blob"),
    Bug(refused_body_not_narrowed, "10: a body that is refused is not narrowed"),
    Bug(one_answer_is_final, "11: the first answer that a blob is gone is final"),
    Bug(expired_by_the_clock, "3: a blob expires by the clock, without being asked for"),
    Bug(address_not_encoded, "11: a blank in an address is not encoded"),
    Bug(grown_blobs_ignored, "13: a blob that has grown is not fetched again"),
    Bug(refused_token_kept, "15: a refused token is not replaced"),
    Bug(retry_after_not_read, "16: Retry-After is not read"),
    Bug(marked_before_the_write, "18: an hour is known before its row is written"),
    Bug(etag_not_compared, "a row is written over whatever is there"),
    Bug(orders_lost_for_good, "orders that were lost are not ordered again"),
    Bug(remainder_not_kept, "what does not fit is not kept"),
    Bug(first_page_taken_for_all, "only the first page is read"),
    Bug(odd_page_passed_over, "a page with odd elements counts as whole"),
    Bug(closed_hour_listed_once, "a closed hour is not listed again"),
    Bug(window_not_clamped, "a window that waits slips over the seven days"),
    Bug(delivered_though_not_acknowledged, "a request that failed counts as acknowledged"),
    Bug(marked_before_the_blobs_are_added, "an hour is marked before its blobs are on record"),
    Bug(beginning_not_kept, "from when on a stream is of interest is not kept"),
    Bug(only_the_first_try, "a blob that failed is not tried again"),
)


@dataclass(frozen=True, slots=True)
class Caught:
    """By which history a bug was found, and what was seen then."""

    program: str
    seed: int
    seen: str


def find(bug: Bug, seeds: Sequence[int], programs: Sequence[str] = PROGRAMS) -> Caught | None:
    """Play *seeds* with the bug until one of them shows it that holds without the bug."""
    for seed in seeds:
        for program in programs:
            seen = _seen(bug, seed, program)
            if seen and not _seen(None, seed, program):
                return Caught(program, seed, seen)
    return None


def _seen(bug: Bug | None, seed: int, program: str) -> str:
    """Play a history with a bug or without, and return what does not hold in it."""
    with pytest.MonkeyPatch.context() as patch:
        if bug:
            bug.put_in(patch)
        try:
            play_fresh(seed, program)
        except Broken as broken:
            return str(broken).splitlines()[0].partition(": ")[2]
        except Exception as error:  # noqa: BLE001 - a bug that breaks the program shows too
            return f"{type(error).__name__}: {error}"
    return ""


def main(argv: Sequence[str]) -> int:
    """Print by which seed each bug is caught; return 1 if one is not."""
    logging.disable(logging.CRITICAL)
    missed, first = 0, {}
    for bug in [bug for bug in BUGS if not argv or bug.name in argv]:
        caught = find(bug, range(MOST_SEEDS))
        missed += caught is None
        by = f"{caught.program} {caught.seed}: {caught.seen}" if caught else "NOT CAUGHT"
        first[bug.name] = f"{caught.program} {caught.seed}" if caught else "not caught"
        print(f"{bug.name} ({bug.what}): {by}", flush=True)  # noqa: T201 - the answer
    found = ", ".join(f"{name} -> {seed}" for name, seed in first.items())
    print(f"caught {len(first) - missed} of {len(first)}: {found}")  # noqa: T201
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
