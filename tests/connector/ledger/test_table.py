"""The ledger in Table Storage, on a real Azurite: versions, closing of hours, many at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast
from uuid import uuid4

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.data.tables import TableClient, TableServiceClient, UpdateMode

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.errors import LeaseHeldError, LedgerConflictError, LedgerError
from audit_feed.ledger import table_snapshot
from audit_feed.ledger.coverage import Span
from audit_feed.ledger.statement import HourState, HourStatement, statement
from audit_feed.ledger.states import (
    BlobRow,
    BlobState,
    delivered,
    expired,
    redelivered,
    rejected,
)
from audit_feed.ledger.table import TableLedger
from audit_feed.ledger.table_parked import PIECE_BYTES
from audit_feed.ledger.table_rows import blob_key, hour_key, stream_key
from audit_feed.records.batches import Parked
from audit_feed.windows import HOUR, MARGIN, HourListing, Window, hour_of
from connector.azurite import Azurite
from connector.ledger.memory_tables import MemoryTable, MemoryTables
from connector.made import OTHER_STREAM, SOON, START, STREAM, blob, refused

NOW = hour_of(START) + HOUR + MARGIN
DAY = timedelta(days=1)
WEEK = Window(NOW - timedelta(days=7), NOW)


@pytest.fixture
def opens(service: TableServiceClient, prefix: str) -> Callable[[], TableLedger]:
    return lambda: TableLedger(service, prefix)


@pytest.fixture
def store(opens: Callable[[], TableLedger]) -> TableLedger:
    return opens()


def noted(store: TableLedger, *blobs: ContentBlob) -> Sequence[BlobRow]:
    store.register_stream(STREAM, WEEK.start)
    store.note_enabled(STREAM, [WEEK.start])
    store.add_blobs(blobs, NOW)
    store.mark_listed(STREAM, [hour_of(blob.created) for blob in blobs][:1], NOW)
    return store.rows(STREAM, Window(WEEK.start, NOW + HOUR))


def done(row: BlobRow) -> BlobRow:
    return delivered(row, row.blob.created + SOON, records=3, sent=2**33, parked=1)


def unknown(row: BlobRow, now: datetime) -> BlobRow:
    return rejected(row, now, "unknown")


def close(store: TableLedger, now: datetime = NOW) -> int:
    return store.snapshots.close_hours(store.snapshots.read(STREAM, WEEK, now), now)


def stated(store: TableLedger, now: datetime = NOW) -> Sequence[HourStatement]:
    return store.snapshots.read(STREAM, WEEK, now).statements


def test_a_ledger_of_another_version_is_refused(
    service: TableServiceClient, prefix: str, opens: Callable[[], TableLedger]
) -> None:
    opens()
    table = service.get_table_client(f"{prefix}hours")
    table.upsert_entity({"PartitionKey": "meta", "RowKey": "format", "version": 2})

    with pytest.raises(LedgerError, match="not of version 1"):
        opens()


def test_rows_without_a_version_are_refused(
    service: TableServiceClient, prefix: str, opens: Callable[[], TableLedger]
) -> None:
    table = service.create_table(f"{prefix}hours")
    table.upsert_entity({"PartitionKey": "streams", "RowKey": "a|b", "first": "x"})

    with pytest.raises(LedgerError, match="without a version"):
        opens()


@pytest.mark.parametrize(
    "changed", [{"state": "done"}, {"due": "soon"}, {"attempts": "x"}, {"id": "b"}, {"sent": 7}]
)
def test_a_row_that_cannot_be_read_is_an_error(
    service: TableServiceClient, prefix: str, store: TableLedger, changed: dict[str, object]
) -> None:
    [row] = noted(store, blob("a"))
    where, name = blob_key(row.blob)
    key = {"PartitionKey": where, "RowKey": name}
    service.get_table_client(f"{prefix}blobs").update_entity({**key, **changed})

    with pytest.raises(LedgerError, match="cannot be read"):
        store.rows(STREAM, WEEK)


def test_an_account_that_does_not_answer_is_an_error() -> None:
    gone = Azurite(1, 1, 1).connection_string
    service = TableServiceClient.from_connection_string(gone, retry_total=0)

    with service, pytest.raises(LedgerError, match="ServiceRequestError"):
        TableLedger(service)


def test_more_blobs_than_a_transaction_holds_are_all_stored(store: TableLedger) -> None:
    blobs = [blob(f"b{n}", START + timedelta(seconds=n * 20)) for n in range(250)]

    rows = noted(store, *blobs)
    after = store.put_all([done(row) for row in rows])

    assert {row.blob for row in rows} == set(blobs)
    assert list(store.rows(STREAM, Window(WEEK.start, NOW + HOUR))) == list(after)


def test_of_processes_that_list_the_same_page_one_calls_a_blob_new(
    service: TableServiceClient, prefix: str
) -> None:
    blobs = [blob(f"b{n}") for n in range(150)]
    stores = [TableLedger(service, prefix) for _ in range(3)]

    with ThreadPoolExecutor(3) as pool:
        news = list(pool.map(lambda store: store.add_blobs(blobs, START), stores))

    assert sorted(one.id for new in news for one in new) == sorted(one.id for one in blobs)
    assert len(stores[0].rows(STREAM, WEEK)) == 150


def test_a_conflict_holds_back_its_own_row_only(
    opens: Callable[[], TableLedger],
) -> None:
    store = opens()
    a, b, c = noted(store, blob("a"), blob("b"), blob("c"))
    theirs = opens().put(done(b))

    first, second, third = store.put_all([done(a), done(b), done(c)])

    assert isinstance(second, LedgerConflictError)
    assert list(opens().rows(STREAM, WEEK)) == [first, theirs, third]


def test_a_remainder_larger_than_a_row_comes_back_whole_or_is_an_error(
    service: TableServiceClient, prefix: str, store: TableLedger
) -> None:
    large = Parked("large", b"".join(uuid4().bytes for _ in range(PIECE_BYTES // 5)))
    store.park(blob("a"), large)
    store.park(blob("a"), Parked("small", b"{}"))
    assert sorted(store.parked(STREAM), key=lambda p: p.record_id) == [
        large,
        Parked("small", b"{}"),
    ]

    pieces = service.get_table_client(f"{prefix}parked")
    [*_, last] = [e for e in pieces.list_entities() if e["record_id"] == "large"]
    pieces.delete_entity(last)

    with pytest.raises(LedgerError, match="cannot be read"):
        store.parked(STREAM)


def test_a_statement_stays_the_same_when_its_hour_is_closed(store: TableLedger) -> None:
    a, b = noted(store, blob("a"), blob("b", START - HOUR))
    store.mark_listed(STREAM, [hour_of(START), hour_of(START) - HOUR], NOW)
    store.put(done(a))
    before = stated(store)

    assert close(store) == 1

    assert stated(store) == before == statement(store, STREAM, WEEK, NOW)
    assert [row.blob for row in store.due(STREAM, NOW, 9)] == [b.blob]
    assert sum(s.complete for s in before) == 1


def test_an_hour_is_closed_once_no_blob_of_it_can_change(store: TableLedger) -> None:
    [row] = noted(store, blob("a"))
    assert close(store) == 0
    store.put(refused(unknown, row, START))

    assert close(store) == 0
    assert close(store, row.blob.expires) > 0
    assert hour_of(START) in store.snapshots.read(STREAM, WEEK, NOW).closed
    assert close(store, row.blob.expires) == 0

    [said] = [s for s in stated(store) if s.listed]
    assert (said.rejected, said.pending) == (1, 0)


def test_a_late_blob_opens_its_hour_again_and_is_due(store: TableLedger) -> None:
    [row] = noted(store, blob("a"))
    store.put(done(row))
    close(store)

    store.add_blobs([blob("late")], NOW)

    assert [row.blob.id for row in store.due(STREAM, NOW, 9)] == ["late"]
    assert sum(s.pending for s in stated(store)) == 1


def test_an_hour_that_was_opened_meanwhile_stays_open(opens: Callable[[], TableLedger]) -> None:
    slow, late = opens(), opens()
    [row] = noted(late, blob("a"))
    late.put(done(row))

    snapshot = slow.snapshots.read(STREAM, WEEK, NOW)
    late.add_blobs([blob("late")], NOW)

    assert slow.snapshots.close_hours(snapshot, NOW) == 0
    assert [row.blob.id for row in late.due(STREAM, NOW, 9)] == ["late"]


def counted() -> tuple[Counter[str], Callable[[], TableLedger]]:
    """Return a count of operations, and what opens a ledger that counts there."""
    operations = Counter[str]()
    tables = cast("TableServiceClient", MemoryTables(operations))
    return operations, lambda: TableLedger(tables)


def test_a_pass_costs_the_same_however_much_the_ledger_holds() -> None:
    operations, opens = counted()
    store = opens()

    def requests() -> int:
        fresh, before = opens(), operations.total()
        fresh.listings(STREAM, WEEK.start)
        fresh.add_blobs([blob("now", NOW)], NOW)
        fresh.mark_listed(STREAM, [NOW], NOW)
        fresh.due(STREAM, NOW, 9)
        close(fresh)
        stated(fresh)
        return operations.total() - before

    def fill(hours: Iterable[int]) -> None:
        for n in hours:
            store.add_blobs([blob(f"b{n}", NOW - n * HOUR)], NOW)
            store.mark_listed(STREAM, [NOW - n * HOUR], NOW)
        rows = [row for row in store.rows(STREAM, WEEK) if row.state is BlobState.LISTED]
        store.put_all([done(row) for row in rows])
        close(store)

    noted(store, blob("now", NOW))
    fill(range(1, 8))  # these hours are open, or were a short time ago
    few = requests()
    fill(range(8, 100))

    assert requests() == few > 0


LOOKS = 12


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look read only few blobs again."""
    monkeypatch.setattr(table_snapshot, "READ_AGAIN", LOOKS)


