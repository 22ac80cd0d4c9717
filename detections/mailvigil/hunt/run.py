"""The hunt: load exports, replay every rule over them, and say what was found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import duckdb

from mailvigil.compiler.compile import (
    RECORD_COLUMNS,
    record_rows,
    to_kql,
    whole_causes,
    with_windows,
)
from mailvigil.compiler.sigma_filters import load_filters
from mailvigil.compiler.targets import FUNCTION
from mailvigil.engine import row_values
from mailvigil.engine.embedded import Engine, NotRunError, QueryError
from mailvigil.engine.loaded_columns import ALL_COLUMNS, ColumnChoice
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.workspace import END_OF_TIME, open_workspace
from mailvigil.errors import InputError
from mailvigil.exports.digests import digest
from mailvigil.exports.load import load
from mailvigil.exports.load_progress import LoadProgress
from mailvigil.exports.load_report import LoadReport
from mailvigil.hunt import baseline, evidence_queries
from mailvigil.hunt.alerts import Alert, Plan, Replayed
from mailvigil.hunt.approved import load_approved
from mailvigil.hunt.evidence import HuntEvidence
from mailvigil.hunt.findings import (
    CauseKey,
    Finding,
    NameOf,
    causes,
    key_of,
    key_types,
    make_finding,
    merged,
)
from mailvigil.hunt.play_bins import bin_count, play_bins
from mailvigil.hunt.replay import (
    evaluation_times,
    replay,
    span,
    whole_span,
    windows,
    without_tables,
)
from mailvigil.hunt.request import HuntRequest
from mailvigil.hunt.result import HuntResult
from mailvigil.hunt.summary_bins import SEEN, BinFaults, PlayedBins
from mailvigil.rules.content import Function, content_root, load_functions
from mailvigil.rules.load_rules import load_rules, with_filters
from mailvigil.rules.rule import Rule
from mailvigil.rules.summary_rule import load_summary_rules
from mailvigil.tables.record_tables import RECORD_TABLES
from mailvigil.tables.schemas import schemas

_FIRED = "_Fired"
_DISTINCT = " + ".join(f'(SELECT count(*) FROM "{table}")' for table in RECORD_TABLES)


class HuntProgress(LoadProgress, Protocol):
    """Receives how far the hunt is. Nothing that the hunt finds depends on it."""

    def phase(self, name: str, parts: int) -> None:
        """Begin a step of so many *parts*; 0 means unknown."""

    def advance(self) -> None:
        """Count one part as done."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules of this hunt, their compiled texts by name, and where the content is."""

    root: Path
    functions: tuple[Function, ...]
    chosen: tuple[Rule, ...]
    texts: Mapping[str, str]


def hunt(
    request: HuntRequest, *, stdin: BinaryIO, name_of: NameOf, progress: HuntProgress
) -> HuntResult:
    """Load what *request* names, replay the rules over it and return what was found.

    Raises:
        InputError: A file cannot be used; see :func:`mailvigil.exports.load.load`.
        RuleError: A rule of the content is broken.

    """
    rules = _rules(content_root(), request.rules, request.filters)
    with (
        tempfile.TemporaryDirectory(prefix="mailvigil") as scratch,
        _workspace(request, Path(scratch)) as con,
    ):
        engine = Engine(con, rules.functions)
        columns = _columns_read(request, rules)
        to_load = engine.columns_to_load(columns)
        loaded = _load(con, request, stdin, progress, Path(scratch), to_load)
        progress.phase("joining sources", 0)
        engine.materialise(columns)
        covered = span(engine)
        whole = whole_span(engine)
        filled = frozenset(name for name in schemas() if _count(con, f'EXISTS (FROM "{name}")'))
        played = _play_bins(con, engine, request.summary, filled, covered, progress)
        plan = replace(request.plan, memory=request.plan.memory or SEEN) if played else request.plan
        judged = [
            without_tables(rule, filled) or _judge(engine, rules, rule, plan, whole, progress)
            for rule in rules.chosen
        ]
        unsorted = [f for replayed in judged for f in _findings(engine, rules, replayed, name_of)]
        findings = tuple(sorted(unsorted, key=lambda f: f.order))
        if request.save_baseline:
            baseline.save_baseline(engine, request.save_baseline)
        return HuntResult(
            load=loaded,
            distinct_records=_count(con, _DISTINCT),
            distinct=_count(con, f'count(DISTINCT RecordId) FROM "_{FUNCTION}"'),
            span=covered,
            replayed=tuple(judged),
            findings=findings,
            evidence=_evidence(engine, rules, request, findings, covered, progress),
            summary=played,
        )


def _play_bins(
    con: duckdb.DuckDBPyConnection,
    engine: Engine,
    faults: BinFaults | None,
    filled: frozenset[str],
    covered: tuple[datetime, datetime] | None,
    progress: HuntProgress,
) -> PlayedBins | None:
    """Write what the summary rules would have written, where that was asked for."""
    if faults is None or covered is None:
        return None
    rules = load_summary_rules(content_root())
    if not {rule.table for rule in rules} & filled - {baseline.TABLE}:
        what = "the data has no row of a table that they read"
        todo = "load OfficeActivity or CloudAppEvents, as Log Analytics exports them"
        raise InputError("--summary-rules", what, todo)
    wanted = [rule for rule in rules if rule.table in filled | {baseline.TABLE}]
    progress.phase("summary rules", bin_count(wanted, covered))
    return play_bins(con, engine, wanted, covered, faults, progress.advance)


