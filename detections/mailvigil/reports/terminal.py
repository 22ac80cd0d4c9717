"""Print the findings of a hunt: as a table for people, as JSON and as CSV for programs. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailvigil.hunt.alerts import Plan, Replayed
from mailvigil.hunt.finding_id import finding_id
from mailvigil.hunt.findings import Finding, display_name
from mailvigil.hunt.result import HuntResult
from mailvigil.hunt.summary_bins import MOST_LOST, PlayedBins
from mailvigil.printable import counted, defused, visible
from mailvigil.reports.wording import volume
from mailvigil.rules.durations import kql_duration

SCHEMA_VERSION = 1
"""Version of the JSON form; ``findings.schema.json`` describes it."""

_FORGOTTEN_SHOWN = 20
"""Forgotten callers that are named; JSON has all."""

_SHOWN = 3
"""Values of a list that the table shows before it says how many more there are."""


def as_json(result: HuntResult, plan: Plan) -> str:
    """Return the hunt as one JSON object with ``summary`` and ``findings``."""
    whole = {
        "schema_version": SCHEMA_VERSION,
        "summary": _summary(result, plan),
        "findings": [_finding(f) for f in result.findings],
    }
    # ASCII alone: every console can encode it, and nothing in a log can steer a terminal.
    return json.dumps(whole, indent=2)


def _summary(result: HuntResult, plan: Plan) -> Mapping[str, object]:
    named = [bad for file in result.load.files for bad in file.unreadable]
    return {
        "files": [
            {
                "name": file.name,
                "form": file.form,
                "table": file.table,
                "records": file.records,
                "unreadable": file.unreadable_count,
            }
            for file in result.load.files
        ],
        "sources": [
            {"name": s.name, "size": s.size, "sha256": s.sha256} for s in result.load.sources
        ],
        "skipped_files": [{"file": s.file, "why": s.why} for s in result.load.skipped],
        "records": result.records,
        "unreadable": result.unreadable,
        "unreadable_rows": [{"file": b.file, "line": b.line, "why": b.why} for b in named],
        "distinct": result.distinct,
        "distinct_records": result.distinct_records,
        "span": {"first": _iso(result.span[0]), "last": _iso(result.span[1])}
        if result.span
        else None,
        "step": kql_duration(plan.step),
        "as_of": _iso(plan.as_of) if plan.as_of else None,
        "ticks": max((r.evaluations for r in result.replayed), default=0),
        "rules": [_ran(r, result.findings) for r in result.replayed],
        "summary_rules": _played(result.summary) if result.summary else None,
    }


def _played(played: PlayedBins) -> Mapping[str, object]:
    return {
        "bins": [
            {
                "rule": played_bin.rule,
                "day": played_bin.day.isoformat(),
                "rows": played_bin.rows,
                "late": played_bin.late,
                "stopped": played_bin.stopped,
            }
            for played_bin in played.bins
        ],
        "forgotten": [
            {
                "organization": caller.organization,
                "caller": caller.caller,
                "protocol": caller.protocol,
                "last": _iso(caller.last),
                "since": _iso(caller.since),
                "again": _iso(caller.again) if caller.again else None,
            }
            for caller in played.forgotten
        ],
    }


def _ran(replayed: Replayed, findings: Sequence[Finding]) -> Mapping[str, object]:
    return {
        "rule": replayed.rule.name,
        "version": replayed.rule.version,
        "severity": replayed.rule.severity,
        "verdict": "not run" if replayed.not_run else "run",
        "why_not_run": replayed.not_run,
        "ticks": replayed.evaluations,
        "findings": sum(f.rule.name == replayed.rule.name for f in findings),
        "insufficient_baseline": replayed.insufficient,
    }


def _finding(finding: Finding) -> Mapping[str, object]:
    return {
        "id": str(finding_id(finding)),
        "rule": finding.rule.name,
        "title": finding.rule.title,
        "version": finding.rule.version,
        "severity": finding.rule.severity,
        "first": _iso(finding.first),
        "last": _iso(finding.last),
        "first_alert": _iso(finding.first_alert),
        "alerts": finding.alerts,
        "key": dict(finding.key),
        "callers": [{"id": id_, "name": name} for id_, name in finding.callers.items()],
        "protocols": list(finding.protocols),
        "mailboxes": list(finding.mailboxes),
        "users": list(finding.users),
        "addresses": list(finding.addresses),
        "sessions": list(finding.sessions),
        "operation_count": finding.operations,
        "records": finding.records,
        "why": finding.why,
        "next": list(finding.rule.triage),
    }


def as_csv(result: HuntResult) -> str:
    """Return one line a finding; lists are joined by blanks, formulas are defused.

    Cells hold no control characters: see :func:`visible`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    rows = [_flat(f) for f in result.findings]
    writer.writerow(_CSV_COLUMNS)
    writer.writerows([[defused(row[name]) for name in _CSV_COLUMNS] for row in rows])
    return out.getvalue()