@pytest.mark.usefixtures("few")
def test_a_snapshot_of_a_backlog_costs_the_same_however_long_it_is() -> None:
    operations, opens = counted()
    store = opens()
    backlog = [blob(f"b{n}", NOW - n * HOUR) for n in range(1, 60)]
    noted(store, *backlog)
    store.snapshots.read(STREAM, WEEK, NOW)
    before = operations.total()

    store.snapshots.read(STREAM, WEEK, NOW)

    assert operations.total() - before == LOOKS + 2


@pytest.mark.usefixtures("few")
def test_every_hour_of_a_backlog_is_read_again_in_turn(store: TableLedger) -> None:
    rows = noted(store, *(blob(f"b{n}", NOW - n * HOUR) for n in range(1, 3 * LOOKS)))
    store.snapshots.read(STREAM, WEEK, NOW)
    store.put_all([done(row) for row in rows])

    seen = [store.snapshots.read(STREAM, WEEK, NOW) for _ in range(3)]

    left = [sum(s.pending for s in looked.statements) for looked in seen]
    assert left == [len(rows) - LOOKS, len(rows) - 2 * LOOKS, 0]
    assert len({hour.row.hour for looked in seen for hour in looked.open}) == len(rows)


@pytest.mark.usefixtures("few")
def test_an_hour_with_a_late_blob_is_read_whatever_the_backlog(
    opens: Callable[[], TableLedger],
) -> None:
    store, other = opens(), opens()
    rows = noted(store, *(blob(f"b{n}", NOW - n * HOUR) for n in range(1, 3 * LOOKS)))
    store.snapshots.read(STREAM, WEEK, NOW)
    last = max(rows, key=lambda row: row.blob.created).blob.created
    other.add_blobs([blob("late", last)], NOW)

    looked = store.snapshots.read(STREAM, WEEK, NOW)

    assert sum(s.pending for s in looked.statements) == len(rows) + 1


