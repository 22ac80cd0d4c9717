"""Judge a rule on the rows that its compiled query returns, from the ``.test.yaml`` beside it.

A rule is judged as by a hunt with one evaluation in its window ``recent``, unless the case sets
``frequency`` and ``delay``. Each case runs on every table that the rule says can feed it, and
without the baseline's table unless it gives rows for it. A case gives records as they are in an
audit log (``each: {at: [-2d, -3d]}`` for one a value), and the rows that the query must return: all
of them, naming only the columns that matter. Hunting queries are tested in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import duckdb

from mailvigil.compiler.compile import with_windows
from mailvigil.engine.embedded import Engine, NotRunError, Query, QueryError
from mailvigil.engine.many_moments import MOMENT, NUMBER
from mailvigil.engine.record_rows import SHAPERS, SourceRow, insert
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.workspace import arrived_rows
from mailvigil.errors import RuleError
from mailvigil.rules.content import Function, not_yaml
from mailvigil.rules.kql_rule import KqlRule
from mailvigil.rules.sigma_rule import SigmaRule
from mailvigil.tables.record_tables import RECORD_TABLES, lacking_columns
from mailvigil.tables.schemas import APPROVED_CALLERS, ARRIVED, schemas
from mailvigil.times import parse_utc
from mailvigil.yaml_input import YamlError, load_yaml

FILE_NAME = re.compile(r"[a-z][a-z0-9_]{4,49}")
"""The name that the file of whatever is tested must have, without its ending."""

_AGO = re.compile(r"-(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")
FILE_KEYS = frozenset({"now", "defaults", "table_defaults", "tests"})
CASE_KEYS = frozenset({"name", "given", "baseline", "approved", "tables", "let", "expect"})
_CAME = "_arrived"
"""In a record of a case: when its row came (aware UTC)."""

_BASELINE, _WATCHLISTS = "M365CallerBaseline_CL", "_Watchlists"
"""Tables of the rows under ``baseline`` and ``approved``."""

_CASES = "cases"
"""The schema of tables that hold the rows of many runs side by side, told apart by ``_RUN``."""

_RUN = "_run"


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


def name_problems(name: str) -> Iterator[str]:
    """Yield what is wrong with the *name* of the file of whatever is tested, without its ending."""
    if not FILE_NAME.fullmatch(name):
        yield "the file's name is not of 5 to 50 small letters, digits and _"


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
        baseline=_table_rows(_BASELINE, _rows(item, "baseline"), now),
        approved=_table_rows(
            _WATCHLISTS,
            ({**row, "_Alias": APPROVED_CALLERS} for row in _rows(item, "approved")),
            now,
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
        table: _table_rows(
            table, ({**of_tables.get(table, {}), **row} for row in _rows(given, table)), now
        )
        for table in given
    }


def _table_rows(
    table: str, rows: Iterable[Mapping[str, object]], now: datetime
) -> tuple[SourceRow, ...]:
    """Return *rows* of *table*; a column that it lacks raises, as it would say nothing."""
    made = tuple(_times(row, now) for row in rows)
    unknown = {str(name) for row in made for name in row} - {*schemas()[table], ARRIVED}
    if unknown:
        msg = f"{table} has no column {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    return made


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
    """Runs cases in one workspace, emptied between rules."""

    def __init__(self, con: duckdb.DuckDBPyConnection, functions: Sequence[Function]) -> None:
        self._con = con
        self._engines = {has: Engine(con, functions, absent(has)) for has in (True, False)}
        row = con.execute("SELECT current_database()").fetchone()
        self._main = str(row[0]) if row else ""
        con.execute(f"CREATE SCHEMA IF NOT EXISTS {_CASES}")
        for table in schemas():
            con.execute(
                f'CREATE OR REPLACE TABLE {_CASES}."{table}" AS '
                f'SELECT *, 0 AS {_RUN} FROM "{table}" LIMIT 0'
            )

    def outcomes(self, rule: Tested, kql: str, cases: Sequence[Case]) -> Iterator[CaseOutcome]:
        """Yield one outcome for each case and each workspace of :func:`workspaces`."""
        alike: dict[tuple[bool, str], list[int]] = {}
        for number, case in enumerate(cases):
            text = with_windows(kql, {**one_evaluation(rule, kql), **case.lets})
            alike.setdefault((bool(case.baseline), text), []).append(number)
        judged: dict[int, list[CaseOutcome]] = {}
        for (has, text), numbers in alike.items():
            same = [cases[number] for number in numbers]
            judged |= zip(numbers, self._judged(rule, self._engines[has], text, same), strict=True)
        for number in range(len(cases)):
            yield from judged[number]

    def _judged(
        self, rule: Tested, engine: Engine, text: str, cases: Sequence[Case]
    ) -> list[list[CaseOutcome]]:
        """Return the outcomes of each of *cases*, which run the same *text*."""
        try:
            query = engine.prepare(text)
        except (NotRunError, QueryError) as error:
            verdict = "not run" if isinstance(error, NotRunError) else "fail"
            why = (str(error),)
            return [[CaseOutcome(rule.name, case.name, "", verdict, why)] for case in cases]
        tables = workspaces(rule)
        runs = [_Run(case, sources) for case in cases for sources in tables]
        problems = self._problems(engine, query, runs)
        outcomes = [run.outcome(rule, wrong) for run, wrong in zip(runs, problems, strict=True)]
        starts = range(0, len(outcomes), len(tables))
        return [outcomes[start : start + len(tables)] for start in starts]

    def _problems(self, engine: Engine, query: Query, runs: Sequence[_Run]) -> list[list[str]]:
        """Return what is wrong in each run: all by one query, as to plan it takes most of the time.

        Where that fails, each run alone says which of them it is.
        """
        self._fill_side_by_side(runs)
        views = {table: self._rows_of_run(table) for table in engine.tables_read(query)}
        try:
            results = engine.run_in_each(query, [run.case.now for run in runs], views)
        except QueryError:
            return [self._problems_alone(engine, query, run) for run in runs]
        return [run.differences(rows) for run, rows in zip(runs, results, strict=True)]

    def _rows_of_run(self, table: str) -> str:
        rows = arrived_rows(self._main, table, MOMENT, _CASES)
        return f"SELECT * EXCLUDE ({_RUN}) FROM ({rows}) WHERE {_RUN} = {NUMBER}"

    def _fill_side_by_side(self, runs: Sequence[_Run]) -> None:
        tables: dict[str, list[SourceRow]] = {table: [] for table in schemas()}
        for number, run in enumerate(runs):
            for table, rows in run.rows():
                tables[table] += [{**row, _RUN: number} for row in rows]
        for table, rows in tables.items():
            into = f'{_CASES}."{table}"'
            self._con.execute(f"DELETE FROM {into}")
            insert(self._con, table, rows, into=into, more={_RUN: "int"})

    def _problems_alone(self, engine: Engine, query: Query, run: _Run) -> list[str]:
        fill(self._con, run.case, *run.sources)
        try:
            rows = engine.run(query, run.case.now)
        except QueryError as error:
            return [str(error)]
        finally:
            for table, _ in run.rows():
                self._con.execute(f'DELETE FROM "{table}"')
        return run.differences(rows)


@dataclass(frozen=True, slots=True)
class _Run:
    """A case on some tables."""

    case: Case
    sources: tuple[str, ...]

    def rows(self) -> Iterator[tuple[str, Sequence[SourceRow]]]:
        """Yield the rows of each table in this run."""
        return case_rows(self.case, self.sources)

    def differences(self, rows: Sequence[ResultRow]) -> list[str]:
        """Return how *rows* differ from those expected."""
        return differences(self.case.expect, rows, lacking_columns(self.sources[0]))

    def outcome(self, rule: Tested, problems: Sequence[str]) -> CaseOutcome:
        """Return the outcome of a run with these *problems*."""
        verdict = "fail" if problems else "pass"
        sources = " + ".join(self.sources)
        return CaseOutcome(rule.name, self.case.name, sources, verdict, tuple(problems))


def one_evaluation(rule: Tested, kql: str) -> Mapping[str, str]:
    """Return the windows under which one run judges all that arrived in the rule's own window."""
    if not isinstance(rule, SigmaRule | KqlRule) or "\nlet frequency = " not in f"\n{kql}":
        return {}
    return {"frequency": rule.within, "delay": "0d"}


