"""A few records of mail read, written by hand, and a way to put them into a workspace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from mailvigil.compiler.compile import to_kql, with_windows
from mailvigil.engine.embedded import Engine
from mailvigil.engine.record_rows import SHAPERS, insert
from mailvigil.engine.workspace import open_workspace
from mailvigil.hunt.alerts import Alert, Plan
from mailvigil.hunt.replay import evaluation_times, replay, span, windows
from mailvigil.lab.tenant.profile import DEMO
from mailvigil.rules.content import content_root, load_functions
from mailvigil.rules.kql_rule import KqlRule
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import SigmaRule
from mailvigil.tables.schemas import ARRIVED

ROOT = content_root()
FUNCTIONS = load_functions(ROOT)
RULES = {rule.name: rule for rule in load_rules(ROOT)}
SIGMA = {name: rule for name, rule in RULES.items() if isinstance(rule, SigmaRule)}
KQL = {name: rule for name, rule in RULES.items() if isinstance(rule, KqlRule)}
SINGLE = {name: rule for name, rule in SIGMA.items() if rule.correlation is None}
"""Sigma rules that are a single query."""

START = datetime(2026, 1, 5, tzinfo=UTC)
"""A midnight, before every record."""

TENANT = "11111111-aaaa-4bbb-8ccc-000000000001"
TABLES = tuple(SHAPERS)

TWELVE_DAYS = replace(
    DEMO,
    mailboxes=20,
    days=12,
    reads_a_day=4.0,
    intrusion_days=(9, 10, 11),
    drift_day=20,
    rollout_day=8,
    throttled_day=10,
)
"""A tenant of the lab that is small, with an intruder, a foreign token and throttled mail."""

Record = dict[str, object]
Key = tuple[object, ...]


def at(days: float) -> datetime:
    """Return the moment so many days after the start."""
    return START + timedelta(days=days)


def read(
    number: int, days: float, caller: str = "app-1", mailbox: str = "adele", **fields: object
) -> Record:
    """Return a Bind record, *days* after the start."""
    return {
        "Id": f"id-{number}",
        "CreationTime": f"{at(days):%Y-%m-%dT%H:%M:%S}",
        "Operation": "MailItemsAccessed",
        "Workload": "Exchange",
        "OrganizationId": TENANT,
        "RecordType": 50,
        "UserId": f"{mailbox}@contoso.example",
        "UserType": 0,
        "LogonType": 0,
        "MailboxGuid": f"M-{mailbox}",
        "MailboxOwnerUPN": f"{mailbox}@contoso.example",
        "AppId": caller,
        "ClientInfoString": "Client=OWA;x",
        "ClientIPAddress": "192.0.2.7",
        "ExternalAccess": False,
        "OperationProperties": [
            {"Name": "MailAccessType", "Value": "Bind"},
            {"Name": "IsThrottled", "Value": "False"},
        ],
        "OperationCount": 2,
        **fields,
    }


@contextmanager
def workspace() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an empty workspace in memory for a while."""
    with TemporaryDirectory() as scratch:
        con = open_workspace(None, Path(scratch))
        try:
            yield con
        finally:
            con.close()


def put(
    con: duckdb.DuckDBPyConnection,
    records: Sequence[Record],
    table: str = "M365Activity_CL",
    late: timedelta | None = None,
) -> None:
    """Add *records* to *table*; they arrive at the time of the event, or so much later."""
    rows = [SHAPERS[table](record) for record in records]
    for row in rows if late else ():
        time = row["TimeGenerated"]
        assert isinstance(time, datetime)
        assert late is not None
        row[ARRIVED] = time + late
    insert(con, table, rows)


def engine(con: duckdb.DuckDBPyConnection, *, materialise: bool = True) -> Engine:
    """Return an engine with the shipped functions, their rows materialised if asked for."""
    made = Engine(con, FUNCTIONS)
    if materialise:
        made.materialise()
    return made


def alerts(on: Engine, rule: Rule, plan: Plan, moments: Sequence[datetime]) -> tuple[Alert, ...]:
    """Evaluate *rule* at each of *moments*."""
    covered = span(on)
    assert covered
    text = with_windows(to_kql(rule, ROOT), windows(rule, plan, covered[1] - covered[0]))
    replayed = replay(on, rule, text, moments, lambda: None)
    assert replayed.refused == ""
    return replayed.alerts


def chosen(on: Engine, rule: Rule, plan: Plan) -> tuple[Alert, ...]:
    """Evaluate *rule* at the times that the replay chooses."""
    return alerts(on, rule, plan, evaluation_times(on, rule, ROOT, plan))


def everywhen(on: Engine, rule: Rule, plan: Plan) -> tuple[Alert, ...]:
    """Evaluate *rule* at every step from the first record until its windows are empty."""
    covered = span(on)
    assert covered
    since = datetime(1970, 1, 1, tzinfo=UTC)
    moment = since + (covered[0] - since) // plan.step * plan.step
    moments = []
    while moment <= covered[1] + plan.step + timedelta(days=1):
        moments.append(moment)
        moment += plan.step
    return alerts(on, rule, plan, moments)


def fired(rule: Rule, found: Sequence[Alert]) -> dict[Key, datetime]:
    """Return the causes and the time of each one's first alert, of those with a verdict."""
    first: dict[Key, datetime] = {}
    for alert in found:
        if alert.row["Verdict"] != "insufficient baseline":
            first.setdefault(tuple(alert.row[name] for name in rule.by), alert.time)
    return first


def sorted_rows(rows: Sequence[Mapping[str, object]]) -> list[list[tuple[str, object]]]:
    """Return rows in an order of their own, for comparison."""
    return sorted((sorted(row.items()) for row in rows), key=repr)