def test_an_hour_that_is_listed_by_a_new_process_stays_closed(
    opens: Callable[[], TableLedger],
) -> None:
    store = opens()
    rows = noted(store, blob("a"), blob("b"))
    store.put_all([done(row) for row in rows])
    store.mark_listed(STREAM, [hour_of(START)], NOW)
    assert close(store) == 1

    other = opens()
    other.listings(STREAM, WEEK.start)  # as each pass does first
    new = other.add_blobs([row.blob for row in rows], NOW)
    other.mark_listed(STREAM, [hour_of(START)], NOW)

    assert list(new) == []
    assert opens().snapshots.read(STREAM, WEEK, NOW).open == []


def test_rows_of_one_partition_are_read_by_name(store: TableLedger) -> None:
    rows = noted(store, *(blob(f"b{n}") for n in range(20)))
    where, _ = blob_key(rows[0].blob)
    names = [blob_key(row.blob)[1] for row in rows[:13]]

    found = store.rows_by_key(where, [*names[:12], "none"])

    assert {row.blob.id for row in found} == {row.blob.id for row in rows[:12]}
    assert store.rows_by_key(where, []) == []


def test_the_same_blob_id_in_another_stream_has_another_key(store: TableLedger) -> None:
    [row] = noted(store, blob("a"))
    other = replace(row.blob, stream=OTHER_STREAM)

    assert blob_key(other) != blob_key(row.blob)
    assert list(store.add_blobs([other], START)) == [other]


