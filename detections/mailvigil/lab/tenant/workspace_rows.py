"""A tenant's life made in the workspace itself: fast, and without JSON.

Every use of a mailbox is one real record, shaped once by the connector's own
columns. DuckDB repeats it over the days of the use, with its own time, id, address and count.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import orjson

from audit_feed.columns import load_table
from mailvigil.engine.loaded_columns import ColumnChoice, note_not_loaded
from mailvigil.engine.record_rows import SHAPERS, insert
from mailvigil.engine.shape_sql import TYPES, select_rows
from mailvigil.lab.tenant.attacks.story import Attack, SignIn, UnloggedReading, happened
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.people import FOLDERS, SELDOM, MadeUpTenant, tenant_of
from mailvigil.lab.tenant.portal_files import approved_rows
from mailvigil.lab.tenant.profile import Profile
from mailvigil.lab.tenant.uses import (
    LEARNING_DAYS,
    MONTH_END,
    ON_LEAVE,
    WEEKEND,
    WEEKENDS,
    Use,
    approvals,
)
from mailvigil.tables.schemas import APPROVED_CALLERS, ARRIVED, schemas

TABLE = "M365Activity_CL"


def fill(
    con: duckdb.DuckDBPyConnection, profile: Profile, life: Iterable[Use], scratch: Path
) -> int:
    """Fill the empty workspace *con* with *life* and return how many audit records there are.

    Records arrive 30 to 90 minutes after their event, sign-ins 5 minutes after. The column
    ``Record`` is not made, and a query that reads it is refused.
    """
    tenant, file = tenant_of(profile), scratch / "uses.jsonl"
    _write(tenant, life, file)
    con.execute(f"CREATE TEMP TABLE uses AS SELECT * FROM read_json('{file}', {_READING})")
    columns = ColumnChoice(frozenset(schemas()[TABLE]) - {"Record"})
    shaped = select_rows("SELECT record AS text FROM uses", load_table(TABLE), columns)
    note_not_loaded(con, columns)
    con.execute(f"CREATE TEMP TABLE templates AS {shaped}")
    con.execute(_DAYS, [profile.days, f"{profile.start:%Y-%m-%d}", profile.seed])
    con.execute(_filled(TABLE, _RECORD, _RECORDS))
    for table, kind in _SIGN_INS.items():
        con.execute(_filled(table, _SIGN_IN, _SIGNED.format(kind=kind)))
    _beat(con, profile, tenant.organization_id)
    _approve(con, profile)
    for name in ("uses", "templates", "days_of_use"):
        con.execute(f"DROP TABLE {name}")
    row = con.execute(f'SELECT count(*) FROM "{TABLE}"').fetchone()
    return int(row[0]) if row else 0


def commit(
    con: duckdb.DuckDBPyConnection,
    attack: Attack,
    seed: int,
    later: timedelta = timedelta(0),
) -> tuple[datetime, ...]:
    """Put *attack* into the workspace *con* and return when each of its records arrives (UTC).

    Records arrive 30 to 90 minutes and *later* after their event, sign-ins 5 minutes after.
    """
    dice = Dice(seed, "late", attack.name)
    late = [timedelta(seconds=1800 + dice.below(3600)) for _ in attack.records]
    times = map(happened, attack.records)
    arrivals = tuple(at + after + later for at, after in zip(times, late, strict=True))
    shaped = [SHAPERS[TABLE](record) | {"Record": None} for record in attack.records]
    con.begin()  # a file would else be synchronised for every row
    insert(con, TABLE, [row | {ARRIVED: at} for row, at in zip(shaped, arrivals, strict=True)])
    for sign_in in attack.sign_ins:
        insert(con, sign_in.table, [_row(sign_in)])
    for unlogged in attack.unlogged:
        _leave_out(con, unlogged)
    con.commit()
    return arrivals


def _row(sign_in: SignIn) -> dict[str, object]:
    return {
        "TimeGenerated": sign_in.at,
        "CreatedDateTime": sign_in.at,
        "Id": sign_in.token,
        "UserPrincipalName": sign_in.user,
        "AppId": sign_in.app,
        "IPAddress": sign_in.address,
        "ResultType": "0",
        "SessionId": sign_in.session,
        "UniqueTokenIdentifier": sign_in.token,
        ARRIVED: sign_in.at + timedelta(minutes=5),
    }


def _leave_out(con: duckdb.DuckDBPyConnection, unlogged: UnloggedReading) -> None:
    """Delete the reading that would not have been logged."""
    con.execute(
        f"DELETE FROM \"{TABLE}\" WHERE Operation = 'MailItemsAccessed' AND EventTime >= $since "
        "AND EventTime < $until AND (MailboxOwnerUPN = $mailbox OR UserId = $reader) "
        "AND (NOT $binds OR MailAccessType = 'Bind')",
        {
            "since": unlogged.since.replace(tzinfo=None),
            "until": unlogged.until.replace(tzinfo=None),
            "mailbox": unlogged.mailbox,
            "reader": unlogged.reader,
            "binds": unlogged.binds_only,
        },
    )


def _approve(con: duckdb.DuckDBPyConnection, profile: Profile) -> None:
    """Put the approvals on the watchlist, each from its own day on."""
    rows = [
        {
            **row,
            ARRIVED: profile.start + approval.since,
            "_Alias": APPROVED_CALLERS,
            "SearchKey": row["Caller"],
        }
        for row, approval in zip(approved_rows(profile), approvals(profile), strict=True)
    ]
    insert(con, "_Watchlists", rows)


def _write(tenant: MadeUpTenant, life: Iterable[Use], file: Path) -> None:
    """Write one line a use; the record's Id is the number of its line."""
    with file.open("wb") as out:
        for number, use in enumerate(life):
            record = {**use.sample(tenant), "Id": str(number)}
            line = {name: getattr(use, name) for name in _OF_USE}
            line |= {"number": number, "record": orjson.dumps(record).decode()}
            out.write(orjson.dumps(line) + b"\n")


