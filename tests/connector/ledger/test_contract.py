"""What every ledger store must do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Protocol, cast
from uuid import uuid4

import pytest
from azure.data.tables import TableServiceClient

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.errors import LeaseHeldError, LedgerConflictError
from audit_feed.ledger.coverage import Span
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.ledger.statement import HourState, statement
from audit_feed.ledger.states import (
    FARTHEST_DUE,
    BlobRow,
    BlobState,
    LedgerStore,
    delivered,
    expired,
    failed,
    postponed,
    redelivered,
    rejected,
)
from audit_feed.ledger.table import TableLedger
from audit_feed.records.batches import Parked
from audit_feed.windows import HOUR, HourListing, Window, hour_of
from connector.azurite import Azurite
from connector.ledger.memory_ledger import Disk, MemoryLedger
from connector.ledger.memory_tables import MemoryTables
from connector.made import OTHER_STREAM, SOON, START, STREAM, TENANT, blob, refused

HOURS = [hour_of(START) - HOUR * n for n in range(3)]
EVER = Window(START - timedelta(days=30), START + timedelta(days=30))
DAY = timedelta(days=1)
LATER = START + DAY


class Store(LedgerStore, Protocol):
    """A store that can be closed."""

    def close(self) -> None: ...


Opens = Callable[[], Store]


@pytest.fixture(params=["sqlite", "memory", "table", "table in memory"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opens]:
    """Return what opens the same ledger again and again."""
    make: Callable[[], object]
    match request.param:
        case "sqlite":
            make = partial(SqliteLedger, tmp_path / "ledger.sqlite")
        case "memory":
            make = partial(MemoryLedger, Disk())
        case "table in memory":
            make = partial(TableLedger, cast("TableServiceClient", MemoryTables(Counter())))
        case _:
            there: Azurite = request.getfixturevalue("storage")
            service = TableServiceClient.from_connection_string(there.connection_string)
            make = partial(TableLedger, service, f"t{uuid4().hex}")
    opened: list[Store] = []

    def again() -> Store:
        store = cast("Store", make())  # Sequence for list
        opened.append(store)
        return store

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(opens: Opens) -> Store:
    return opens()


def unknown(row: BlobRow, now: datetime) -> BlobRow:
    return rejected(row, now, "unknown")


def noted(store: Store, *blobs: ContentBlob) -> list[BlobRow]:
    """Note *blobs* and return their rows."""
    store.add_blobs(blobs, START)
    return list(store.rows(STREAM, EVER))


def test_a_blob_that_is_listed_again_is_not_new_and_keeps_its_row(store: Store) -> None:
    [row] = noted(store, blob("a"))
    done = store.put(delivered(row, LATER, records=3, sent=300, parked=1))

    new = store.add_blobs([blob("a"), blob("b"), blob("b")], LATER)

    assert list(new) == [blob("b")]
    rows = {row.blob.id: row for row in store.rows(STREAM, EVER)}
    assert rows["a"] == done
    assert rows["b"].state is BlobState.LISTED
    assert rows["b"].first_listed == LATER


def test_every_field_of_a_row_comes_back_as_it_was_put(opens: Opens) -> None:
    [row] = noted(opens(), blob("ü/'\"$\n" + "x" * 200))
    put = opens().put(
        replace(
            failed(row, LATER, 'it said "no"\n'),
            attempts=7,
            records=1,
            sent=2**40,
            sent_rows=2**33,
            parked=3,
            finished=LATER,
            blob=replace(row.blob, size=2**40),
            other_uris=("https://feed.example/ü", "https://second.example/"),
            refused=START,
            refusals=3,
        )
    )

    [found] = opens().rows(STREAM, EVER)

    assert found == put
    assert found.version == row.version + 1


def test_times_of_other_zones_and_small_years_keep_their_order(store: Store) -> None:
    early = blob("early", START.replace(year=1))
    late = blob("late", START + timedelta(microseconds=1))
    noted(store, late, early, blob("middle"))

    rows = store.rows(STREAM, Window(START.replace(year=1), LATER))

    assert [row.blob.id for row in rows] == ["early", "middle", "late"]
    assert rows[0].blob.created == early.created  # type: ignore[index]  # stores give lists


def test_hours_count_as_listed_only_when_they_are_marked(store: Store) -> None:
    store.add_blobs([blob("a")], START)
    assert store.listings(STREAM, EVER.start) == {}

    store.mark_listed(STREAM, HOURS, START)
    store.mark_listed(STREAM, HOURS[:1], LATER)

    assert store.listings(STREAM, HOURS[1]) == {
        HOURS[0]: HourListing(LATER),
        HOURS[1]: HourListing(START),
    }
    assert store.listings(OTHER_STREAM, EVER.start) == {}


def test_a_listing_of_a_clock_that_ran_ahead_is_overwritten(store: Store) -> None:
    store.mark_listed(STREAM, HOURS[:1], LATER)

    store.mark_listed(STREAM, HOURS[:1], START)

    assert store.listings(STREAM, EVER.start) == {HOURS[0]: HourListing(START)}


def test_the_first_hour_of_a_stream_only_moves_back(opens: Opens) -> None:
    assert opens().first_hour(STREAM) is None
    assert opens().register_stream(STREAM, HOURS[1]) == HOURS[1]

    assert opens().register_stream(STREAM, HOURS[0]) == HOURS[1]
    assert opens().register_stream(STREAM, HOURS[2]) == HOURS[2]
    assert opens().first_hour(STREAM) == HOURS[2]


def test_a_stream_is_known_before_it_was_ever_listed(store: Store) -> None:
    store.register_stream(OTHER_STREAM, HOURS[0])
    store.register_stream(STREAM, HOURS[0])

    assert list(store.streams()) == [STREAM, OTHER_STREAM]


def test_blobs_are_due_by_time_and_not_by_the_order_they_came(store: Store) -> None:
    a, b, c = noted(store, blob("a"), blob("b"), blob("c"))
    store.put(failed(a, START, "x"))
    store.put(delivered(c, START, records=0, sent=0, parked=0))

    assert [row.blob.id for row in store.due(STREAM, START, 9)] == ["b"]
    assert [row.blob.id for row in store.due(STREAM, LATER, 9)] == ["b", "a"]
    assert [row.blob.id for row in store.due(STREAM, LATER, 1)] == ["b"]
    assert store.due(OTHER_STREAM, LATER, 9) == []
    assert store.next_due(STREAM) == b.due


def test_a_blob_that_was_put_off_by_a_clock_ahead_is_due_though_it_is_listed_no_more(
    store: Store,
) -> None:
    ahead, waits = noted(store, blob("a"), blob("b"))
    store.put(failed(ahead, START + timedelta(days=60), "x"))
    store.put(postponed(waits, START + FARTHEST_DUE))

    assert [row.blob.id for row in store.due(STREAM, START, 9)] == ["a"]


def test_nothing_is_due_next_when_all_is_done_or_rejected(store: Store) -> None:
    a, b = noted(store, blob("a"), blob("b"))
    store.put(delivered(a, START, records=0, sent=0, parked=0))
    store.put(refused(unknown, b, START))

    assert store.next_due(STREAM) is None
    assert store.due(STREAM, LATER, 9) == []


def test_a_blob_that_grows_is_fetched_again(store: Store) -> None:
    [row] = noted(store, replace(blob("a"), size=100))
    done = store.put(delivered(row, START, records=3, sent=300, parked=0))
    larger = replace(blob("a"), size=200)
    later = replace(larger, created=larger.created + SOON, expires=larger.expires + SOON)

    assert list(store.add_blobs([replace(blob("a"), size=100)], LATER)) == []
    assert list(store.add_blobs([larger], LATER)) == [larger]
    [again] = store.rows(STREAM, EVER)
    assert (again.state, again.due, again.blob) == (BlobState.LISTED, LATER, larger)
    assert again.version > done.version
    store.put(delivered(again, LATER, records=6, sent=600, parked=0))
    assert list(store.add_blobs([larger], LATER)) == []
    assert list(store.add_blobs([later], LATER)) == [later]


def test_a_blob_whose_size_was_not_known_is_fetched_again_once_it_grows(store: Store) -> None:
    [row] = noted(store, blob("a"))
    store.put(delivered(row, START, records=3, sent=300, parked=0))

    assert list(store.add_blobs([replace(blob("a"), size=100)], LATER)) == []
    assert [row.state for row in store.rows(STREAM, EVER)] == [BlobState.DELIVERED]

    grown = replace(blob("a"), size=101)
    assert list(store.add_blobs([grown], LATER)) == [grown]


def test_a_delivery_of_what_a_blob_was_before_it_grew_is_a_conflict(store: Store) -> None:
    [row] = noted(store, replace(blob("a"), size=100))
    store.add_blobs([replace(blob("a"), size=200)], LATER)

    with pytest.raises(LedgerConflictError):
        store.put(delivered(row, LATER, records=3, sent=300, parked=0))

    assert [r.state for r in store.rows(STREAM, EVER)] == [BlobState.LISTED]


def test_a_second_address_is_kept_and_comes_back(opens: Opens) -> None:
    first, second = blob("a"), blob("a", host="second.example")
    store = opens()

    new = store.add_blobs([first, second], START)
    assert list(opens().add_blobs([second, first], LATER)) == []

    assert [found.id for found in new] == ["a"]
    [row] = opens().rows(STREAM, EVER)
    assert {row.blob.uri, *row.other_uris} == {first.uri, second.uri}


def test_one_answer_that_a_blob_is_gone_is_not_final_and_is_kept(opens: Opens) -> None:
    [row] = noted(opens(), blob("a"))

    once = opens().put(expired(row, START))

    assert list(opens().rows(STREAM, EVER)) == [once]
    assert (once.state, once.refused, once.refusals) == (BlobState.LISTED, START, 1)
    assert opens().due(STREAM, START + SOON, 9) == []
    [due] = opens().due(STREAM, START + HOUR, 9)
    assert opens().put(expired(due, START + HOUR)).state is BlobState.EXPIRED


def test_a_delivered_blob_can_be_delivered_again_elsewhere(store: Store) -> None:
    store.register_stream(STREAM, HOURS[0])
    [row] = noted(store, blob("a"))
    store.mark_listed(STREAM, HOURS[:1], LATER)
    done = store.put(delivered(row, START, records=1, sent=1, parked=0))

    store.put(redelivered(done, LATER))

    assert [row.blob.id for row in store.due(STREAM, LATER, 9)] == ["a"]


def test_a_listing_that_did_not_end_takes_back_the_one_that_did(opens: Opens) -> None:
    opens().mark_listed(STREAM, HOURS, START)

    opens().mark_unlisted(STREAM, HOURS[:2], "page 2: HTTP 500")
    assert opens().listings(STREAM, EVER.start) == {
        HOURS[0]: HourListing(START, "page 2: HTTP 500"),
        HOURS[1]: HourListing(START, "page 2: HTTP 500"),
        HOURS[2]: HourListing(START),
    }

    opens().mark_listed(STREAM, HOURS[:1], LATER)
    said = opens().listings(STREAM, EVER.start)
    assert said[HOURS[0]] == HourListing(LATER)
    assert said[HOURS[1]].problem


def test_an_older_listing_that_fails_late_takes_no_newer_one_back(opens: Opens) -> None:
    began, later = START + 5 * HOUR, START + 5 * HOUR + timedelta(minutes=10)
    opens().mark_listed(STREAM, HOURS, later)

    opens().mark_unlisted(STREAM, HOURS, "page 9: HTTP 500", began)

    assert opens().listings(STREAM, EVER.start) == dict.fromkeys(HOURS, HourListing(later))


def test_a_newer_listing_that_fails_takes_an_older_one_back(opens: Opens) -> None:
    began, later = START + 5 * HOUR, START + 5 * HOUR + timedelta(minutes=10)
    opens().mark_listed(STREAM, HOURS, began)

    opens().mark_unlisted(STREAM, HOURS, "page 2: HTTP 500", later)

    known = opens().listings(STREAM, EVER.start)
    assert known == dict.fromkeys(HOURS, HourListing(began, "page 2: HTTP 500"))


def test_a_listing_of_a_clock_that_ran_ahead_is_taken_back_by_one_that_fails(opens: Opens) -> None:
    opens().mark_listed(STREAM, HOURS, START + 2 * DAY)

    opens().mark_unlisted(STREAM, HOURS, "no answer", START)

    assert {said.problem for said in opens().listings(STREAM, EVER.start).values()} == {"no answer"}


def test_an_hour_that_was_never_listed_can_have_a_problem(store: Store) -> None:
    store.mark_unlisted(STREAM, HOURS[:1], "no answer")
    store.mark_unlisted(STREAM, HOURS[1:2], "")
    store.mark_unlisted(STREAM, [], "no answer")

    said = store.listings(STREAM, EVER.start)

    assert said[HOURS[0]] == HourListing(None, "no answer")
    assert said[HOURS[1]].problem
    assert set(said) == set(HOURS[:2])


def test_a_subscription_covers_the_time_from_its_first_sign_on(opens: Opens) -> None:
    assert list(opens().coverage(STREAM)) == []

    opens().note_enabled(STREAM, [START, START - HOUR, LATER])
    opens().note_enabled(STREAM, [])

    assert list(opens().coverage(STREAM)) == [Span(START - HOUR)]
    assert list(opens().coverage(OTHER_STREAM)) == []


def test_a_subscription_that_is_gone_ends_with_the_last_listing_before(opens: Opens) -> None:
    opens().note_enabled(STREAM, [START])
    opens().mark_listed(STREAM, HOURS, START + HOUR)
    opens().mark_listed(STREAM, HOURS[:1], LATER + HOUR)

    opens().note_absent(STREAM, LATER)
    opens().note_enabled(STREAM, [LATER + 3 * HOUR])

    assert list(opens().coverage(STREAM)) == [
        Span(START, START + HOUR),
        Span(LATER, LATER, exists=False),
        Span(LATER + 3 * HOUR),
    ]


def test_what_is_noted_is_there_after_reopening(opens: Opens) -> None:
    name = f"listing/{STREAM.tenant}#Audit.Exchange?ü%"
    assert opens().noted(name) == ""

    opens().note(name, "first")
    opens().note(name, "ü" * 30_000)
    opens().note("other", "")

    assert opens().noted(name) == "ü" * 30_000
    assert opens().noted("other") == ""


def test_there_is_nothing_to_repair_in_a_whole_ledger(store: Store) -> None:
    store.register_stream(STREAM, HOURS[0])
    [row] = noted(store, blob("a"))
    store.mark_listed(STREAM, HOURS, START)

    assert list(store.repair()) == []
    assert list(store.rows(STREAM, EVER)) == [row]


def test_a_row_that_another_run_changed_is_not_overwritten(store: Store) -> None:
    [row] = noted(store, blob("a"))
    first = store.put(failed(row, START, "mine"))

    with pytest.raises(LedgerConflictError, match="a: changed"):
        store.put(failed(row, START, "theirs"))

    assert list(store.rows(STREAM, EVER)) == [first]


def test_a_row_that_was_never_added_cannot_be_put(store: Store) -> None:
    [row] = noted(store, blob("a"))

    with pytest.raises(LedgerConflictError):
        store.put(replace(row, blob=blob("b")))

    assert [row.blob.id for row in store.rows(STREAM, EVER)] == ["a"]


def test_the_same_id_in_another_stream_is_another_blob(store: Store) -> None:
    store.add_blobs([blob("a")], START)
    store.add_blobs([blob("a", stream=OTHER_STREAM)], START)
    [row] = store.rows(STREAM, EVER)

    store.put(delivered(row, START, records=1, sent=1, parked=0))

    [other] = store.rows(OTHER_STREAM, EVER)
    assert other.state is BlobState.LISTED


def test_rows_are_those_created_inside_of_a_half_open_window(store: Store) -> None:
    noted(store, blob("start", START), blob("end", START + HOUR), blob("before", START - SOON))

    rows = store.rows(STREAM, Window(START, START + HOUR))

    assert [row.blob.id for row in rows] == ["start"]


def test_remainders_without_an_id_do_not_replace_each_other(opens: Opens) -> None:
    for data in (b'{"a":1}', b'{"b":2}', b'{"a":1}'):
        opens().park(blob("a"), Parked("", data, "not understood"))
    opens().park(blob("b"), Parked("", b'{"a":1}'))

    assert sorted(p.data for p in opens().parked(STREAM)) == [b'{"a":1}', b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_001])
def test_a_remainder_of_any_size_comes_back_whole_and_from_its_own_stream(
    opens: Opens, size: int
) -> None:
    data = Random(size).randbytes(size)  # noqa: S311 - no secret
    parked = Parked("sha256:ü/\\#?%", data, "HTTP 413")
    opens().park(blob("a"), parked)
    opens().park(blob("a", stream=OTHER_STREAM), Parked("other", b"{}"))

    assert list(opens().parked(STREAM)) == [parked]
    assert [p.record_id for p in opens().parked(OTHER_STREAM)] == ["other"]


def test_all_is_there_after_reopening(opens: Opens) -> None:
    store = opens()
    store.register_stream(STREAM, HOURS[2])
    store.add_blobs([blob("a"), blob("b")], START)
    store.mark_listed(STREAM, HOURS, START)
    store.put(failed(next(iter(store.rows(STREAM, EVER))), START, "x"))
    before = (store.rows(STREAM, EVER), store.listings(STREAM, EVER.start), store.streams())
    store.close()

    again = opens()

    assert (again.rows(STREAM, EVER), again.listings(STREAM, EVER.start), again.streams()) == before


def test_a_second_collector_is_refused_until_the_first_has_closed(opens: Opens) -> None:
    first, second = opens(), opens()
    first.acquire_lease("first", START, LATER)
    first.acquire_lease("first", START, LATER)
    with pytest.raises(LeaseHeldError):
        second.acquire_lease("second", START, LATER)

    first.close()
    second.acquire_lease("second", START, LATER)

    with pytest.raises(LeaseHeldError):
        opens().acquire_lease("third", START, LATER)


def test_a_lease_given_back_is_free_and_can_be_taken_again(opens: Opens) -> None:
    first, second = opens(), opens()
    first.acquire_lease("first", START, LATER)
    first.release_lease("first")

    second.acquire_lease("second", START, LATER)
    second.release_lease("second")

    first.acquire_lease("first", START, LATER)


def pruned(store: Store, before: datetime = START) -> tuple[int, set[str]]:
    """Prune and return how many blobs went, and which ones are left."""
    gone = store.prune(STREAM, before)
    return gone, {row.blob.id for row in store.rows(STREAM, EVER)}


def test_what_is_old_and_done_is_dropped_and_what_is_not_done_stays(store: Store) -> None:
    old, later = START - 2 * HOUR, START - 8 * timedelta(days=1)
    store.register_stream(STREAM, later - HOUR)
    hours = [hour_of(old), hour_of(later), hour_of(START)]
    store.mark_listed(STREAM, hours, START)
    rows = {r.blob.id: r for r in noted(store, blob("done", later), blob("late", old),
            blob("pending", old), blob("gone", later), blob("new"))}  # fmt: skip
    for name in ("done", "late", "new"):
        store.put(delivered(rows[name], START, records=1, sent=1, parked=0))
    store.put(refused(expired, rows["gone"], START))

    assert pruned(store) == (2, {"late", "pending", "new"})
    assert store.first_hour(STREAM) == hour_of(old)
    assert set(store.listings(STREAM, EVER.start)) == {hour_of(old), hour_of(START)}
    assert pruned(store) == (0, {"late", "pending", "new"})


def test_nothing_is_stated_of_what_was_dropped(store: Store) -> None:
    store.register_stream(STREAM, START - 30 * HOUR)
    store.mark_listed(STREAM, [hour_of(START) - n * HOUR for n in range(30)], START)

    assert pruned(store) == (0, set())

    assert store.first_hour(STREAM) == hour_of(START)
    assert list(store.listings(STREAM, EVER.start)) == [hour_of(START)]
    assert store.register_stream(STREAM, START) == hour_of(START)


def test_an_old_blob_that_is_not_delivered_keeps_its_own_hour_in_the_statement_and_no_other(
    opens: Opens,
) -> None:
    store, end = opens(), hour_of(START)
    hours = [end - n * HOUR for n in range(30)]
    store.register_stream(STREAM, hours[-1])
    store.note_enabled(STREAM, [hours[-1]])
    _, done = noted(store, blob("fails", hours[-2]), blob("done", hours[-10]))
    store.put(delivered(done, START, records=1, sent=1, parked=0))
    store.mark_listed(STREAM, hours, START + DAY)

    pruned(store)

    later, window = START + 20 * DAY, Window(EVER.start, end)
    for again in (store, opens()):
        said = statement(again, STREAM, window, later)
        assert [(s.hour, s.state) for s in said] == [(hours[-2], HourState.PENDING)]
        assert again.dropped_before(STREAM) == end

    [row] = [r for r in store.rows(STREAM, EVER) if r.blob.id == "fails"]
    store.put(refused(expired, row, later))
    assert [s.state for s in statement(store, STREAM, window, later)] == [HourState.LOST]
    pruned(store)
    assert statement(store, STREAM, window, later) == []


def test_before_anything_is_dropped_every_hour_is_stated(store: Store) -> None:
    hours = [hour_of(START) - n * HOUR for n in range(30)]
    store.register_stream(STREAM, hours[-1])

    said = statement(store, STREAM, Window(EVER.start, START), START + 20 * DAY)

    assert store.dropped_before(STREAM) is None
    assert len(said) == 30


def test_a_blob_that_is_older_than_the_ledger_keeps_is_new_once_however_often_it_is_listed(
    opens: Opens,
) -> None:
    old, keep = blob("old", START - 20 * DAY), 8 * DAY
    [row] = noted(opens(), old)
    opens().put(delivered(row, START, records=1, sent=1, parked=0))

    for day in range(8):
        now = START + day * DAY
        opens().prune(STREAM, now - keep)
        assert opens().add_blobs([old], now) == []

    opens().prune(STREAM, START + 16 * DAY - keep)
    assert list(opens().rows(STREAM, EVER)) == []


def test_a_blob_that_is_older_than_the_ledger_keeps_is_remembered_until_it_expires(
    opens: Opens,
) -> None:
    old = replace(blob("old", START - 20 * DAY), expires=START + 20 * DAY)
    [row] = noted(opens(), old)
    opens().put(delivered(row, START, records=1, sent=1, parked=0))

    opens().prune(STREAM, START + 19 * DAY)

    assert opens().add_blobs([old], START + 19 * DAY) == []


def test_a_rejected_blob_stays_until_it_expires(store: Store) -> None:
    [row] = noted(store, blob("a", START - 2 * HOUR))
    store.mark_listed(STREAM, [hour_of(START) - 2 * HOUR], START)
    store.put(refused(unknown, row, START))

    assert pruned(store) == (0, {"a"})
    assert pruned(store, row.blob.expires + HOUR) == (1, set())


def test_pruning_a_stream_leaves_other_streams_and_remainders(store: Store) -> None:
    store.add_blobs([blob("a", stream=OTHER_STREAM)], START)
    store.mark_listed(OTHER_STREAM, HOURS, START)
    store.park(blob("a", stream=OTHER_STREAM), Parked("", b"{}"))
    store.note_enabled(OTHER_STREAM, [START])

    assert pruned(store, LATER + timedelta(days=30)) == (0, set())

    assert len(list(store.rows(OTHER_STREAM, EVER))) == 1
    assert len(store.listings(OTHER_STREAM, EVER.start)) == len(HOURS)
    assert len(store.parked(OTHER_STREAM)) == 1
    assert list(store.coverage(OTHER_STREAM)) == [Span(START)]


def test_what_was_parked_of_a_blob_stays_as_long_as_the_blob(store: Store) -> None:
    old, older = blob("old", START - 2 * HOUR), blob("older", START - 30 * HOUR)
    rows = noted(store, blob("new"), old, older)
    for row in rows:
        store.park(row.blob, Parked(row.blob.id, b"{}"))
        if row.blob != old:
            store.put(delivered(row, START, records=1, sent=1, parked=1))

    store.prune(STREAM, START)

    assert {parked.record_id for parked in store.parked(STREAM)} == {"new", "old"}


def test_streams_of_two_tenants_do_not_mix(store: Store) -> None:
    other = Stream(TENANT.replace("1", "9"), STREAM.content_type)
    store.add_blobs([blob("a")], START)
    store.mark_listed(STREAM, HOURS[:1], START)

    assert len(store.add_blobs([blob("a", stream=other)], START)) == 1
    store.mark_listed(other, HOURS[1:2], START)
    assert store.listings(other, EVER.start) == {HOURS[1]: HourListing(START)}
    assert len(list(store.rows(STREAM, EVER))) == 1