def hours_of(service: TableServiceClient, prefix: str) -> TableClient:
    return service.get_table_client(f"{prefix}hours")


def break_row(table: TableClient, stream: Stream, hour: datetime, *missing: str) -> None:
    """Leave an hour's row without some of its properties."""
    key = {"PartitionKey": stream_key(stream), "RowKey": hour_key(hour)}
    entity = table.get_entity(partition_key=key["PartitionKey"], row_key=key["RowKey"])
    values = {name: value for name, value in entity.items() if name not in missing}
    table.upsert_entity({**key, **values}, mode=UpdateMode.REPLACE)


def test_an_hour_whose_first_mark_was_not_written_is_marked_whole_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = TableLedger(cast("TableServiceClient", MemoryTables(Counter())))
    store.register_stream(STREAM, hour_of(START))
    with monkeypatch.context() as broken:
        broken.setattr(MemoryTable, "submit_transaction", dropped_connection)
        with pytest.raises(LedgerError):
            store.mark_listed(STREAM, [hour_of(START)], NOW)
    assert store.listings(STREAM, hour_of(START)) == {}

    store.mark_listed(STREAM, [hour_of(START)], NOW)

    assert [hour.row.whole for hour in store.snapshots.read(STREAM, WEEK, NOW).open] == [True]


def dropped_connection(*_: object, **__: object) -> None:
    raise ServiceRequestError("connection reset")


@pytest.mark.parametrize("missing", [["closed"], ["closed", "listed_at"], ["lag"], ["expired"]])
def test_a_row_that_an_older_version_left_half_is_read_as_open_and_listing_mends_it(
    service: TableServiceClient, prefix: str, opens: Callable[[], TableLedger], missing: list[str]
) -> None:
    hour = hour_of(START)
    [row] = noted(opens(), blob("a"))
    opens().put(done(row))
    assert close(opens()) == 1
    break_row(hours_of(service, prefix), STREAM, hour, *missing)

    store = opens()
    snapshot = store.snapshots.read(STREAM, WEEK, NOW)
    assert hour not in snapshot.closed
    assert [r.blob.id for found in snapshot.open for r in found.rows] == ["a"]
    store.listings(STREAM, WEEK.start)
    store.mark_listed(STREAM, [hour], NOW)
    store.add_blobs([blob("late")], NOW)

    assert [row.blob.id for row in opens().due(STREAM, NOW, 9)] == ["late"]
    assert opens().repair() == []


