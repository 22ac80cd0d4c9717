"""One record by way of three tables is one and the same row, but for what a source lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from detections.small_tenant import TABLES, Record, engine, put, read, workspace
from mailvigil.engine.record_rows import SHAPERS, insert
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.workspace import END_OF_TIME
from mailvigil.lab.tenant.profile import DEMO
from mailvigil.lab.tenant.records import records
from mailvigil.tables.record_tables import RECORD_TABLES, lacking_columns
from mailvigil.tables.schemas import schemas

OWN = "M365Activity_CL"
SOURCE_COLUMNS = {"Source", "SourceRank", "_arrived"}
OF_TOKEN = {"TokenTenant", "TokenTenantId"}

ODD: Mapping[str, Record] = {
    "port": {"ClientIPAddress": "192.0.2.7:5000"},
    "brackets": {"ClientIPAddress": "[2001:DB8::1]:5000"},
    "zone": {"ClientIPAddress": "[fe80::1%eth0]:5000"},
    "mapped": {"ClientIPAddress": "::ffff:192.0.2.7"},
    "blanks": {"ClientIPAddress": " 192.0.2.7 "},
    "host": {"ClientIPAddress": "Mail.contoso.example"},
    "other address": {"ClientIPAddress": "", "ClientIP": "192.0.2.9"},
    "no address": {"ClientIPAddress": ""},
    "app in client": {"AppId": "", "ClientInfoString": "Client=WebServices;X[AppId=AB-1];"},
    "empty app in client": {"AppId": "", "ClientInfoString": "Client=WebServices;X[AppId=];"},
    "small app in client": {"AppId": "", "ClientInfoString": "Client=OWA;[appid=AB-1]"},
    "no client": {"AppId": "", "ClientInfoString": ""},
    "throttled": {"OperationProperties": [{"Value": "True", "Name": "IsThrottled"}]},
    "properties as text": {
        "OperationProperties": '[{"Name": "MailAccessType", "Value": "Sync"}, '
        '{"Name":"IsThrottled","Value":"True"}]'
    },
    "no properties": {"OperationProperties": []},
    "numbers as text": {"RecordType": "50", "UserType": "5", "ExternalAccess": "True"},
    "admin": {"UserType": 2, "LogonType": 1, "ExternalAccess": True},
    "delegate": {"LogonType": 2, "UserId": "deputy@contoso.example"},
    "service": {"UserType": 6, "LogonType": 4, "UserKey": "app"},
    "no mailbox guid": {"MailboxGuid": ""},
    "no owner": {"MailboxOwnerUPN": ""},
    "capitals": {"AppId": "ABCDEF", "MailboxOwnerUPN": "Adele@Contoso.example"},
    "own token": {"TokenTenantId": "11111111-AAAA-4bbb-8ccc-000000000001"},
    "session": {"SessionId": "s", "AppAccessContext": {"AADSessionId": "a", "UniqueTokenId": "u"}},
    "context": {"AppAccessContext": {"AADSessionId": "a", "UniqueTokenId": "u"}},
    "folder": {"Item": {"ParentFolder": {"Path": "\\Inbox"}}, "RecordType": 2},
}


def by_way_of(
    con: duckdb.DuckDBPyConnection, table: str, records: list[Record]
) -> dict[str, ResultRow]:
    for each in TABLES:
        con.execute(f'DELETE FROM "{each}"')  # noqa: S608 - our own names
    put(con, records, table)
    on = engine(con, materialise=False)
    rows = on.run(on.prepare("MailItemsAccessed()"), END_OF_TIME)
    return {str(row["RecordId"]): row for row in rows}


def same(table: str, row: ResultRow, record: Record) -> dict[str, object]:
    """Return of *row* what *table* must have in common with our own."""
    lacks = {*SOURCE_COLUMNS, *lacking_columns(table)}
    if table == "OfficeActivity":
        lacks |= OF_TOKEN
        lacks |= set() if record.get("SessionId") is None else {"SessionId"}
    return {name: value for name, value in row.items() if name not in lacks}


def check(con: duckdb.DuckDBPyConnection, records: list[Record]) -> None:
    own = by_way_of(con, OWN, records)
    assert len(own) == len({str(record["Id"]) for record in records})
    for table in TABLES:
        found = by_way_of(con, table, records)
        for record in records:
            name = str(record["Id"])
            assert same(table, found[name], record) == same(table, own[name], record)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with workspace() as made:
        yield made


def test_an_odd_record_has_the_same_row_from_every_table(con: duckdb.DuckDBPyConnection) -> None:
    check(con, [{**read(0, 1), **fields, "Id": name} for name, fields in ODD.items()])


def test_a_client_of_the_lab_has_the_same_row_from_every_table(
    con: duckdb.DuckDBPyConnection,
) -> None:
    day = replace(DEMO, mailboxes=20, days=5, intrusion_days=(3, 4), drift_day=2, rollout_day=1)
    profiles: dict[object, Record] = {}
    for record in records(day):
        if record["Operation"] == "MailItemsAccessed":
            profile = (
                record["RecordType"],
                str(record["ClientInfoString"])[:30],
                record.get("AppId"),
                record.get("ClientAppId"),
                "AppAccessContext" in record,
                "TokenTenantId" in record,
                "SessionId" in record,
            )
            profiles.setdefault(profile, record)

    assert len(profiles) > 20
    check(con, list(profiles.values()))


def test_what_a_table_lacks_stays_empty(con: duckdb.DuckDBPyConnection) -> None:
    record = read(1, 1, SessionId="s", TokenTenantId="t", OperationCount=7)
    row = by_way_of(con, "OfficeActivity", [record])["id-1"]

    assert (row["SessionId"], row["TokenTenantId"], row["OperationCount"]) == ("", "", 1)


def test_a_column_that_a_table_is_said_to_lack_is_empty_in_it() -> None:
    assert RECORD_TABLES.keys() == SHAPERS.keys()
    assert not lacking_columns("CloudAppEvents") | lacking_columns(OWN)
    assert "TokenTenantId" not in schemas()["OfficeActivity"]
    assert "OperationCount" not in schemas()["OfficeActivity"]
    assert "SessionId" not in schemas()["OfficeActivity"]


@pytest.mark.parametrize("table", TABLES)
def test_a_row_names_only_columns_of_its_table(table: str) -> None:
    assert set(SHAPERS[table](read(1, 1))) <= set(schemas()[table])


def test_a_time_of_another_zone_is_stored_in_utc(con: duckdb.DuckDBPyConnection) -> None:
    east = datetime.fromisoformat("2026-01-01T05:00:00+05:00")
    con.execute("DELETE FROM M365CallerBaseline_CL")
    insert(con, "M365CallerBaseline_CL", [{"FirstSeen": east, "LastSeen": east + timedelta(1)}])
    on = engine(con, materialise=False)

    (row,) = on.run(on.prepare("M365CallerBaseline_CL"), END_OF_TIME)

    assert row["FirstSeen"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert (row["Caller"], row["OperationCount"]) == ("", None)
