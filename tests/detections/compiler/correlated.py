"""Sigma correlations made for tests, and a small workspace with the records that they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import yaml

from detections.small_tenant import FUNCTIONS, ROOT, TENANT
from mailvigil.compiler.compile import to_kql, with_windows
from mailvigil.compiler.targets import SENTINEL, Target
from mailvigil.engine.embedded import Engine
from mailvigil.engine.record_rows import SHAPERS, insert
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.workspace import open_workspace
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import SigmaRule, parse_sigma_rule
from mailvigil.tables.schemas import ARRIVED

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
PATH = Path("made.yml")
OPERATIONS = {"first": "UserLoggedIn", "second": "New-InboxRule", "third": "Send"}
"""Name of each rule that a correlation may take, and the operation that it asks for."""

_OURS: Mapping[str, object] = {
    "version": "1.0.0",
    "sources": ["M365Activity_CL", "CloudAppEvents"],
    "within": "1d",
    "why": "made",
    "misses": ["made"],
    "triage": ["made"],
    "entities": [{"type": "IP", "identifier": "Address", "column": "Address"}],
}


@dataclass(frozen=True)
class Event:
    """A record, so many seconds before now. Keys of *more* are fields of it."""

    id: int
    before: int
    operation: str = "first"
    user: str = "adele"
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def time(self) -> datetime:
        return NOW - timedelta(seconds=self.before)

    def record(self) -> dict[str, object]:
        return {
            "Id": f"id-{self.id}",
            "CreationTime": f"{self.time:%Y-%m-%dT%H:%M:%S}",
            "Operation": OPERATIONS.get(self.operation, self.operation),
            "OrganizationId": TENANT,
            "UserId": self.user,
            **self.more,
        }


def base(name: str, **detection: object) -> dict[str, object]:
    """Return a rule that a correlation can name."""
    asked = {"Operation": OPERATIONS[name], **detection}
    return {
        "title": f"Rule {name}",
        "name": name,
        "logsource": {"product": "m365", "service": "audit"},
        "detection": {"asked": asked, "condition": "asked"},
    }


def text(
    correlation: Mapping[str, object],
    bases: Sequence[Mapping[str, object]] | None = None,
    **attributes: object,
) -> str:
    """Return a rule file with *correlation* over the rules that it names."""
    named = correlation.get("rules")
    names = [str(name) for name in named] if isinstance(named, list) else []
    bases = bases or [base(name) for name in names if name in OPERATIONS]
    outer = {
        "title": "Made",
        "id": "3b0d1c5e-6f0a-4e3c-9a51-8f1d2c7b4e99",
        "name": "made_correlation",
        "description": "made",
        "level": "high",
        "correlation": dict(correlation),
        "mailvigil": dict(_OURS),
        **attributes,
    }
    return yaml.safe_dump_all([*bases, outer], sort_keys=False)


def rule(type_: str, **correlation: object) -> SigmaRule:
    """Return a rule with a correlation of this type; ``_`` stands for ``-`` in its keys."""
    given: dict[str, object] = {
        "type": type_,
        "rules": ["first"],
        "group-by": ["UserId"],
        "timespan": "1h",
        **{key.replace("_", "-"): value for key, value in correlation.items()},
    }
    return parse_sigma_rule(PATH, text({k: v for k, v in given.items() if v is not None}))


class Bench:
    """A workspace of which one table is filled, and others may hold copies."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con
        self._engine = Engine(con, FUNCTIONS)

    def put(
        self,
        events: Sequence[Event],
        table: str = "M365Activity_CL",
        arrived: Mapping[int, datetime] | None = None,
    ) -> None:
        """Make *events* the only rows of *table*, and *table* the only one with rows."""
        for one in SHAPERS:
            self._con.execute(f'DELETE FROM "{one}"')  # noqa: S608 - names of our own
        rows = [SHAPERS[table](event.record()) for event in events]
        for event, row in zip(events, rows, strict=True):
            row[ARRIVED] = (arrived or {}).get(event.id, event.time)
            if table == "CloudAppEvents":
                row |= {
                    "Timestamp": event.time,
                    "ReportId": f"report-{event.id}",
                    "AccountObjectId": f"object-{event.user}",
                }
        insert(self._con, table, rows)

    def copy(self, events: Sequence[Event], table: str) -> None:
        """Add *events* to *table*, which holds them beside the table that was filled."""
        insert(self._con, table, [SHAPERS[table](event.record()) for event in events])

    def ask(
        self, rule: Rule, target: Target = SENTINEL, now: datetime = NOW, recent: str = "1d"
    ) -> list[ResultRow]:
        """Return what the compiled *rule* returns at *now*."""
        judged = {"frequency": recent, "delay": "0d"} if target.arrivals else {"recent": recent}
        kql = with_windows(to_kql(rule, ROOT, target), judged)
        return self._engine.run(self._engine.prepare(kql), now)

    def rows(self, rule: Rule, events: Sequence[Event]) -> list[ResultRow]:
        """Return what *rule* returns over *events*."""
        self.put(events)
        return self.ask(rule)


@contextmanager
def bench() -> Iterator[Bench]:
    """Open an empty workspace."""
    with TemporaryDirectory() as scratch:
        con = open_workspace(None, Path(scratch), memory_limit="256MB")
        con.execute("SET threads = 1")
        try:
            yield Bench(con)
        finally:
            con.close()