def test_repair_opens_hours_that_an_older_version_left_half(
    service: TableServiceClient, prefix: str, opens: Callable[[], TableLedger]
) -> None:
    noted(opens(), blob("a"))
    break_row(hours_of(service, prefix), STREAM, hour_of(START), "closed")
    assert opens().due(STREAM, NOW, 9) == []

    [said] = opens().repair()

    assert hour_key(hour_of(START)) in said
    assert [row.blob.id for row in opens().due(STREAM, NOW, 9)] == ["a"]
    assert opens().repair() == []


def test_a_blobs_row_that_cannot_be_read_is_mended_by_listing_or_by_repair(
    service: TableServiceClient, prefix: str, opens: Callable[[], TableLedger]
) -> None:
    rows = noted(opens(), blob("a"), blob("b"), blob("c"))
    blobs = service.get_table_client(f"{prefix}blobs")
    for row in rows[:2]:
        where, name = blob_key(row.blob)
        blobs.update_entity({"PartitionKey": where, "RowKey": name, "due": "soon"})

    assert list(opens().add_blobs([rows[0].blob], NOW)) == [rows[0].blob]
    [said] = opens().repair()

    assert "rows of blobs could not be read and were dropped: 1" in said
    assert {r.blob for r in opens().rows(STREAM, WEEK)} == {rows[0].blob, rows[2].blob}
    assert opens().listings(STREAM, WEEK.start)[hour_of(START)].problem
    assert not any(s.complete for s in stated(opens()) if s.listed)
    assert opens().repair() == []


def test_a_stream_whose_row_has_no_first_hour_is_registered_again(
    opens: Callable[[], TableLedger],
) -> None:
    opens().streams_table.put_summaries({STREAM: "{}"})

    assert opens().first_hour(STREAM) is None
    assert opens().register_stream(STREAM, WEEK.start) == WEEK.start
    assert opens().streams_table.summaries() == {STREAM: "{}"}


def test_a_lease_that_cannot_be_read_can_be_taken(
    service: TableServiceClient, prefix: str, opens: Callable[[], TableLedger]
) -> None:
    opens()
    row = {"PartitionKey": "lease", "RowKey": "lease", "owner": "first"}
    hours_of(service, prefix).upsert_entity(row)

    opens().acquire_lease("second", NOW, NOW + HOUR)

    with pytest.raises(LeaseHeldError):
        opens().acquire_lease("third", NOW, NOW + HOUR)


