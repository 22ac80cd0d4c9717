"""A record becomes a row, and nothing of it is lost on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given

from audit_feed.records.shape import field, properties, shape, text_of
from connector.records.odd_records import RECORDS, TABLE, Record

GRAPH = "00000003-0000-0000-c000-000000000000"
APP = "AAAAAAAA-0000-4000-8000-00000000000A"


def as_record_says(value: object, told: object) -> bool:
    """Tell whether a column's value says the same as the record's."""
    if isinstance(told, str) and isinstance(value, datetime):
        time = datetime.fromisoformat(told)
        return value == (time if time.tzinfo else time.replace(tzinfo=UTC))
    return type(value) is type(told) and value == told


@given(RECORDS)
def test_no_field_is_lost(record: Record) -> None:
    row = shape(record, TABLE)
    rest = row["Record"]
    assert isinstance(rest, dict)
    holders = {c.holds: c.name for c in TABLE.columns if c.holds}

    for name, value in record.items():
        if name in rest:
            assert rest[name] is value
        else:
            assert as_record_says(row[holders[name]], value)
    assert rest.keys() <= record.keys()


@given(RECORDS)
def test_a_row_has_the_columns_and_types_of_its_table(record: Record) -> None:
    row = shape(record, TABLE)
    kinds = {"string": str, "int": int, "long": int, "bool": bool, "datetime": datetime}

    assert list(row) == [column.name for column in TABLE.columns]
    for column in TABLE.columns:
        value = row[column.name]
        if column.type == "string":
            assert type(value) is str
        elif column.type != "dynamic":
            assert value is None or type(value) is kinds[column.type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AppId", 5),
        ("AppId", None),
        ("AppId", {"a": 1}),
        ("RecordType", "50"),
        ("RecordType", 50.0),
        ("RecordType", 10**9),
        ("OperationCount", 10**18),
        ("ExternalAccess", "true"),
        ("CreationTime", "31.01.2026 12:00"),
        ("CreationTime", 1_700_000_000),
    ],
)
def test_a_value_of_another_type_stays_in_the_record(name: str, value: object) -> None:
    assert shape({name: value}, TABLE)["Record"] == {name: value}


def test_a_held_field_is_stored_once() -> None:
    record = {"AppId": APP, "RecordType": 50, "ExternalAccess": False, "OperationCount": 3}

    assert shape({**record, "Folders": []}, TABLE)["Record"] == {"Folders": []}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:51234", "192.0.2.7"),
        ("[192.0.2.7]:51234", "192.0.2.7"),
        ("[2001:DB8::1]:51234", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("fe80::1%12", "fe80::1"),
        ("[fe80::1%eth0]:443", "fe80::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::FFFF:192.0.2.7]:51234", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("Mail.contoso.example", "mail.contoso.example"),
        ("", ""),
    ],
)
def test_an_address_has_one_form(raw: str, expected: str) -> None:
    row = shape({"ClientIP": raw}, TABLE)

    assert (row["ClientAddress"], row["ClientIP"]) == (expected, raw)


def test_the_address_fields_are_read_in_their_order() -> None:
    both = {"ClientIP": "192.0.2.1", "ClientIPAddress": "192.0.2.2"}

    assert shape(both, TABLE)["ClientAddress"] == "192.0.2.2"
    assert shape({**both, "ClientIPAddress": ""}, TABLE)["ClientAddress"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("record", "caller"),
    [
        ({"ClientAppId": APP, "AppId": GRAPH}, APP.lower()),
        ({"ClientAppId": "", "AppId": GRAPH}, GRAPH),
        ({"ClientAppId": None, "AppId": GRAPH}, GRAPH),
        ({"ClientInfoString": f"Client=WebServices;X[AppId={APP}];"}, APP.lower()),
        ({"AppId": GRAPH, "ClientInfoString": f"[AppId={APP}]"}, GRAPH),
        ({"ClientInfoString": "Client=OWA;X[AppId=];"}, "none"),
        ({"AppId": ""}, "none"),
        ({}, "none"),
    ],
)
def test_the_caller_is_the_application_that_reads(record: Record, caller: str) -> None:
    assert shape(record, TABLE)["Caller"] == caller


@pytest.mark.parametrize(
    ("client", "protocol"),
    [
        ("Client=OWA;Action=ViaProxy", "OWA"),
        ("Client=REST;Client=RESTSystem;;", "REST"),
        ("Client=POP3/IMAP4;Protocol=IMAP4", "POP3"),
        ("Client=;", ""),
        ("", ""),
    ],
)
def test_the_protocol_is_read_from_the_client(client: str, protocol: str) -> None:
    assert shape({"ClientInfoString": client}, TABLE)["Protocol"] == protocol


PLACES: list[object] = [
    [{"Name": "IsThrottled", "Value": "True"}, {"Name": "MailAccessType", "Value": "Bind"}],
    [{"Name": "MailAccessType", "Value": "Bind"}, {"Value": "True", "Name": "IsThrottled"}],
    [{"Value": "Bind", "Name": "MailAccessType"}, {"Name": "IsThrottled", "Value": True}],
    [
        None,
        "x",
        {"Name": "Other"},
        {"Name": "IsThrottled", "Value": "true"},
        {"Name": "IsThrottled", "Value": "false"},
        {"Name": "MailAccessType", "Value": "Bind"},
        {"Name": "MailAccessType", "Value": "Sync"},
    ],
    '[{"Value": "Bind", "Name": "MailAccessType"}, {"Name": "IsThrottled", "Value": "True"}]',
]


@pytest.mark.parametrize("given_properties", PLACES)
def test_a_property_is_read_by_its_name(given_properties: object) -> None:
    row = shape({"OperationProperties": given_properties}, TABLE)

    assert (row["MailAccessType"], row["IsThrottled"]) == ("Bind", True)


@pytest.mark.parametrize(
    "other", ["", "x", "{}", 5, None, {"Name": "IsThrottled", "Value": "True"}]
)
def test_a_property_that_is_missing_stays_empty(other: object) -> None:
    row = shape({"OperationProperties": other}, TABLE)

    assert (row["MailAccessType"], row["IsThrottled"]) == ("", None)
    assert properties(other) == {}


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026-01-31T12:00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.1234567Z", datetime(2026, 1, 31, 12, 0, 0, 123456, UTC)),
        ("2026-01-31T23:00:00-05:30", datetime(2026, 2, 1, 4, 30, tzinfo=UTC)),
        ("2026-01-31T12:00:00.5+02:00", datetime(2026, 1, 31, 10, 0, 0, 500_000, UTC)),
    ],
)
def test_a_time_is_read_in_utc(written: str, time: datetime) -> None:
    row = shape({"CreationTime": written}, TABLE)

    assert row["EventTime"] == row["TimeGenerated"] == time
    assert isinstance(row["EventTime"], datetime)
    assert row["EventTime"].utcoffset() == timedelta()
    assert row["Record"] == {}


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "yesterday",
        "2026-02-30T00:00:00",
        "2026-01-31T24:00:00",
        "2026-01-31T12:00:60",
        "2026-01-31",
        "2026-01-31T12:00:00\n",
        "0001-01-01T00:00:00",
        "2026-01-31T12:00:00+99:00",
        "\u0662026-01-31T12:00:00",
        12,
        None,
    ],
)
def test_what_is_not_a_time_leaves_the_column_empty(nonsense: object) -> None:
    row = shape({"CreationTime": nonsense}, TABLE)

    assert row["EventTime"] is None
    assert row["Record"] == {"CreationTime": nonsense}


def test_a_path_ends_at_what_is_not_an_object() -> None:
    record = {"Item": {"ParentFolder": {"Path": "\\Inbox"}}, "AppAccessContext": "x"}
    row = shape(record, TABLE)

    assert row["ParentFolderPath"] == "\\Inbox"
    assert row["AADSessionId"] == ""
    assert field(record, "Item.ParentFolder.Path.Deeper") is None
    assert field(record, "Absent.Path") is None


def test_text_of_a_list_is_json() -> None:
    assert text_of([1, {"a": "é"}, None]) == '[1,{"a":"é"},null]'
    assert (text_of(None), text_of(value=True)) == ("", "true")


def test_shaping_leaves_the_record_as_it_was() -> None:
    record: Record = {"AppId": APP, "Item": {"ParentFolder": {"Path": "x"}}, "X": [1]}
    before = repr(record)

    shape(record, TABLE)

    assert repr(record) == before
