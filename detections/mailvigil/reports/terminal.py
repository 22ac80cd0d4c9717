"""Print what a hunt found: as a table for people, as JSON and as CSV for programs. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailvigil.hunt.findings import Finding, display_name
from mailvigil.hunt.replay import Plan, Replayed
from mailvigil.hunt.run import Hunted, insufficient
from mailvigil.printable import counted, defused, visible
from mailvigil.reports.identity import finding_id
from mailvigil.rules.durations import kql_duration

__all__ = ["as_csv", "as_json", "counted", "defused", "print_table", "summary_lines", "visible"]

SCHEMA_VERSION = 1
"""Version of the JSON form; ``findings.schema.json`` describes it."""

_SHOWN = 3
"""Values of a list that the table shows before it says how many more there are."""


def as_json(hunted: Hunted, plan: Plan) -> str:
    """Return the hunt as one JSON object with ``summary`` and ``findings``."""
    whole = {
        "schema_version": SCHEMA_VERSION,
        "summary": _summary(hunted, plan),
        "findings": [_finding(f) for f in hunted.findings],
    }
    # ASCII alone: every console can encode it, and nothing in a log can steer a terminal.
    return json.dumps(whole, indent=2)


def _summary(hunted: Hunted, plan: Plan) -> Mapping[str, object]:
    named = [bad for file in hunted.load.files for bad in file.unreadable]
    return {
        "files": [
            {
                "name": file.name,
                "form": file.form,
                "table": file.table,
                "records": file.records,
                "unreadable": file.unreadable_count,
            }
            for file in hunted.load.files
        ],
        "sources": [
            {"name": s.name, "size": s.size, "sha256": s.sha256} for s in hunted.load.sources
        ],
        "skipped_files": [{"file": s.file, "why": s.why} for s in hunted.load.skipped],
        "records": hunted.records,
        "unreadable": hunted.unreadable,
        "unreadable_rows": [{"file": b.file, "line": b.line, "why": b.why} for b in named],
        "distinct": hunted.distinct,
        "distinct_records": hunted.distinct_records,
        "span": {"first": _iso(hunted.span[0]), "last": _iso(hunted.span[1])}
        if hunted.span
        else None,
        "step": kql_duration(plan.step),
        "as_of": _iso(plan.as_of) if plan.as_of else None,
        "ticks": max((r.ticks for r in hunted.replayed), default=0),
        "rules": [_ran(r, hunted.findings) for r in hunted.replayed],
    }


def _ran(replayed: Replayed, findings: Sequence[Finding]) -> Mapping[str, object]:
    return {
        "rule": replayed.rule.name,
        "version": replayed.rule.version,
        "severity": replayed.rule.severity,
        "verdict": "not run" if replayed.not_run else "run",
        "why_not_run": replayed.not_run,
        "ticks": replayed.ticks,
        "findings": sum(f.rule.name == replayed.rule.name for f in findings),
        "insufficient_baseline": insufficient(replayed),
    }


def _finding(found: Finding) -> Mapping[str, object]:
    return {
        "id": str(finding_id(found)),
        "rule": found.rule.name,
        "title": found.rule.title,
        "version": found.rule.version,
        "severity": found.rule.severity,
        "first": _iso(found.first),
        "last": _iso(found.last),
        "first_alert": _iso(found.first_alert),
        "alerts": found.alerts,
        "key": dict(found.key),
        "callers": [{"id": id_, "name": name} for id_, name in found.callers.items()],
        "protocols": list(found.protocols),
        "mailboxes": list(found.mailboxes),
        "users": list(found.users),
        "addresses": list(found.addresses),
        "sessions": list(found.sessions),
        "operation_count": found.operations,
        "records": found.records,
        "why": found.why,
        "next": list(found.rule.triage),
    }


def as_csv(hunted: Hunted) -> str:
    """Return one line a finding; lists are joined by blanks, formulas are defused.

    Cells hold no control characters: see :func:`visible`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    rows = [_flat(f) for f in hunted.findings]
    writer.writerow(_CSV_COLUMNS)
    writer.writerows([[defused(row[name]) for name in _CSV_COLUMNS] for row in rows])
    return out.getvalue()