def test_a_parked_remainder_that_cannot_be_read_is_dropped_by_repair(
    service: TableServiceClient, prefix: str, store: TableLedger
) -> None:
    noted(store, blob("a"))
    large = b"".join(uuid4().bytes for _ in range(PIECE_BYTES // 5))
    store.park(blob("a"), Parked("large", large))
    store.park(blob("a"), Parked("small", b"{}"))
    pieces = service.get_table_client(f"{prefix}parked")
    pieces.delete_entity([e for e in pieces.list_entities() if e["record_id"] == "large"][-1])

    assert len(store.repair()) == 1

    assert [parked.record_id for parked in store.parked(STREAM)] == ["small"]


def without(table: TableClient, names: Sequence[str]) -> None:
    """Leave every row of a table as an older version wrote it, without these properties."""
    for entity in list(table.list_entities()):
        values = {name: value for name, value in entity.items() if name not in names}
        table.upsert_entity(values, mode=UpdateMode.REPLACE)


def test_the_rows_of_an_older_version_are_read_with_what_they_lack(
    service: TableServiceClient, prefix: str, opens: Callable[[], TableLedger]
) -> None:
    rows = noted(opens(), blob("a"), blob("b", START - 5 * HOUR))
    opens().mark_listed(STREAM, [hour_of(START) - 5 * HOUR], START)
    opens().put_all([done(row) for row in rows])
    close(opens())
    without(hours_of(service, prefix), ["problem", "sent_rows"])
    later = ["other_uris", "size", "refused", "refusals", "sent_rows"]
    without(service.get_table_client(f"{prefix}blobs"), later)
    hours_of(service, prefix).delete_entity("coverage", stream_key(STREAM))

    assert [row.state for row in opens().rows(STREAM, WEEK)] == [BlobState.DELIVERED] * 2
    assert opens().coverage(STREAM) == (Span(START - 5 * HOUR),)
    opens().note_absent(STREAM, NOW)
    assert opens().coverage(STREAM) == (
        Span(START - 5 * HOUR, NOW),
        Span(NOW, NOW, exists=False),
    )


def test_a_stream_that_asks_for_a_role_is_not_covered_by_the_listings_of_an_older_version(
    store: TableLedger,
) -> None:
    dlp = Stream(STREAM.tenant, "DLP.All")
    store.mark_listed(dlp, [hour_of(START)], NOW)
    assert store.coverage(dlp) == ()

    store.add_blobs([blob("a", stream=dlp)], NOW)

    assert store.coverage(dlp) == (Span(START),)


def test_a_closed_hour_that_grows_or_is_not_listed_to_its_end_is_opened_again(
    opens: Callable[[], TableLedger],
) -> None:
    hour = hour_of(START)
    changes: Sequence[Callable[[TableLedger], object]] = (
        lambda store: store.add_blobs([replace(blob("a"), expires=later(store))], NOW),
        lambda store: store.mark_unlisted(STREAM, [hour], "page 2: HTTP 500"),
        lambda store: store.put_all([redelivered(row, NOW) for row in store.rows(STREAM, WEEK)]),
    )
    for change in changes:
        store = opens()
        rows = noted(store, blob("a"))
        store.put_all([done(row) for row in rows if row.state is BlobState.LISTED])
        close(store)
        assert hour in opens().snapshots.read(STREAM, WEEK, NOW).closed

        change(store)  # it knows the hour's row, so that no write makes one

        assert hour not in opens().snapshots.read(STREAM, WEEK, NOW).closed
        assert not any(s.complete for s in stated(opens()) if s.hour == hour)


def later(store: TableLedger) -> datetime:
    return store.rows(STREAM, WEEK)[0].blob.expires + HOUR


def test_hours_in_which_nothing_ran_are_lost_and_closed_once(
    opens: Callable[[], TableLedger],
) -> None:
    store, now = opens(), NOW + timedelta(days=9)
    noted(store, blob("a"))
    month = Window(now - timedelta(days=30), now)
    store.mark_listed(STREAM, [NOW + n * HOUR for n in range(2 * 24, 9 * 24)], now)

    first = store.snapshots.read(STREAM, month, now)
    lost = [s.hour for s in first.statements if s.state is HourState.LOST]
    assert {NOW + n * HOUR for n in range(2 * 24 - 4)} <= set(lost)
    assert not first.closed & set(lost)
    while store.snapshots.close_hours(store.snapshots.read(STREAM, month, now), now):
        pass

    again = opens().snapshots.read(STREAM, month, now)
    assert set(lost) - {hour_of(START)} <= again.closed
    assert [s.hour for s in again.statements if s.state is HourState.LOST] == lost


def test_an_old_blob_that_is_not_delivered_is_in_the_snapshot_and_no_dropped_hour_is(
    opens: Callable[[], TableLedger],
) -> None:
    store, fails = opens(), hour_of(NOW) - 60 * HOUR
    noted(store, blob("fails", fails))
    store.mark_listed(STREAM, [fails + n * HOUR for n in range(60)], NOW)
    later = NOW + 20 * DAY
    close(store, later)

    for _ in range(3):
        store.prune(STREAM, NOW)

    window = Window(WEEK.start, NOW)
    for again in (store, opens()):
        read = again.snapshots.read(STREAM, window, later).statements
        assert [(said.hour, said.state) for said in read] == [(fails, HourState.PENDING)]
        assert read == statement(again, STREAM, window, later)


def test_a_blob_that_is_older_than_the_ledger_keeps_stays_on_record_through_every_sweep(
    opens: Callable[[], TableLedger],
) -> None:
    old, keep = blob("old", NOW - 20 * DAY), 8 * DAY
    opens().register_stream(STREAM, WEEK.start)
    assert opens().add_blobs([old], NOW) == [old]
    [row] = opens().rows(STREAM, Window(old.created, NOW))
    opens().put(done(row))
    sweeping = opens()

    for day in range(7):
        for hour in range(3):
            now = NOW + day * DAY + hour * HOUR
            window = Window(now - keep, now)
            sweeping.snapshots.close_hours(sweeping.snapshots.read(STREAM, window, now), now)
            sweeping.prune(STREAM, now - keep)
            assert opens().add_blobs([old], now) == []


def test_an_older_listing_that_ends_late_withdraws_no_newer_ones_problem(
    opens: Callable[[], TableLedger],
) -> None:
    hour, first, second = hour_of(NOW) - 5 * HOUR, opens(), opens()
    for store in (first, second):
        assert store.listings(STREAM, WEEK.start) == {}
    later = NOW + timedelta(minutes=10)
    second.mark_unlisted(STREAM, [hour], "page 2: HTTP 500", later)

    first.mark_listed(STREAM, [hour], NOW)
    known = opens().listings(STREAM, WEEK.start)[hour]
    opens().mark_listed(STREAM, [hour], NOW + timedelta(minutes=5))
    still = opens().listings(STREAM, WEEK.start)[hour]
    opens().mark_listed(STREAM, [hour], later + timedelta(minutes=1))

    assert known == HourListing(NOW, "page 2: HTTP 500")
    assert still.problem == "page 2: HTTP 500"
    assert opens().listings(STREAM, WEEK.start)[hour] == HourListing(later + timedelta(minutes=1))


def test_a_process_that_lists_seldom_lists_away_what_another_one_has_marked(
    opens: Callable[[], TableLedger],
) -> None:
    hour, first, second = hour_of(NOW) - 5 * HOUR, opens(), opens()
    first.listings(STREAM, WEEK.start)
    first.mark_listed(STREAM, [hour], NOW)
    second.mark_unlisted(STREAM, [hour], "the subscription is disabled", NOW + HOUR)

    first.mark_listed(STREAM, [hour], NOW + 5 * HOUR)

    assert opens().listings(STREAM, WEEK.start)[hour] == HourListing(NOW + 5 * HOUR)


def test_a_problem_of_a_clock_that_ran_ahead_is_withdrawn_by_a_whole_listing(
    opens: Callable[[], TableLedger],
) -> None:
    hour = hour_of(NOW) - 5 * HOUR
    opens().mark_unlisted(STREAM, [hour], "no answer", NOW + 60 * DAY)

    opens().mark_listed(STREAM, [hour], NOW)

    assert opens().listings(STREAM, WEEK.start)[hour] == HourListing(NOW)


GROWN = [timedelta(hours=1), timedelta(days=6)]


@pytest.mark.parametrize("step", [expired, unknown])
@pytest.mark.parametrize("later", GROWN)
def test_a_blob_that_grew_into_a_later_hour_is_lost_in_no_earlier_one(
    store: TableLedger, later: timedelta, step: Callable[[BlobRow, datetime], BlobRow]
) -> None:
    first = blob("a", NOW - 6 * DAY - 5 * HOUR)
    grown = replace(
        first,
        created=first.created + later,
        expires=first.expires + later,
        uri=f"{first.uri}/2",
    )
    [row, _] = noted(store, first, grown)

    stored = store.put(refused(step, row, NOW))

    said = {s.hour: s for s in stated(store)}
    assert (stored.state, stored.records) == (BlobState.DELIVERED, 0)
    assert said[hour_of(first.created)].state is HourState.COMPLETE
    assert said[hour_of(grown.created)].pending == 1
    assert not any(s.state is HourState.LOST for s in said.values())


@pytest.mark.parametrize("step", [expired, unknown])
def test_a_blob_that_is_given_up_in_its_last_hour_is_lost_there(
    store: TableLedger, step: Callable[[BlobRow, datetime], BlobRow]
) -> None:
    last = blob("a", NOW - 5 * DAY)
    others = [
        replace(last, created=last.created - DAY, expires=last.expires - DAY),
        replace(last, stream=OTHER_STREAM, created=last.created + DAY),
        replace(last, id="b", created=last.created + DAY),
    ]
    rows = noted(store, last, *others)
    [row] = [row for row in rows if row.blob == last]

    stored = store.put(refused(step, row, NOW))

    assert stored.state is refused(step, row, NOW).state
    lost = [s.hour for s in stated(store) if s.state is HourState.LOST]
    assert lost == [hour_of(last.created)]


def test_a_snapshot_of_months_reads_the_blobs_of_open_hours_only() -> None:
    operations, opens = counted()
    store, now = opens(), NOW + timedelta(days=60)
    noted(store, *(blob(f"b{n}", NOW + n * HOUR) for n in range(60)))
    store.mark_listed(STREAM, [NOW + n * HOUR for n in range(60 * 24 - 6)], now)
    store.put_all([done(row) for row in store.rows(STREAM, Window(WEEK.start, now))])
    months = Window(WEEK.start, now)
    while store.snapshots.close_hours(store.snapshots.read(STREAM, months, now), now):
        pass
    before, fresh = operations.total(), opens()

    snapshot = fresh.snapshots.read(STREAM, months, now)

    assert len(snapshot.statements) == (now - WEEK.start) // HOUR
    assert sum(s.delivered for s in snapshot.statements) == 60
    assert operations.total() - before < 12


def test_an_hour_in_which_nothing_can_change_is_not_read_again_before_its_row_changes() -> None:
    operations, opens = counted()
    store = opens()
    hours = [NOW - n * HOUR for n in range(3, 30)]
    noted(store, *(blob(f"b{n}", hour) for n, hour in enumerate(hours)))
    store.put_all([done(row) for row in store.rows(STREAM, WEEK)])
    store.mark_unlisted(STREAM, hours, "page 2: HTTP 500")
    first = store.snapshots.read(STREAM, WEEK, NOW)
    before = operations.total()

    again = store.snapshots.read(STREAM, WEEK, NOW)

    assert operations.total() - before == 2
    assert again.statements == first.statements
    assert {hour.row.hour for hour in again.open} == set(hours)
    store.mark_listed(STREAM, hours, NOW)
    assert store.snapshots.close_hours(again, NOW) == 0
    opens().put_all([redelivered(row, NOW) for row in store.rows(STREAM, WEEK)[-1:]])
    assert sum(s.pending for s in stated(store)) == 1


def test_listings_are_read_and_marked_by_threads_at_once() -> None:
    _, opens = counted()
    store = opens()
    hours = [NOW - n * HOUR for n in range(160)]

    def work(number: int) -> int:
        for n in range(30):
            store.mark_listed(STREAM, hours[: (number * 30 + n) % 160], NOW)
            store.listings(STREAM, WEEK.start)
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [0, 1, 2, 3]


def test_a_blob_that_is_listed_every_minute_costs_nothing() -> None:
    operations, opens = counted()
    store = opens()
    blobs = [blob(f"b{n}") for n in range(50)]
    again = [replace(one, uri=f"{one.uri}/2") for one in blobs]
    store.add_blobs([*blobs, *again], START)
    before = operations.total()

    for _ in range(20):
        store.add_blobs(blobs, START)
        store.add_blobs([*again, *blobs], NOW)

    assert operations.total() == before


def test_a_grown_blob_that_another_process_delivers_meanwhile_is_fetched_again(
    opens: Callable[[], TableLedger],
) -> None:
    store, other = opens(), opens()
    [row] = noted(store, replace(blob("a"), size=100))
    other.put(done(row))

    new = store.add_blobs([replace(blob("a"), size=200)], NOW)

    assert [found.size for found in new] == [200]
    assert [r.state for r in opens().rows(STREAM, WEEK)] == [BlobState.LISTED]
