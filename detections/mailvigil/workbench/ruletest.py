"""Judge a rule on the rows that its compiled query returns, from the ``.test.yaml`` beside it.

A rule is judged as by a hunt with one evaluation in its window ``recent``, unless the case sets
``frequency`` and ``delay``. Each case runs on every table that the rule says can feed it, and
without the baseline's table unless it gives rows for it. A case gives records as they are in an
audit log (``each: {at: [-2d, -3d]}`` for one a value), and the rows that the query must return: all
of them, naming only the columns that matter. Hunting queries are tested in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import duckdb

from mailvigil.compiler.compile import with_windows
from mailvigil.engine.embedded import Engine, NotRunError, Query, QueryError
from mailvigil.engine.record_rows import SHAPERS, SourceRow, insert
from mailvigil.engine.row_values import ResultRow
from mailvigil.errors import RuleError
from mailvigil.rules.content import Function, not_yaml
from mailvigil.rules.kql_rule import KqlRule
from mailvigil.rules.sigma_rule import SigmaRule
from mailvigil.tables.record_tables import RECORD_TABLES, lacking_columns
from mailvigil.tables.schemas import ARRIVED, schemas
from mailvigil.times import parse_utc
from mailvigil.yaml_input import YamlError, load_yaml

_AGO = re.compile(r"-(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")
FILE_KEYS = frozenset({"now", "defaults", "table_defaults", "tests"})
CASE_KEYS = frozenset({"name", "given", "baseline", "approved", "tables", "let", "expect"})
_CAME = "_arrived"
"""In a record of a case: when its row came (aware UTC)."""

_FILLED = ("M365CallerBaseline_CL", "_Watchlists")


@dataclass(frozen=True, slots=True)
class Case:
    """One case: what is in the tables at ``now`` (aware UTC), and the rows expected.

    ``given`` are audit records, put into each source in turn; ``tables`` are rows of other
    tables, by table. ``lets`` are other values for what the query declares at its top.
    """

    name: str
    now: datetime
    given: tuple[Mapping[str, object], ...]
    baseline: tuple[SourceRow, ...]
    approved: tuple[SourceRow, ...]
    expect: tuple[Mapping[str, object], ...]
    tables: Mapping[str, tuple[SourceRow, ...]] = field(default_factory=dict)
    lets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """What became of one case on one table: ``verdict`` is pass, fail or not run."""

    rule: str
    case: str
    source: str
    verdict: str
    problems: tuple[str, ...]


class Tested(Protocol):
    """A rule or a hunting query: what is tested."""

    @property
    def name(self) -> str:
        """Its file's name without the ending."""

    @property
    def path(self) -> Path:
        """Its file."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The tables that it is tested on."""


def test_path(rule: Tested) -> Path:
    """Return where the tests of *rule* are."""
    return rule.path.with_name(f"{rule.name}.test.yaml")


test_path.__test__ = False  # type: ignore[attr-defined]  # pytest must not collect it


