"""All attacks by name, and how one is put into a workspace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import duckdb

from mailvigil.engine.record_tables import SHAPERS, insert
from mailvigil.lab.tenant.attacks import apps, insiders, tokens
from mailvigil.lab.tenant.attacks.story import Attack, SignIn, Unlogged, World
from mailvigil.lab.tenant.dice import Dice
from mailvigil.tables.schemas import ARRIVED
from mailvigil.times import parse_utc

TABLE = "M365Activity_CL"

_MAKERS: tuple[Callable[[World], Attack], ...] = (
    tokens.storm_0558,
    tokens.storm_0558_common_id,
    apps.slow_graph_app,
    apps.consent_phishing,
    tokens.phished_session,
    tokens.synced_mailbox,
    tokens.throttled_bulk,
    tokens.foreign_token,
    insiders.delegate_abuse,
    insiders.bypass_then_read,
    insiders.licence_removed_then_read,
    tokens.ews_script,
    tokens.spray,
    apps.stolen_app,
)


def attacks(world: World) -> Mapping[str, Attack]:
    """Return every attack on *world*, by name."""
    made = [make(world) for make in _MAKERS]
    return {attack.name: attack for attack in made}


def commit(con: duckdb.DuckDBPyConnection, attack: Attack, seed: int) -> tuple[datetime, ...]:
    """Put *attack* into the workspace *con* and return when each of its records arrives (UTC).

    Records arrive 30 to 90 minutes after their event, sign-ins 5 minutes after.
    """
    dice = Dice(seed, "late", attack.name)
    late = [timedelta(seconds=1800 + dice.below(3600)) for _ in attack.records]
    arrivals = tuple(happened(one) + after for one, after in zip(attack.records, late, strict=True))
    shaped = [SHAPERS[TABLE](record) | {"Record": None} for record in attack.records]
    con.begin()  # a file would else be synchronised for every row
    insert(con, TABLE, [row | {ARRIVED: at} for row, at in zip(shaped, arrivals, strict=True)])
    for sign_in in attack.sign_ins:
        insert(con, sign_in.table, [_row(sign_in)])
    for unlogged in attack.unlogged:
        _leave_out(con, unlogged)
    con.commit()
    return arrivals


def happened(record: Mapping[str, object]) -> datetime:
    """Return a record's time, aware, in UTC."""
    return parse_utc(str(record["CreationTime"]))


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


def _leave_out(con: duckdb.DuckDBPyConnection, unlogged: Unlogged) -> None:
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