_CSV_COLUMNS = (
    "rule", "version", "severity", "first", "last", "caller", "caller_name", "protocol",
    "mailboxes", "users", "addresses", "sessions", "operation_count", "records", "why", "next",
)  # fmt: skip


def _flat(found: Finding) -> Mapping[str, object]:
    return {
        "rule": found.rule.name,
        "version": found.rule.version,
        "severity": found.rule.severity,
        "first": _iso(found.first),
        "last": _iso(found.last),
        "caller": " ".join(found.callers),
        "caller_name": ", ".join(name for name in found.callers.values() if name),
        "protocol": " ".join(found.protocols),
        "mailboxes": " ".join(found.mailboxes),
        "users": " ".join(found.users),
        "addresses": " ".join(found.addresses),
        "sessions": " ".join(found.sessions),
        "operation_count": found.operations,
        "records": found.records,
        "why": found.why,
        "next": " ".join(found.rule.triage),
    }


def print_table(hunted: Hunted, console: Console) -> None:
    """Print what was read and found. What comes from logs is shown as text, never as markup."""
    for line in summary_lines(hunted):
        console.print(Text(visible(line)), soft_wrap=True)
    for found in hunted.findings:
        console.print()
        console.print(_table(found))


def summary_lines(hunted: Hunted) -> list[str]:
    """Return the sentences above the findings."""
    lines = [
        f"{_read(hunted)}; {hunted.distinct:,} distinct MailItemsAccessed.",
        *(f"  unreadable: {bad}" for file in hunted.load.files for bad in file.unreadable[:_SHOWN]),
        *(f"  left out: {bad}" for bad in hunted.load.skipped[:_SHOWN]),
    ]
    if hunted.span:
        lines.append(f"Mail was read from {_short(hunted.span[0])} to {_short(hunted.span[1])}.")
    lines.extend(_rule_line(replayed) for replayed in hunted.replayed)
    lines.append(f"{counted(len(hunted.findings), 'finding')}.")
    return lines


def _read(hunted: Hunted) -> str:
    files, skipped = len(hunted.load.files), len(hunted.load.skipped)
    if not files and not skipped:
        return f"{counted(hunted.distinct_records, 'record')} in the workspace"
    return (
        f"{counted(hunted.records, 'record')} read from {counted(files, 'file')}, "
        f"{hunted.unreadable:,} unreadable, {counted(skipped, 'other file')} left out"
    )


def _rule_line(replayed: Replayed) -> str:
    if replayed.not_run:
        return f"  {replayed.rule.name}: not run: {replayed.not_run}"
    few = insufficient(replayed)
    note = f"; {few} with an insufficient baseline, not judged" if few else ""
    at = counted(replayed.ticks, "tick")
    return f"  {replayed.rule.name} {replayed.rule.version}: {at}{note}"


def _table(found: Finding) -> Table:
    table = Table(title=Text(f"{found.rule.severity}: {found.rule.title}"), show_header=False)
    table.title_justify = "left"
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    callers = [display_name(id_, name) for id_, name in found.callers.items()]
    for name, value in (
        ("rule", f"{found.rule.name} {found.rule.version}"),
        ("why", found.why),
        ("time", f"{_short(found.first)} to {_short(found.last)}"),
        ("caller", _some(callers)),
        ("protocol", _some(found.protocols)),
        ("mailboxes", _some(found.mailboxes, most=10)),
        ("users", _some(found.users)),
        ("addresses", _some(found.addresses)),
        ("sessions", _some(found.sessions)),
        ("volume", f"{found.operations:,} operations in {found.records:,} records"),
        ("next", found.rule.triage[0]),
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