_OF_USE = {
    "addresses": "VARCHAR[]",
    "opens": "INTEGER",
    "closes": "INTEGER",
    "mean": "DOUBLE",
    "items": "INTEGER",
    "first_day": "INTEGER",
    "last_day": "INTEGER",
    "rhythm": "VARCHAR",
    "chance": "DOUBLE",
    "person": "INTEGER",
    "sign_in": "VARCHAR",
    "session": "VARCHAR",
    "own_session": "BOOLEAN",
    "sync": "BOOLEAN",
    "filing": "DOUBLE",
}
"""What the SQL reads of a use, and its type."""

_READING = "format = 'newline_delimited', columns = {number: 'BIGINT', record: 'VARCHAR', " + (
    ", ".join(f"{name}: '{kind}'" for name, kind in _OF_USE.items()) + "}"
)


def _draw(*key: str) -> str:
    """Return SQL for a number in [0, 1) that is the same for the same key."""
    return (
        f"(md5_number_lower(concat_ws('/', {', '.join(key)})) >> 11)::DOUBLE / (1::HUGEINT << 53)"
    )


def _guid(text: str) -> str:
    return f"regexp_replace(md5({text}), {_GUID_PARTS})"


_GUID_PARTS = r"'(.{8})(.{4})(.{4})(.{4})(.{12})', '\1-\2-\3-\4-\5'"


_DAYS = f"""
CREATE TEMP TABLE days_of_use AS
WITH days AS (
    SELECT d::INTEGER AS d, midnight, isodow(midnight) < 6 AS works,
        day(midnight + INTERVAL {MONTH_END} DAY) <= {MONTH_END} AS ends
    FROM (SELECT d, $2::TIMESTAMP + d * INTERVAL 1 DAY AS midnight FROM range($1) t(d)))
SELECT u.*, d, midnight,
    'k' || number || '/' || d || '/' || $3::VARCHAR AS key,
    greatest(1, floor(mean * CASE WHEN works OR rhythm <> 'any' THEN 1 ELSE {WEEKEND} END
        * (0.5 + {_draw("'count'", "number", "d", "$3")})))::INTEGER AS count,
    CASE WHEN {_draw("'place'", "number", "d", "$3")} < 0.3 THEN addresses[-1]
        ELSE addresses[1] END AS address,
    md5(concat_ws('/', session, d, $3)) AS seen
FROM uses u, days
WHERE d BETWEEN first_day AND last_day
    AND CASE rhythm WHEN 'working' THEN works WHEN 'month-end' THEN ends
        WHEN 'every' THEN true
        ELSE works OR {_draw("'weekend'", "number", "d", "$3")} < {WEEKENDS} END
    AND {_draw("'day'", "number", "d", "$3")} < chance
    AND (person < 0 OR d < {LEARNING_DAYS}
        OR {_draw("'leave'", "person", "d // 7", "$3")} >= {ON_LEAVE})
"""
"""The days on which each use happens. Weekends are quiet, one in twenty is on leave."""

_RECORDS = f"""
SELECT t.* EXCLUDE ({ARRIVED}), a.*, a.midnight + to_seconds(CAST(opens + (closes - opens)
    * ((low & 4294967295)::DOUBLE + (low >> 32)::DOUBLE) / 8589934592 AS BIGINT)) AS happened
FROM (SELECT *, md5_number_lower(key || '/' || i) AS low, md5_number_upper(key || '/' || i) AS up
    FROM (SELECT *, unnest(range(count)) AS i FROM days_of_use)) a
JOIN templates t ON t.RecordId = a.number::VARCHAR
ORDER BY happened, key, i
"""

_LATE = "happened + to_seconds((1800 + up % 3600)::BIGINT)"