def _columns_read(request: HuntRequest, rules: _Rules) -> ColumnChoice:
    """Return the columns that this hunt's queries name; of a file that stays, all columns."""
    if request.save or request.workspace:
        return ALL_COLUMNS
    evidence = evidence_queries.QUERIES if request.evidence else ()
    summary = [rule.query for rule in load_summary_rules(rules.root)] if request.summary else []
    return ColumnChoice.of_queries(
        [*rules.texts.values(), *RECORD_COLUMNS, *baseline.QUERIES, *evidence, *summary]
    )


def _evidence(
    engine: Engine,
    rules: _Rules,
    request: HuntRequest,
    findings: Sequence[Finding],
    covered: tuple[datetime, datetime] | None,
    progress: HuntProgress,
) -> HuntEvidence | None:
    if not request.evidence:
        return None
    progress.phase("gathering evidence", 0)
    return evidence_queries.gather(engine, rules.root, findings, covered, request.evidence)


@contextmanager
def _workspace(request: HuntRequest, scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the workspace; one to be saved gets its name only when all went well."""
    unfinished = request.save.with_name(f"{request.save.name}.part") if request.save else None
    if unfinished:
        unfinished.unlink(missing_ok=True)
    con = open_workspace(unfinished or request.workspace, scratch)
    try:
        yield con
    except BaseException:
        con.close()
        if unfinished:
            unfinished.unlink(missing_ok=True)
        raise
    con.close()
    if unfinished and request.save:
        unfinished.replace(request.save)


def _rules(root: Path, names: Sequence[str], filters: Path | None) -> _Rules:
    rules = load_rules(root)
    if filters:
        rules = with_filters(rules, load_filters(filters))
    chosen = _selected(rules, names)
    texts = {rule.name: to_kql(rule, root) for rule in chosen}
    return _Rules(root, load_functions(root), chosen, texts)


def _selected(rules: Sequence[Rule], names: Sequence[str]) -> tuple[Rule, ...]:
    known = {rule.name: rule for rule in rules} | {rule.id: rule for rule in rules}
    for name in names:
        if name not in known:
            listed = ", ".join(rule.name for rule in rules)
            raise InputError("--rules", f"no rule {name!r}", f"there are {listed}")
    wanted = {known[name].name for name in names}
    return tuple(rule for rule in rules if not names or rule.name in wanted)


def _load(
    con: duckdb.DuckDBPyConnection,
    request: HuntRequest,
    stdin: BinaryIO,
    progress: HuntProgress,
    scratch: Path,
    columns: ColumnChoice,
) -> LoadReport:
    loaded = LoadReport(())
    if request.paths:
        loaded = load(
            con,
            request.paths,
            scratch=scratch,
            stdin=stdin,
            limits=request.limits,
            strict=request.strict,
            columns=columns,
            digest=bool(request.evidence),
            progress=progress,
        )
    if request.approved:
        load_approved(con, request.approved)
    if request.baseline:
        baseline.load_baseline(con, request.baseline)
    if request.evidence:
        beside = [path for path in (request.approved, request.baseline) if path]
        sources = (*loaded.sources, *(digest(str(path), path) for path in beside))
        loaded = replace(loaded, sources=sources)
    return loaded


def _judge(
    engine: Engine,
    rules: _Rules,
    rule: Rule,
    plan: Plan,
    covered: tuple[datetime, datetime] | None,
    progress: HuntProgress,
) -> Replayed:
    if covered is None:
        return Replayed(rule, 0, (), "")
    try:
        times = evaluation_times(engine, rule, rules.root, plan)
    except (NotRunError, QueryError) as error:
        return Replayed(rule, 0, (), str(error))
    progress.phase(rule.name, len(times))
    text = with_windows(rules.texts[rule.name], windows(rule, plan, covered[1] - covered[0]))
    return replay(engine, rule, text, times, progress.advance)


def _findings(engine: Engine, rules: _Rules, replayed: Replayed, name_of: NameOf) -> list[Finding]:
    rule = replayed.rule
    groups = causes(rule, replayed.alerts)
    wholes = _wholes(engine, rules, rule, groups)
    return [make_finding(rule, group, wholes[key], name_of) for key, group in groups.items()]


def _wholes(
    engine: Engine, rules: _Rules, rule: Rule, groups: Mapping[CauseKey, Sequence[Alert]]
) -> Mapping[CauseKey, ResultRow]:
    """Return for each cause its row over all of its records, from its first access on.

    Where the records lack a column of the cause, the row is merged from its alerts.
    """
    if not groups:
        return {}
    records = engine.prepare("\n".join(record_rows(rule, rules.root)))
    if not set(rule.by) <= engine.columns(records):
        return {key: merged(group) for key, group in groups.items()}
    columns = {**key_types(rule.by, groups), "Since": "datetime", "Until": "datetime"}
    bounds = [(*key, *_bounds(rule, group)) for key, group in groups.items()]
    engine.put(_FIRED, columns, bounds)
    query = engine.prepare(whole_causes(rule, rules.root, _FIRED))
    return {key_of(rule, row): row for row in engine.run(query, END_OF_TIME)}


def _bounds(rule: Rule, group: Sequence[Alert]) -> tuple[object, object]:
    """Return from when and until when records belong to the cause."""
    first = min(row_values.time(alert.row["FirstSeen"]) for alert in group)
    last = max(row_values.time(alert.row["LastSeen"]) for alert in group)
    return first, last if rule.bounded else END_OF_TIME


def _count(con: duckdb.DuckDBPyConnection, what: str) -> int:
    row = con.execute(f"SELECT {what}").fetchone()
    return int(row[0]) if row else 0
