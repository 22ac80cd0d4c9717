"""The memory of callers: nothing is forgotten, nothing counted twice, nothing grows for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.data.tables import TableServiceClient

from audit_feed.azure_app.callers import (
    MAX_MAILBOXES,
    MAX_PLACES,
    Access,
    Callers,
    CallerStats,
    MailboxPlace,
    Visits,
    baseline_rows,
    merged,
    network_of,
)
from audit_feed.azure_app.callers_table import MAX_NOTES, TableCallers
from audit_feed.columns import load_table
from audit_feed.errors import LedgerError
from connector.made import START, TENANT, blob, record, shaped

OWA = "Client=OWA;Action=ViaProxy"
APP = "00000002-0000-0ff1-ce00-000000000000"
WHO = (TENANT, APP, "OWA")


def read(name: str, **fields: object) -> dict[str, object]:
    owner = {"MailboxOwnerUPN": "A@contoso.example"}
    return record(name, AppId=APP, ClientInfoString=OWA, **{**owner, **fields})


def access(*names: str, days: int = 0) -> Access:
    time = START + timedelta(days=days)
    return Access(time, time, 1, frozenset(names))


def test_only_rows_that_read_mail_are_counted() -> None:
    stats, shape = CallerStats(TENANT), shaped()
    stats.start_blob(blob("one"))
    for made in (
        read("1", OperationCount=5),
        read("2", CreationTime="2026-01-09T08:00:00", MailboxOwnerUPN="a@CONTOSO.example"),
        read("3", Operation="Send"),
        read("4", CreationTime="yesterday"),
    ):
        stats.add(blob("one"), shape(made))

    noted = stats.of_blobs([blob("one"), blob("another")])

    assert list(noted) == [WHO]
    assert noted[WHO].first == datetime(2026, 1, 9, 8, tzinfo=UTC)
    assert noted[WHO].last == datetime(2026, 1, 10, 8, tzinfo=UTC)
    assert noted[WHO].operations == 6
    assert noted[WHO].mailbox_count == 1


def test_a_blob_that_is_read_again_counts_once() -> None:
    stats, shape = CallerStats(TENANT), shaped()
    for _ in range(2):
        stats.start_blob(blob("one"))
        stats.add(blob("one"), shape(read("1")))
    stats.start_blob(blob("not delivered"))
    stats.add(blob("not delivered"), shape(read("2")))

    assert stats.of_blobs([blob("one")])[WHO].operations == 1


def test_the_mailboxes_of_a_caller_have_a_bound() -> None:
    many = merged({WHO: access(f"m{n}")} for n in range(2 * MAX_MAILBOXES))

    assert len(many[WHO].mailboxes) == MAX_MAILBOXES
    assert many[WHO].operations == 2 * MAX_MAILBOXES


def test_a_baseline_row_has_the_columns_of_its_table() -> None:
    stats = stats_of(read("1"), read("2", MailboxOwnerUPN="b@contoso.example"))

    rows = baseline_rows(stats, START)

    columns = [column.name for column in load_table("M365CallerBaseline_CL").columns]
    assert [list(row) for row in rows] == [columns] * 3
    assert [(row["MailboxId"], row["MailboxCount"]) for row in rows] == [
        ("", 2),
        ("a@contoso.example", 1),
        ("b@contoso.example", 1),
    ]


def stats_of(*made: dict[str, object]) -> Callers:
    stats, shape = CallerStats(TENANT), shaped()
    stats.start_blob(blob("one"))
    for one in made:
        stats.add(blob("one"), shape(one))
    return stats.of_blobs([blob("one")])


def test_each_mailbox_and_network_has_its_own_first_time() -> None:
    old = {"CreationTime": "2026-01-09T08:00:00", "ClientIPAddress": "203.0.113.9"}
    app = {"UserType": 5, "ClientIPAddress": "2001:db8:7:1::9", "OperationCount": 4}
    noted = stats_of(read("1", **old), read("2", ClientIPAddress="203.0.113.77"), read("3", **app))

    last = datetime(2026, 1, 10, 8, tzinfo=UTC)
    assert noted[WHO].places == {
        MailboxPlace("a@contoso.example", "203.0.113", app_only=False): Visits(
            datetime(2026, 1, 9, 8, tzinfo=UTC), last, 2
        ),
        MailboxPlace("a@contoso.example", "2001:db8:7", app_only=True): Visits(last, last, 4),
    }
    rows = baseline_rows(noted, START)
    assert [(row["Network"], row["AppOnly"], row["OperationCount"]) for row in rows] == [
        ("", None, 6),
        ("2001:db8:7", True, 4),
        ("203.0.113", False, 2),
    ]


def test_a_mailbox_that_is_new_to_an_old_caller_is_not_known_by_the_caller() -> None:
    before = stats_of(read("1", CreationTime="2025-06-01T08:00:00"))
    now = stats_of(read("2", MailboxOwnerUPN="new@contoso.example"))

    rows = baseline_rows(merged([before, now]), START)

    first = {row["MailboxId"]: row["FirstSeen"] for row in rows}
    assert first["new@contoso.example"] == datetime(2026, 1, 10, 8, tzinfo=UTC)
    assert first[""] == datetime(2025, 6, 1, 8, tzinfo=UTC)


def test_of_too_many_places_the_last_are_remembered_and_fit_into_a_property() -> None:
    parts = [
        stats_of(read("1", MailboxOwnerUPN=f"{n}@{'long.' * 20}example", CreationTime=when(n)))
        for n in range(MAX_PLACES + 20)
    ]

    whole = merged(parts)[WHO]

    kept = {int(place.mailbox.partition("@")[0]) for place in whole.places}
    assert kept == set(range(MAX_PLACES + 20 - len(kept), MAX_PLACES + 20))
    assert len(kept) > 100
    assert len(",".join(whole.mailboxes)) <= 32_768
    assert whole.mailbox_count == MAX_PLACES + 20


def when(hours: int) -> str:
    return (START + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S")


def test_a_mailbox_whose_name_cannot_be_stored_is_counted_and_not_named() -> None:
    noted = stats_of(read("1", MailboxOwnerUPN="a|b@contoso.example"))

    assert noted[WHO].mailbox_count == 1
    assert not noted[WHO].places


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113"),
        ("2001:db8:7:1::9", "2001:db8:7"),
        ("2001:db8::9", "2001:db8:"),
        ("mail.contoso.example", ""),
        ("", ""),
    ],
)
def test_a_network_is_what_the_rules_call_so(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.fixture
def memory(service: TableServiceClient, prefix: str) -> TableCallers:
    return TableCallers(service, prefix)


def test_each_note_is_counted_once_when_notes_are_gathered(memory: TableCallers) -> None:
    orders = MAX_NOTES + 5  # of two notes each: three transactions
    for n in (*range(orders), 0, orders - 1):  # two are added again
        memory.add(
            TENANT, f"order {n}", {WHO: access("m", days=n), (TENANT, f"app {n}", ""): access()}
        )

    assert memory.gather(TENANT) == 2 * orders
    assert memory.gather(TENANT) == 0

    found = memory.all(TENANT)
    assert len(found) == orders + 1
    assert found[WHO] == Access(START, START + timedelta(days=orders - 1), orders, frozenset({"m"}))
    assert memory.all("another") == {}


def test_two_that_gather_at_once_count_each_note_once(
    service: TableServiceClient, prefix: str, memory: TableCallers
) -> None:
    other = TableCallers(service, prefix)

    class Slow(TableCallers):
        """The other one is faster."""

        def _merge(self, tenant: str, stats: object) -> int:
            other.gather(tenant)
            return super()._merge(tenant, stats)  # type: ignore[arg-type]  # passed on

    memory.add(TENANT, "order", {WHO: access("m")})

    assert Slow(service, prefix).gather(TENANT) == 0

    assert memory.all(TENANT)[WHO].operations == 1


def test_a_memory_of_another_version_is_refused(
    service: TableServiceClient, prefix: str, memory: TableCallers
) -> None:
    memory.add(TENANT, "order", {WHO: access("m")})
    table = service.get_table_client(f"{prefix}callers")
    [note] = table.list_entities()
    table.update_entity({**note, "version": 2})

    with pytest.raises(LedgerError, match="another version"):
        memory.gather(TENANT)


def test_places_are_the_same_when_they_were_stored_and_gathered(memory: TableCallers) -> None:
    first, second = stats_of(read("1", ClientIPAddress="203.0.113.9")), stats_of(read("2"))
    memory.add(TENANT, "one", first)
    memory.add(TENANT, "two", second)
    memory.gather(TENANT)

    assert memory.all(TENANT) == merged([first, second])
