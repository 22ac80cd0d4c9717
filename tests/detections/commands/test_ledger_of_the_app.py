"""``mailvigil ledger --storage``: the Function app's ledger, asked from elsewhere, on Azurite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from azure.data.tables import TableServiceClient

from audit_feed import app
from audit_feed.ledger.states import BlobRow, expired
from audit_feed.ledger.table import PREFIX, TableLedger
from audit_feed.windows import HOUR, Window, hour_of
from connector.azurite import NAME, Azurite
from connector.made import PARKED, PARKED_LINE, STREAM, blob
from detections.commands.command import run
from mailvigil.collect.ledger_store import CONNECTION
from mailvigil.exit_codes import EXIT_FAILED, EXIT_INPUT, EXIT_OK, EXIT_USAGE

NOW = datetime.now(UTC)
FIRST = hour_of(NOW) - 24 * HOUR


@pytest.fixture
def account(storage: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[TableServiceClient]:
    """Return an account that holds no ledger, and let the command find it, at the time NOW."""
    monkeypatch.setattr(app, "now", lambda: NOW)  # an hour that ends meanwhile is not listed
    monkeypatch.setenv(CONNECTION, storage.connection_string)
    with TableServiceClient.from_connection_string(storage.connection_string) as service:
        for table in service.query_tables(f"TableName ge '{PREFIX}' and TableName lt '{PREFIX}~'"):
            service.delete_table(table.name)
        yield service


@pytest.fixture
def store(account: TableServiceClient) -> TableLedger:
    """Return a ledger that began a day ago and has listed every hour since."""
    made = TableLedger(account)
    made.register_stream(STREAM, FIRST)
    made.mark_listed(STREAM, [FIRST + HOUR * n for n in range(25)], NOW)
    made.note_enabled(STREAM, [FIRST])
    return made


def given_up(row: BlobRow) -> BlobRow:
    """Return the row after the feed has said twice, hours apart, that the blob has expired."""
    return expired(expired(row, NOW - 3 * HOUR), NOW)


def test_asking_an_account_makes_no_ledger_there(account: TableServiceClient) -> None:
    ran = run("ledger", "--storage", NAME)

    assert ran.code == EXIT_INPUT
    assert "there is none in this storage account" in ran.err
    assert not [table for table in account.list_tables() if table.name.startswith(PREFIX)]


@pytest.mark.parametrize("action", ["show", "health"])
def test_a_ledger_without_a_feed_is_an_input_error(
    account: TableServiceClient, action: str
) -> None:
    TableLedger(account)

    ran = run("ledger", action, "--storage", NAME)

    assert ran.code == EXIT_INPUT
    assert "knows no feed yet" in ran.err


def test_a_blob_that_the_app_lost_is_named(store: TableLedger) -> None:
    hour = FIRST + HOUR
    assert run("ledger", "--storage", NAME).code == EXIT_OK
    store.add_blobs([blob("lost", hour, STREAM)], NOW)
    [row] = store.rows(STREAM, Window(hour, hour + HOUR))
    store.put(given_up(row))

    ran = run("ledger", "--storage", NAME, "--format", "json")

    assert ran.code == EXIT_FAILED
    stated = {found["hour"]: found for found in json.loads(ran.out)}
    [wrong] = [found for found in stated.values() if not found["complete"] and found["listed"]]
    assert wrong["hour"] == f"{hour:%Y-%m-%dT%H:%M:%SZ}"
    assert [lost["id"] for lost in wrong["lost_blobs"]] == ["lost"]
    assert len(stated) == 25


def test_an_hour_that_was_closed_with_a_loss_names_it(store: TableLedger) -> None:
    hour = FIRST + HOUR
    store.add_blobs([blob("lost", hour, STREAM)], NOW)
    [row] = store.rows(STREAM, Window(hour, hour + HOUR))
    store.put(given_up(row))
    assert store.snapshots.close_hours(store.snapshots.read(STREAM, Window(FIRST, NOW), NOW), NOW)

    ran = run("ledger", "--storage", NAME)

    assert ran.code == EXIT_FAILED
    assert "lost" in ran.out.partition("given up")[2]


def test_health_names_an_app_that_stands_still(store: TableLedger) -> None:
    assert run("ledger", "health", "--storage", NAME).code == EXIT_OK
    store.mark_listed(STREAM, [FIRST + HOUR * n for n in range(25)], NOW - 3 * HOUR)

    ran = run("ledger", "health", "--storage", NAME)

    assert ran.code == EXIT_FAILED
    assert "WRONG" in ran.out


def test_what_the_app_parked_can_be_printed(store: TableLedger) -> None:
    store.park(blob("b", NOW, STREAM), PARKED)

    ran = run("ledger", "parked", "--storage", NAME)

    assert ran.code == EXIT_OK
    assert json.loads(ran.out) == PARKED_LINE


def test_a_connection_string_of_another_account_is_refused(account: TableServiceClient) -> None:
    assert account.account_name == NAME

    ran = run("ledger", "--storage", "anotheraccount")

    assert ran.code == EXIT_INPUT
    assert "is of another storage account" in ran.err


def test_a_broken_connection_string_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONNECTION, "AccountKey=c2VjcmV0")

    ran = run("ledger", "--storage", NAME)

    assert ran.code == EXIT_INPUT
    assert "no connection string" in ran.err
    assert "c2VjcmV0" not in ran.err + ran.out


@pytest.mark.parametrize("where", ["http://plain.example", "UPPER", "a", "two words"])
def test_an_address_without_tls_is_refused(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("ledger", "--storage", where)

    assert ended.value.code == EXIT_USAGE
    assert "must be a storage account's name" in capsys.readouterr().err


def test_two_ledgers_at_once_are_refused(account: TableServiceClient) -> None:
    assert account.account_name == NAME

    ran = run("ledger", "--storage", NAME, "--config", "collect.yaml")

    assert ran.code == EXIT_INPUT
    assert "name one ledger" in ran.err


def test_nobody_signed_in_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONNECTION, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    monkeypatch.setenv("PATH", "/nowhere")

    ran = run("ledger", "--storage", "mailvigilstore")

    assert ran.code == EXIT_INPUT
    assert ran.err.strip().count("\n") == 0
    assert "az login" in ran.err