def load_cases(path: Path) -> tuple[Case, ...]:
    """Return the cases in *path*.

    Raises:
        RuleError: The file is not there or is not a test file.

    """
    try:
        data = load_yaml(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise TypeError("not a mapping of names to values")  # noqa: TRY301 - one way out
        unknown = set(data) - FILE_KEYS
        if unknown:
            raise ValueError(f"unknown keys {sorted(unknown)}")  # noqa: TRY301 - one way out
        now = parse_utc(str(data["now"]))
        of_tables = data.get("table_defaults", {})
        return tuple(
            _case(item, data.get("defaults", {}), of_tables, now) for item in data["tests"]
        )
    except OSError as error:
        raise RuleError([f"{path}: no tests (write one that fires and one near miss)"]) from error
    except YamlError as error:
        raise not_yaml(path, error) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RuleError([f"{path}: not a test file: {error!r}"]) from error


def _case(
    item: Mapping[str, object],
    defaults: Mapping[str, object],
    of_tables: Mapping[str, Mapping[str, object]],
    now: datetime,
) -> Case:
    unknown = set(item) - CASE_KEYS
    if unknown:
        msg = f"unknown keys {sorted(unknown)} in case {item.get('name')!r}"
        raise ValueError(msg)
    return Case(
        name=str(item["name"]),
        now=now,
        given=tuple(
            _record({**defaults, **given_record}, now)
            for row in _rows(item, "given")
            for given_record in _each(row)
        ),
        baseline=tuple(_times(row, now) for row in _rows(item, "baseline")),
        approved=tuple(
            {**_times(row, now), "_Alias": "ApprovedMailCallers"} for row in _rows(item, "approved")
        ),
        expect=tuple(_times(row, now) for row in _rows(item, "expect")),
        tables=_tables(item, of_tables, now),
        lets={str(name): str(value) for name, value in _mapping(item, "let").items()},
    )


def _tables(
    item: Mapping[str, object], of_tables: Mapping[str, Mapping[str, object]], now: datetime
) -> Mapping[str, tuple[SourceRow, ...]]:
    given = _mapping(item, "tables")
    if not set(given) <= set(schemas()):
        msg = f"tables is not a mapping of known tables to rows in case {item.get('name')!r}"
        raise ValueError(msg)
    return {
        table: tuple(
            _times({**of_tables.get(table, {}), **row}, now) for row in _rows(given, table)
        )
        for table in given
    }


def _mapping(item: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = item.get(key) or {}
    if not isinstance(value, Mapping):
        msg = f"{key} is not a mapping in case {item.get('name')!r}"
        raise TypeError(msg)
    return value


def _rows(item: Mapping[str, object], key: str) -> list[dict[str, object]]:
    value = item.get(key) or []
    if not isinstance(value, list):
        msg = f"{key} is not a list in case {item.get('name')!r}"
        raise TypeError(msg)
    return [dict(row) for row in value]


def _each(row: dict[str, object]) -> Iterator[dict[str, object]]:
    """Yield *row*, or one for each value that ``each`` lists for one of its fields."""
    each = row.pop("each", None)
    if each is None:
        yield row
        return
    if not isinstance(each, Mapping) or len(each) != 1:
        msg = f"each is not a field with its values: {each!r}"
        raise ValueError(msg)
    [(name, values)] = each.items()
    for number, value in enumerate(values):
        yield {**row, "Id": f"{row.get('Id')}-{number}", name: value}


def _record(row: dict[str, object], now: datetime) -> Mapping[str, object]:
    """Return a record; ``at: -3d12h`` gives its CreationTime, ``arrived`` when its row came."""
    moment = _ago(str(row.pop("at")), now) if "at" in row else None
    time = {"CreationTime": moment.strftime("%Y-%m-%dT%H:%M:%S")} if moment else {}
    late = {_CAME: _ago(str(row.pop("arrived")), now)} if "arrived" in row else {}
    return {**row, **time, **late}


def _times(row: Mapping[str, object], now: datetime) -> dict[str, object]:
    return {
        name: _ago(value, now)
        if isinstance(value, str) and value.startswith("-") and _AGO.fullmatch(value)
        else value
        for name, value in row.items()
    }


def _ago(text: str, now: datetime) -> datetime:
    parsed = _AGO.fullmatch(text)
    if not parsed or text == "-":
        msg = f"{text!r} is not a time before now such as -3d or -1d12h30m"
        raise ValueError(msg)
    days, hours, minutes = (int(part or 0) for part in parsed.groups())
    return now - timedelta(days=days, hours=hours, minutes=minutes)


class CaseRunner:
    """Runs cases in one workspace, emptied between them."""

    def __init__(self, con: duckdb.DuckDBPyConnection, functions: Sequence[Function]) -> None:
        self._con = con
        self._engines = {has: Engine(con, functions, absent(has)) for has in (True, False)}

    def outcomes(self, rule: Tested, kql: str, cases: Sequence[Case]) -> Iterator[CaseOutcome]:
        """Yield one outcome for each case and each workspace of :func:`workspaces`."""
        for case in cases:
            try:
                windows = {**one_evaluation(rule, kql), **case.lets}
                query = self._engines[bool(case.baseline)].prepare(with_windows(kql, windows))
            except (NotRunError, QueryError) as error:
                verdict = "not run" if isinstance(error, NotRunError) else "fail"
                yield CaseOutcome(rule.name, case.name, "", verdict, (str(error),))
                continue
            for sources in workspaces(rule):
                problems = tuple(self._problems(query, case, sources))
                verdict = "fail" if problems else "pass"
                yield CaseOutcome(rule.name, case.name, " + ".join(sources), verdict, problems)

    def _problems(self, query: Query, case: Case, sources: Sequence[str]) -> list[str]:
        for table in _FILLED:
            self._con.execute(f'DELETE FROM "{table}"')
        fill(self._con, case, *sources)
        try:
            rows = self._engines[bool(case.baseline)].run(query, case.now)
        except QueryError as error:
            return [str(error)]
        finally:
            for table in (*sources, *case.tables):
                self._con.execute(f'DELETE FROM "{table}"')
        return differences(case.expect, rows, lacking_columns(sources[0]))


def one_evaluation(rule: Tested, kql: str) -> Mapping[str, str]:
    """Return the windows under which one run judges all that arrived in the rule's own window."""
    if not isinstance(rule, SigmaRule | KqlRule) or "\nlet frequency = " not in f"\n{kql}":
        return {}
    return {"frequency": rule.within, "delay": "0d"}


def workspaces(rule: Tested) -> list[tuple[str, ...]]:
    """Return the tables that hold a case's records: each source alone, and two together.

    The two are the richest table of records and the poorest; every record is in both.
    """
    records = [table for table in RECORD_TABLES if table in rule.sources]
    together = [(records[0], records[-1])] if len(records) > 1 else []
    return [*((source,) for source in rule.sources), *together]


def absent(baseline: object) -> frozenset[str]:
    """Return the tables that a case goes without: most tenants have no *baseline*."""
    return frozenset() if baseline else frozenset({"M365CallerBaseline_CL"})


def fill(con: duckdb.DuckDBPyConnection, case: Case, *sources: str) -> None:
    """Put the case's rows into an empty workspace, its records into each table of *sources*.

    Where a source carries no audit records, the case has rows for it among its tables.
    """
    for source in sources:
        if source in SHAPERS:
            insert(con, source, [_source_row(source, record) for record in case.given])
    for table, rows in case.tables.items():
        insert(con, table, list(rows))
    insert(con, "M365CallerBaseline_CL", list(case.baseline))
    insert(con, "_Watchlists", list(case.approved))


def _source_row(source: str, record: Mapping[str, object]) -> SourceRow:
    row = SHAPERS[source]({name: value for name, value in record.items() if name != _CAME})
    # OfficeActivity says when a record was made, the other tables when its row came.
    time = ARRIVED if source == "OfficeActivity" else "TimeGenerated"
    return {**row, time: record[_CAME]} if _CAME in record else row


def differences(
    expected: Sequence[Mapping[str, object]], rows: Sequence[ResultRow], lacks: frozenset[str]
) -> list[str]:
    """Return what is missing and what is too much, comparing only the columns named.

    Lists are compared as sets. Columns in *lacks* are left out: the source has no such field.
    """
    left = list(rows)
    problems = []
    for want in sorted(expected, key=len, reverse=True):  # the most exact one chooses first
        fitting = next((row for row in left if _fits(want, row, lacks)), None)
        if fitting is None:
            problems.append(f"missing: {dict(want)}")
        else:
            left.remove(fitting)
    return problems + [f"not expected: {_brief(row)}" for row in left]


def _fits(want: Mapping[str, object], row: ResultRow, lacks: frozenset[str]) -> bool:
    return all(
        name in row and _plain(row[name]) == _plain(value)
        for name, value in want.items()
        if name not in lacks
    )


def _plain(value: object) -> object:
    if isinstance(value, list):
        return sorted({str(v) for v in value})
    return value


def _brief(row: ResultRow) -> dict[str, object]:
    return {
        n: str(v) if isinstance(v, datetime) else v for n, v in row.items() if v not in ("", [])
    }