_CSV_COLUMNS = (
    "rule", "version", "severity", "first", "last", "caller", "caller_name", "protocol",
    "mailboxes", "users", "addresses", "sessions", "operation_count", "records", "why", "next",
)  # fmt: skip


def _flat(finding: Finding) -> Mapping[str, object]:
    return {
        "rule": finding.rule.name,
        "version": finding.rule.version,
        "severity": finding.rule.severity,
        "first": _iso(finding.first),
        "last": _iso(finding.last),
        "caller": " ".join(finding.callers),
        "caller_name": ", ".join(name for name in finding.callers.values() if name),
        "protocol": " ".join(finding.protocols),
        "mailboxes": " ".join(finding.mailboxes),
        "users": " ".join(finding.users),
        "addresses": " ".join(finding.addresses),
        "sessions": " ".join(finding.sessions),
        "operation_count": finding.operations,
        "records": finding.records,
        "why": finding.why,
        "next": " ".join(finding.rule.triage),
    }


def print_table(result: HuntResult, console: Console) -> None:
    """Print what was read and found. What comes from logs is shown as text, never as markup."""
    for line in summary_lines(result):
        console.print(Text(visible(line)), soft_wrap=True)
    for finding in result.findings:
        console.print()
        console.print(_table(finding))


def summary_lines(result: HuntResult) -> list[str]:
    """Return the sentences above the findings."""
    lines = [
        f"{_read(result)}; {result.distinct:,} distinct MailItemsAccessed.",
        *(f"  unreadable: {bad}" for file in result.load.files for bad in file.unreadable[:_SHOWN]),
        *(f"  left out: {bad}" for bad in result.load.skipped[:_SHOWN]),
    ]
    if result.span:
        lines.append(f"Mail was read from {_short(result.span[0])} to {_short(result.span[1])}.")
    lines.extend(_summary_rule_lines(result.summary) if result.summary else ())
    lines.extend(_rule_line(replayed) for replayed in result.replayed)
    lines.append(f"{counted(len(result.findings), 'finding')}.")
    return lines


def _read(result: HuntResult) -> str:
    files, skipped = len(result.load.files), len(result.load.skipped)
    if not files and not skipped:
        return f"{counted(result.distinct_records, 'record')} in the workspace"
    return (
        f"{counted(result.records, 'record')} read from {counted(files, 'file')}, "
        f"{result.unreadable:,} unreadable, {counted(skipped, 'other file')} left out"
    )


def _rule_line(replayed: Replayed) -> str:
    if replayed.not_run:
        return f"  {replayed.rule.name}: not run: {replayed.not_run}"
    few = replayed.insufficient
    note = f"; {few} with an insufficient baseline, not judged" if few else ""
    at = counted(replayed.evaluations, "run")
    return f"  {replayed.rule.name} {replayed.rule.version}: {at}{note}"


def _summary_rule_lines(played: PlayedBins) -> Iterator[str]:
    """Yield what summary rules wrote, which bins were lost, and who was forgotten for that."""
    written = sum(played_bin.rows or 0 for played_bin in played.bins)
    late = sum(played_bin.late for played_bin in played.bins)
    bins = counted(len(played.bins), "bin")
    yield (
        f"Summary rules: {bins}, {len(played.lost)} lost, {late} late; "
        f"{counted(written, 'row')} of known callers."
    )
    for name in dict.fromkeys(played_bin.rule for played_bin in played.bins if played_bin.stopped):
        yield f"  {name}: stopped by the service after {MOST_LOST} lost bins in a row"
    for caller in played.forgotten[:_FORGOTTEN_SHOWN]:
        again = f", read again {_short(caller.again)}" if caller.again else ""
        yield (
            f"  forgotten since {_short(caller.since)}: {caller.caller} by {caller.protocol}, "
            f"last known {_short(caller.last)}{again}"
        )
    more = len(played.forgotten) - _FORGOTTEN_SHOWN
    if more > 0:
        yield f"  and {more} more forgotten"


def _table(finding: Finding) -> Table:
    table = Table(title=Text(f"{finding.rule.severity}: {finding.rule.title}"), show_header=False)
    table.title_justify = "left"
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    callers = [display_name(id_, name) for id_, name in finding.callers.items()]
    for name, value in (
        ("rule", f"{finding.rule.name} {finding.rule.version}"),
        ("why", finding.why),
        ("time", f"{_short(finding.first)} to {_short(finding.last)}"),
        ("caller", _some(callers)),
        ("protocol", _some(finding.protocols)),
        ("mailboxes", _some(finding.mailboxes, most=10)),
        ("users", _some(finding.users)),
        ("addresses", _some(finding.addresses)),
        ("sessions", _some(finding.sessions)),
        ("volume", volume(finding.operations, finding.records)),
        ("next", finding.rule.triage[0]),
    ):
        table.add_row(name, Text(visible(value)))
    return table


def _some(values: Sequence[str], most: int = _SHOWN) -> str:
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(values[:most]) + more if values else "none in the records"


def _iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _short(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}Z"