def workspaces(rule: Tested) -> list[tuple[str, ...]]:
    """Return the tables that hold a case's records: each source alone, and two together.

    The two are the richest table of records and the poorest; every record is in both. The poorest
    is there also where it cannot feed the rule alone: the functions read it.
    """
    records = [table for table in RECORD_TABLES if table in rule.sources]
    poorest = list(RECORD_TABLES)[-1]
    together = [(records[0], poorest)] if records and records[0] != poorest else []
    return [*((source,) for source in rule.sources), *together]


def absent(baseline: object) -> frozenset[str]:
    """Return the tables that a case goes without: most tenants have no *baseline*."""
    return frozenset() if baseline else frozenset({_BASELINE})


def fill(con: duckdb.DuckDBPyConnection, case: Case, *sources: str) -> None:
    """Put the case's rows into an empty workspace, its records into each table of *sources*."""
    for table, rows in case_rows(case, sources):
        insert(con, table, rows)


def case_rows(case: Case, sources: Sequence[str]) -> Iterator[tuple[str, Sequence[SourceRow]]]:
    """Yield tables with rows of the case; its records are in each table of *sources*.

    Where a source carries no audit records, the case has rows for it among its tables.
    """
    for source in sources:
        if source in SHAPERS:
            yield source, [_source_row(source, record) for record in case.given]
    yield from case.tables.items()
    yield _BASELINE, case.baseline
    yield _WATCHLISTS, case.approved


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
