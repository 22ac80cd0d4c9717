"""The report as Markdown, for a ticket or a wiki. Pure.

Text from logs is in code spans or escaped, so that no renderer takes it for a link or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mailvigil.hunt.evidence import EvidenceRecord, HuntEvidence
from mailvigil.hunt.finding_id import finding_id
from mailvigil.hunt.findings import Finding, display_name
from mailvigil.hunt.result import HuntResult
from mailvigil.printable import counted, visible
from mailvigil.reports.report_context import Context
from mailvigil.reports.wording import (
    NOT_A_PROOF,
    coverage_lines,
    first_to_look_at,
    headline,
    minute,
    not_run,
    volume,
)

_SHOWN = 20
_RECORDS = 10
_MEANS_SOMETHING = re.compile(r"([\\`*_{}\[\]<>#!|~&@]|:(?=/)|(?<=www)\.|^\s*[-+=])", re.IGNORECASE)


def as_markdown(result: HuntResult, evidence: HuntEvidence, context: Context) -> str:
    """Return the report as CommonMark with tables, every line end a line feed."""
    lines = [
        f"# {_plain(headline(result))}",
        *([_plain(first_to_look_at(result))] if result.findings else []),
        *(f"**{_plain(line)}**" for line in not_run(result)),
        NOT_A_PROOF,
        "## Findings",
        *([] if result.findings else ["None."]),
        *(part for finding in result.findings for part in _finding(finding, evidence)),
        "## What the data cannot show",
        _list(_plain(line) for line in _coverage(evidence)),
        "## How to repeat this",
        _code(context.line),
        _provenance(result, context),
    ]
    return "\n\n".join(lines) + "\n"


def _finding(finding: Finding, evidence: HuntEvidence) -> Sequence[str]:
    rule = finding.rule
    callers = [display_name(id_, name) for id_, name in finding.callers.items()]
    facts = [
        ("Time", f"{minute(finding.first)} to {minute(finding.last)}"),
        ("Caller", _some(callers)),
        ("Protocol", _some(finding.protocols)),
        ("Mailboxes", _some(finding.mailboxes)),
        ("Users", _some(finding.users)),
        ("Addresses", _some(finding.addresses)),
        ("Sessions", _some(finding.sessions)),
        ("Volume", volume(finding.operations, finding.records)),
        ("Finding id", _code(str(finding_id(finding)))),
    ]
    return [
        f"### {rule.severity}: {_plain(rule.title)}",
        _plain(finding.why),
        _table(("", ""), facts),
        f"What to do next ({_plain(rule.name)} {_plain(rule.version)}):",
        "\n".join(f"{n}. {_plain(step)}" for n, step in enumerate(rule.triage, 1)),
        "What it does not prove. It may be harmless:",
        _list(_plain(text) for text in rule.falsepositives),
        "The rule does not see:",
        _list(_plain(text) for text in rule.misses),
        *_records(finding, evidence.samples.get(finding_id(finding), ())),
    ]


def _records(finding: Finding, sample: Sequence[EvidenceRecord]) -> Sequence[str]:
    shown = sample[:_RECORDS]
    if not shown:
        return []
    head = ("Time (UTC)", "User", "Mailbox", "Address", "Client", "Operations", "Record id")
    rows = [
        (
            f"{r.time:%Y-%m-%d %H:%M:%S}",
            *(_code(t) for t in (r.user, r.mailbox, r.address, r.client)),
            f"{r.operations:,}",
            _code(r.id),
        )
        for r in shown
    ]
    return [f"The first {len(shown)} of {counted(finding.records, 'record')}:", _table(head, rows)]


def _coverage(evidence: HuntEvidence) -> Sequence[str]:
    unlogged, throttled, hours = coverage_lines(evidence.coverage)
    coverage = evidence.coverage
    return [
        f"{unlogged} {_names([u.mailbox for u in coverage.unlogged])}".rstrip(),
        f"{throttled} {_names([t.mailbox for t in coverage.throttled])}".rstrip(),
        hours,
    ]


def _names(mailboxes: Sequence[str]) -> str:
    more = f" and {len(mailboxes) - _SHOWN:,} more" if len(mailboxes) > _SHOWN else ""
    return f"({', '.join(mailboxes[:_SHOWN])}{more})" if mailboxes else ""


def _provenance(result: HuntResult, context: Context) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in context.versions.items())
    rules = ", ".join(
        f"{r.rule.name} {r.rule.version}{' (not run)' if r.not_run else ''}"
        for r in result.replayed
    )
    made = f" Made {minute(context.made)}." if context.made else ""
    files = [(_code(s.name), f"{s.size:,}", _code(s.sha256)) for s in result.load.sources]
    read = [
        (_code(f.name), _plain(f.form), f"{f.records:,}", f"{f.unreadable_count:,}")
        for f in result.load.files
    ]
    unread = [_code(str(bad)) for f in result.load.files for bad in f.unreadable[:_SHOWN]]
    return "\n\n".join(
        [
            f"Versions: {_plain(versions)}.{made} Rules: {_plain(rules)}.",
            _table(("File", "Bytes", "SHA-256"), files),
            _table(("File", "Form", "Records", "Unreadable"), read),
            *(["Not read:", _list(unread)] if unread else []),
        ]
    )


def _some(values: Sequence[str]) -> str:
    if not values:
        return "none in the records"
    more = f" and {len(values) - _SHOWN:,} more" if len(values) > _SHOWN else ""
    return ", ".join(_code(value) for value in values[:_SHOWN]) + more


def _list(texts: Iterable[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return _MEANS_SOMETHING.sub(r"\\\1", visible(text))


def _code(text: str) -> str:
    """Return a code span; a bar in it, which would end a table's cell, is written as an escape."""
    shown = visible(text).replace("|", "\\x7c")
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    edge = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{edge}{shown}{edge}{fence}" if shown.strip() else "(none)"
