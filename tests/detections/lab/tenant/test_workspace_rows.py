"""An ordinary month made in the workspace holds what the records of one would have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from detections.lab.tenant.record_shape import check_address
from detections.small_tenant import workspace
from mailvigil.errors import InputError
from mailvigil.lab.tenant.clients import BILLING, CRM, MIGRATION, OWA, VAULT
from mailvigil.lab.tenant.profile import ordinary_month
from mailvigil.lab.tenant.uses import approvals, moves, ordinary_life
from mailvigil.lab.tenant.workspace_rows import fill

MONTH = ordinary_month(mailboxes=100, days=30)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with workspace() as con:
        fill(con, MONTH, ordinary_life(MONTH), tmp_path_factory.mktemp("month"))
        yield con


def one(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[object, ...]:
    row = con.execute(sql).fetchone()
    assert row
    return tuple(row)


def digest(con: duckdb.DuckDBPyConnection) -> tuple[object, ...]:
    return one(con, "SELECT count(*), bit_xor(hash(t)) FROM M365Activity_CL t")


def test_the_same_profile_gives_the_same_rows(
    month: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    with workspace() as con:
        fill(con, MONTH, ordinary_life(MONTH), tmp_path)
        again = digest(con)

    assert digest(month) == again


def test_another_seed_gives_another_month(month: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with workspace() as con:
        other_month = ordinary_month(mailboxes=100, days=30, seed=2)
        fill(con, other_month, ordinary_life(other_month), tmp_path)
        other = digest(con)

    assert digest(month) != other


def test_every_record_comes_once_and_lies_within_the_month(
    month: duckdb.DuckDBPyConnection,
) -> None:
    rows, ids, first, last = one(
        month,
        "SELECT count(*), count(DISTINCT RecordId), min(EventTime), max(EventTime) "
        "FROM M365Activity_CL",
    )

    assert rows == ids
    assert isinstance(rows, int)
    assert rows > 100 * 20 * 4
    start, end = MONTH.midnight(0).replace(tzinfo=None), MONTH.midnight(30).replace(tzinfo=None)
    assert start <= first < last < end  # type: ignore[operator]  # datetimes


def test_records_arrive_30_to_90_minutes_after_their_event(
    month: duckdb.DuckDBPyConnection,
) -> None:
    found = one(
        month,
        "SELECT min(_arrived - EventTime), max(_arrived - EventTime) FROM M365Activity_CL",
    )

    assert timedelta(minutes=30) <= found[0] < found[1] < timedelta(minutes=90)  # type: ignore[operator]  # intervals


def test_every_address_is_of_a_documentation_range(month: duckdb.DuckDBPyConnection) -> None:
    found = month.execute("SELECT DISTINCT ClientAddress FROM M365Activity_CL").fetchall()
    for (address,) in found:
        check_address(address)

    assert len(found) > 100


def test_every_column_fits_the_kind_of_record(month: duckdb.DuckDBPyConnection) -> None:
    wrong = one(
        month,
        "SELECT count(*) FROM M365Activity_CL WHERE Operation = 'MailItemsAccessed' AND ("
        "(MailAccessType = 'Sync') <> (RecordType = 2) OR (OperationCount IS NULL) <> "
        "(RecordType = 2) OR (ParentFolderName = '') = (RecordType = 2) OR Caller = '' "
        "OR (UserType = 5) <> (UserId = AppId) OR MailboxOwnerUPN = '')",
    )

    assert wrong == (0,)


def test_what_drifts_in_real_tenants_drifts_after_the_learning_days(
    month: duckdb.DuckDBPyConnection,
) -> None:
    first = dict(
        month.execute(
            "SELECT Caller, date_diff('day', TIMESTAMP '2026-06-15', min(EventTime)) "
            "FROM M365Activity_CL GROUP BY 1"
        ).fetchall()
    )

    assert first[VAULT] == 0
    assert all(first[caller] > MONTH.learning for caller in (OWA, CRM, MIGRATION.app_id))
    assert 10 <= first[BILLING.app_id] <= 17
    approved = {a.caller: a.since.days for a in approvals(MONTH)}
    assert approved.keys() == {VAULT, OWA, CRM, MIGRATION.app_id, BILLING.app_id}
    assert approved[CRM] > first[CRM]
    assert approved[OWA] > first[OWA]


def test_the_watchlist_knows_an_approval_from_its_day_on(month: duckdb.DuckDBPyConnection) -> None:
    found = one(
        month,
        "SELECT _arrived FROM _Watchlists WHERE Reason = 'customer database' "
        "AND ValidFrom = strftime(_arrived, '%Y-%m-%dT%H:%M:%SZ')",
    )

    since = next(a.since for a in approvals(MONTH) if a.caller == CRM)
    assert found[0] == (MONTH.start + since).replace(tzinfo=None)


def test_every_session_of_a_browser_has_a_sign_in(month: duckdb.DuckDBPyConnection) -> None:
    without = one(
        month,
        "SELECT count(DISTINCT SessionId) FROM M365Activity_CL WHERE Protocol = 'OWA' "
        "AND SessionId <> '' AND Caller <> 'none' AND SessionId NOT IN (SELECT SessionId FROM "
        "SigninLogs UNION SELECT SessionId FROM AADNonInteractiveUserSignInLogs)",
    )

    assert without == (0,)


def test_some_travel_and_some_get_another_network_at_home(month: duckdb.DuckDBPyConnection) -> None:
    stays = [stay for person in range(MONTH.mailboxes) for stay in moves(MONTH, person)]
    seen = dict(
        month.execute(
            "SELECT ClientAddress, date_diff('day', TIMESTAMP '2026-06-15', min(EventTime)) "
            "FROM M365Activity_CL WHERE ClientAddress LIKE '2001:db8:f%' GROUP BY 1"
        ).fetchall()
    )

    assert {stay.home for stay in stays} == {True, False}
    assert len(seen) > 5
    first = {stay.address: stay.first_day for stay in stays}
    assert all(day >= first[address] >= MONTH.learning for address, day in seen.items())


def test_a_traveller_is_never_at_two_places_within_the_hour(
    month: duckdb.DuckDBPyConnection,
) -> None:
    found = one(
        month,
        "SELECT count(*) FROM M365Activity_CL a JOIN M365Activity_CL b USING (UserId, Caller, "
        "Protocol) WHERE a.ClientAddress LIKE '2001:db8:f___:%' "
        "AND a.ClientAddress < '2001:db8:f8' "
        "AND b.ClientAddress <> a.ClientAddress AND a.UserId = a.MailboxOwnerUPN "
        "AND b.UserId = b.MailboxOwnerUPN AND abs(date_diff('minute', a.EventTime, b.EventTime)) "
        "<= 60",
    )

    assert found == (0,)


@pytest.mark.parametrize("wrong", [{"mailboxes": 99}, {"days": 13}], ids=str)
def test_a_month_that_would_show_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="backtest: "):
        ordinary_month(**wrong)
