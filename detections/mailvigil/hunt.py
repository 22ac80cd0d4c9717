"""The hunt: load exports, replay every rule over them, and say what was found."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import duckdb

from mailvigil import baseline
from mailvigil.approved import load_approved
from mailvigil.compile import to_kql, whole_causes, with_windows
from mailvigil.content import Function, content_root, load_functions
from mailvigil.engine import Engine, Row
from mailvigil.errors import InputError
from mailvigil.exports.load import Limits, LoadReport, load
from mailvigil.findings import (
    INSUFFICIENT,
    Finding,
    Key,
    NameOf,
    causes,
    finding,
    key_of,
)
from mailvigil.replay import Alert, Plan, Replayed, replay, span, ticks, windows
from mailvigil.rules import Rule, load_rules
from mailvigil.workspace import END_OF_TIME, open_workspace

_READS_RECORD = re.compile(r"\bRecord\b")
_FIRED = "_Fired"


class Progress(Protocol):
    """What the hunt tells while it works. Nothing it does depends on it."""

    def file(self, name: str, records: int) -> None:
        """Tell that *name* is being read (0) or has been read (its records)."""

    def phase(self, name: str, ticks: int) -> None:
        """Tell that a step of *ticks* parts begins."""

    def tick(self) -> None:
        """Tell that one part is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to hunt in, and how. No *paths* means: a *workspace* saved earlier."""

    paths: tuple[str, ...]
    workspace: Path | None = None
    plan: Plan = Plan()
    rules: tuple[str, ...] = ()
    baseline: Path | None = None
    save_baseline: Path | None = None
    approved: Path | None = None
    strict: bool = False
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunted:
    """What came of a hunt. ``span`` is the first and last access (aware UTC), or None.

    ``records`` counts what the files held, ``distinct_records`` what is left without repeats,
    ``distinct`` the MailItemsAccessed records that the rules judged.
    """

    load: LoadReport
    distinct_records: int
    distinct: int
    span: tuple[datetime, datetime] | None
    replayed: tuple[Replayed, ...]
    findings: tuple[Finding, ...]

    @property
    def records(self) -> int:
        """Readable records in all files, repeats included."""
        return sum(file.records for file in self.load.files)

    @property
    def unreadable(self) -> int:
        """Rows and records that could not be read."""
        return sum(file.unreadable_count for file in self.load.files)


def hunt(request: Request, *, stdin: BinaryIO, name_of: NameOf, progress: Progress) -> Hunted:
    """Load what *request* names, replay the rules over it and return what was found.

    Raises:
        InputError: A file cannot be used; see :func:`mailvigil.exports.load.load`.
        RuleError: A rule of the content is broken.

    """
    root = content_root()
    functions = load_functions(root)
    rules = _selected(load_rules(root), request.rules)
    texts = {rule.name: to_kql(rule, root) for rule in rules}
    with tempfile.TemporaryDirectory(prefix="mailvigil") as scratch:
        con = open_workspace(request.workspace, Path(scratch))
        try:
            loaded = _load(con, request, stdin, progress, Path(scratch), _keep_record(request, functions, texts))
            engine = Engine(con, functions)
            progress.phase("joining sources", 1)
            engine.keep_functions()
            return _judge(con, engine, request, rules, texts, loaded, name_of, progress)
        finally:
            con.close()


def _selected(rules: Sequence[Rule], names: Sequence[str]) -> tuple[Rule, ...]:
    known = {rule.name: rule for rule in rules} | {rule.id: rule for rule in rules}
    for name in names:
        if name not in known:
            listed = ", ".join(rule.name for rule in rules)
            raise InputError("--rules", f"no rule {name!r}", f"there are {listed}")
    wanted = {known[name].name for name in names}
    return tuple(rule for rule in rules if not names or rule.name in wanted)


def _keep_record(request: Request, functions: Sequence[Function], texts: Mapping[str, str]) -> bool:
    """Tell whether the column Record is wanted: it takes half of the memory."""
    read = any(_READS_RECORD.search(text) for text in (*texts.values(), *(f.body for f in functions)))
    return request.workspace is not None or read


def _load(  # noqa: PLR0913 - the collaborators of a load, named at the one call
    con: duckdb.DuckDBPyConnection,
    request: Request,
    stdin: BinaryIO,
    progress: Progress,
    scratch: Path,
    keep_record: bool,  # noqa: FBT001 - private
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
            keep_record=keep_record,
            progress=progress.file,
        )
    if request.approved:
        load_approved(con, request.approved)
    if request.baseline:
        baseline.load_baseline(con, request.baseline)
    return loaded


def _judge(  # noqa: PLR0913 - as above
    con: duckdb.DuckDBPyConnection,
    engine: Engine,
    request: Request,
    rules: Sequence[Rule],
    texts: Mapping[str, str],
    loaded: LoadReport,
    name_of: NameOf,
    progress: Progress,
) -> Hunted:
    covered = span(engine)
    replayed = []
    found: list[Finding] = []
    for rule in rules:
        at = ticks(engine, rule, content_root(), request.plan) if covered else []
        progress.phase(rule.name, len(at))
        length = covered[1] - covered[0] if covered else request.plan.step
        text = with_windows(texts[rule.name], windows(rule, request.plan, length))
        replayed.append(replay(engine, rule, text, at, progress.tick))
        found.extend(_findings(engine, rule, replayed[-1].alerts, name_of))
    if request.save_baseline:
        baseline.save_baseline(engine, request.save_baseline)
    return Hunted(
        load=loaded,
        distinct_records=_count(con, 'SELECT count(*) FROM "M365Activity_CL"'),
        distinct=_count(con, 'SELECT count(*) FROM "_MailItemsAccessed"'),
        span=covered,
        replayed=tuple(replayed),
        findings=tuple(sorted(found, key=lambda f: f.order)),
    )


def _findings(
    engine: Engine, rule: Rule, alerts: Sequence[Alert], name_of: NameOf
) -> list[Finding]:
    groups = causes(rule, alerts)
    wholes = _wholes(engine, rule, groups)
    return [finding(rule, group, wholes[key], name_of) for key, group in groups.items()]


def _wholes(engine: Engine, rule: Rule, groups: Mapping[Key, Sequence[Alert]]) -> Mapping[Key, Row]:
    """Return for each cause its row over all of its records, from its first access on."""
    if not groups:
        return {}
    columns = {**dict.fromkeys(rule.by, "string"), "Since": "datetime"}
    engine.put(_FIRED, columns, [(*key, group[0].row["FirstSeen"]) for key, group in groups.items()])
    query = engine.prepare(whole_causes(rule, content_root(), _FIRED))
    return {key_of(rule, row): row for row in engine.run(query, END_OF_TIME)}


def _count(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = con.execute(sql).fetchone()
    return int(row[0]) if row else 0


def insufficient(replayed: Replayed) -> int:
    """Return how many rows were no alert because there was too little history."""
    return sum(alert.row["Verdict"] == INSUFFICIENT for alert in replayed.alerts)