def _folder() -> str:
    """Return SQL for the folder of a record: Inbox more often than the other busy ones."""
    inbox, *others = FOLDERS
    busy = [inbox] * len(others) + others
    few, most = ([name for name, _, _ in folders] for folders in (SELDOM, busy))
    pick = "[1 + ((up >> 8) % {})::BIGINT]"
    return (
        "CASE WHEN NOT sync THEN '' WHEN (up >> 20) % 1000 < 1000 * filing "
        f"THEN {few}{pick.format(len(few))} ELSE {most}{pick.format(len(most))} END"
    )


_RECORD = {
    "TimeGenerated": "happened",
    "EventTime": "happened",
    "RecordId": _guid("key || '/' || i"),
    "ClientAddress": "address",
    "ClientIPAddress": "CASE WHEN ClientIPAddress <> '' THEN address ELSE '' END",
    "ClientIP": "CASE WHEN ClientIP <> '' THEN address ELSE '' END",
    "SessionId": f"CASE WHEN own_session THEN {_guid('seen')} ELSE '' END",
    "AADSessionId": f"CASE WHEN sign_in = 'user' AND up % 16 = 0 THEN {_guid('seen')} ELSE '' END",
    "UniqueTokenId": "CASE WHEN sign_in <> '' AND up % 5 = 0 THEN upper(seen[1:22]) ELSE '' END",
    "TokenTenantId": "CASE WHEN sign_in <> '' AND up % 3 = 0 THEN OrganizationId ELSE '' END",
    "OperationCount": "CASE WHEN OperationCount IS NOT NULL THEN 1 + (up >> 8) % items END",
    "ParentFolderPath": "CASE WHEN sync THEN 'Not Available' ELSE '' END",
    "ParentFolderName": _folder(),
    ARRIVED: _LATE,
}
"""What differs from one repetition of a use to the other."""

_SIGN_INS = {
    "SigninLogs": "sign_in = 'user' AND isodow(midnight) = 1",
    "AADNonInteractiveUserSignInLogs": "sign_in = 'user' AND isodow(midnight) <> 1",
    "AADServicePrincipalSignInLogs": "sign_in = 'app'",
}
"""Table to who signs in there: on Mondays people type a password, else a token is refreshed."""

_SIGNED = """
SELECT any_value(t.OrganizationId) AS organization, any_value(t.UserId) AS upn,
    any_value(t.Caller) AS app, arg_min(d.address, d.opens) AS address, d.seen,
    min(d.midnight) + to_seconds(min(d.opens) - 30) AS happened
FROM days_of_use d JOIN templates t ON t.RecordId = d.number::VARCHAR
WHERE {kind} GROUP BY d.seen ORDER BY happened, seen
"""

_SIGN_IN = {
    "TimeGenerated": "happened",
    "CreatedDateTime": "happened",
    "AADTenantId": "organization",
    "Id": _guid("seen || '/row'"),
    "UserPrincipalName": "upn",
    "AppId": "app",
    "IPAddress": "address",
    "ResultType": "'0'",
    "SessionId": _guid("seen"),
    "UniqueTokenIdentifier": "upper(seen[1:22])",
    ARRIVED: "happened + INTERVAL 5 MINUTE",
}


def _filled(table: str, values: dict[str, str], rows: str) -> str:
    """Return SQL that adds *rows* to *table*; a column without a value keeps its template's."""
    columns = {**schemas()[table], ARRIVED: "datetime"}
    templated = frozenset(schemas()[TABLE]) - {"Record"} if table == TABLE else frozenset()
    listed = [
        f'{values[name]} AS "{name}"' if name in values
        else f'"{name}"' if name in templated
        else f'{_nothing(kind)} AS "{name}"'
        for name, kind in columns.items()
    ]  # fmt: skip
    return f'INSERT INTO "{table}" SELECT {", ".join(listed)} FROM ({rows})'


def _nothing(kind: str) -> str:
    return "''" if kind == "string" else f"NULL::{TYPES[kind]}"


def _beat(con: duckdb.DuckDBPyConnection, profile: Profile, organization: str) -> None:
    """Add the collector's heartbeats: one an hour, of a feed that is well."""
    values = {
        "TimeGenerated": "t",
        "OrganizationId": f"'{organization}'",
        "ContentType": "'Audit.Exchange'",
        "Complete": "true",
        "HoursMissing": "0",
        "Expired": "0",
        "Rejected": "0",
        "LagSeconds": "3600",
        "Collector": "'collector-1'",
        ARRIVED: "t",
    }
    hours = (
        f"SELECT TIMESTAMP '{profile.start:%Y-%m-%d}' + h * INTERVAL 1 HOUR AS t "
        f"FROM range({24 * profile.days + 48}) x(h)"
    )
    con.execute(_filled("M365FeedHealth_CL", values, hours))
