"""The memory of callers: nothing is forgotten, nothing counted twice, nothing grows for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.data.tables import TableServiceClient

from audit_feed.azure_app.callers import MAX_MAILBOXES, Access, CallerStats, baseline_rows, merged
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
    assert len(noted[WHO].mailboxes) == 1


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
    [row] = baseline_rows({WHO: access("m", days=1)}, START)

    assert list(row) == [column.name for column in load_table("M365CallerBaseline_CL").columns]
    assert row["MailboxCount"] == 1
    assert row["FirstSeen"] == START + timedelta(days=1)


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
