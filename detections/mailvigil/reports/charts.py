"""The charts of a report as Vega-Lite specifications, made with altair. Pure.

Colours are CSS variables of the page, so that light, dark and print need no second drawing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import altair as alt

from mailvigil.hunt.evidence import HuntEvidence
from mailvigil.hunt.findings import Finding
from mailvigil.hunt.result import HuntResult
from mailvigil.printable import visible
from mailvigil.reports.wording import caller_name, minute, volume
from mailvigil.rules.metadata import SEVERITIES
from mailvigil.rules.sigma_rule import SigmaRule

Spec = Mapping[str, Any]  # a Vega-Lite specification is JSON of any shape

REPORTED, OTHER = "var(--high)", "var(--known)"
_COLOURS = {s: f"var(--{s.lower()})" for s in SEVERITIES}
_LONGEST_LABEL = 40
_ROW = 22
"""Height of one caller's row, in pixels."""


def charts(result: HuntResult, evidence: HuntEvidence) -> Mapping[str, Spec]:
    """Return the specifications by the id of the page's element that they go into."""
    if result.span is None:
        return {}
    names = _labels([_short_name(a.caller) for a in evidence.callers])
    shown = dict(zip([a.caller for a in evidence.callers], names, strict=True))
    made: dict[str, alt.TopLevelMixin] = {
        "chart-activity": _activity(result, evidence, shown, result.span),
        "chart-matrix": _matrix(result, evidence, shown),
    }
    if result.findings:
        made["chart-findings"] = _findings(result, evidence.bin, result.span)
    return {name: _closed(chart) for name, chart in made.items()}


def _closed(chart: alt.TopLevelMixin) -> Spec:
    """Return the chart's specification without altair's own theme and schema address."""
    spec = dict(chart.to_dict())
    return {name: part for name, part in spec.items() if name not in {"$schema", "config"}}


def _findings(
    result: HuntResult, size: timedelta, covered: tuple[datetime, datetime]
) -> alt.TopLevelMixin:
    chart: alt.Chart = alt.Chart(_data(_stacks(result, size))).mark_rect(
        stroke="var(--paper)", strokeWidth=0.5
    )
    drawn: alt.Chart = chart.encode(
        x=_time_axis(covered, size),
        x2="end:T",
        y=alt.Y("low:Q").title(None).axis(tickMinStep=1, format="~s", tickCount=3),
        y2="high:Q",
        color=alt.Color("severity:N")
        .scale(domain=list(_COLOURS), range=list(_COLOURS.values()))
        .legend(None),
        tooltip=alt.Tooltip("note:N"),
    )
    sized: alt.Chart = drawn.properties(width="container", height=90)
    return sized


def _stacks(result: HuntResult, size: timedelta) -> Sequence[Spec]:
    """Return a bin's severities one above the other, the most severe at the bottom."""
    rows: list[Spec] = []
    for start, counts in sorted(_by_bin(result, size).items()):
        times = {"start": _millis(start), "end": _millis(start + size)}
        below = 0
        for severity in (s for s in reversed(SEVERITIES) if counts[s]):
            high = below + counts[severity]
            note = f"{minute(start)}: {counts[severity]:,} {severity.lower()}"
            rows.append({**times, "low": below, "high": high, "severity": severity, "note": note})
            below = high
    return rows


def _by_bin(result: HuntResult, size: timedelta) -> Mapping[datetime, Counter[str]]:
    bins: dict[datetime, Counter[str]] = {}
    for finding in result.findings:
        start = (
            finding.first
            - (finding.first - datetime.min.replace(tzinfo=finding.first.tzinfo)) % size
        )
        bins.setdefault(start, Counter())[finding.rule.severity] += 1
    return bins


def _activity(
    result: HuntResult,
    evidence: HuntEvidence,
    shown: Mapping[str, str],
    covered: tuple[datetime, datetime],
) -> alt.TopLevelMixin:
    strips = (
        alt.Chart(_data(_strips(result, evidence, shown)))
        .mark_rect()
        .encode(
            x=_time_axis(covered, evidence.bin),
            x2="end:T",
            y=_rows_axis("caller", list(shown.values()), 260),
            color=_reported_colour(),
            opacity=_opacity(),
            tooltip=alt.Tooltip("note:N"),
        )
    )
    marks = (
        alt.Chart(_data(_firsts(result, evidence, shown)))
        .mark_point(shape="triangle-down", filled=True, size=70, opacity=1, yOffset=-9)
        .encode(
            x=alt.X("start:T").title(None),
            y=alt.Y("caller:N").title(None),
            color=alt.value("var(--ink)"),
            tooltip=alt.Tooltip("note:N"),
        )
    )
    return alt.layer(strips, marks).properties(width="container", height=_ROW * max(1, len(shown)))


def _strips(result: HuntResult, evidence: HuntEvidence, shown: Mapping[str, str]) -> Sequence[Spec]:
    reported = {f.key["Caller"] for f in _on_callers(result)}
    most = max((a.operations for a in evidence.activity), default=1)
    return [
        {
            "caller": shown[a.caller],
            "start": _millis(a.start),
            "end": _millis(a.start + evidence.bin),
            "weight": _weight(a.operations, most),
            "reported": "yes" if a.caller in reported else "no",
            "note": f"{minute(a.start)}, {shown[a.caller]}: {volume(a.operations, a.records)}",
        }
        for a in evidence.activity
    ]


def _firsts(result: HuntResult, evidence: HuntEvidence, shown: Mapping[str, str]) -> Sequence[Spec]:
    """Return where each caller that is new to the tenant or to a mailbox was first seen."""
    new = {f.key["Caller"] for f in _on_callers(result) if _on_first_seen(f)}
    return [
        {
            "caller": shown[a.caller],
            "start": _millis(a.first),
            "note": f"first seen {minute(a.first)}",
        }
        for a in evidence.callers
        if a.caller in new
    ]


def _matrix(
    result: HuntResult, evidence: HuntEvidence, shown: Mapping[str, str]
) -> alt.TopLevelMixin:
    mailboxes = dict(zip(evidence.mailboxes, _labels(evidence.mailboxes), strict=True))
    reported = {(f.key["Caller"], m) for f in _on_callers(result) for m in f.mailboxes}
    new = {
        (f.key["Caller"], m) for f in _on_callers(result) if _on_first_seen(f) for m in f.mailboxes
    }
    most = max((p.operations for p in evidence.pairs), default=1)
    rows = [
        {
            "caller": shown[p.caller],
            "mailbox": mailboxes[p.mailbox],
            "weight": _weight(p.operations, most),
            "reported": "yes" if (p.caller, p.mailbox) in reported else "no",
            "new": (p.caller, p.mailbox) in new,
            "note": f"{shown[p.caller]} in {p.mailbox}: first seen {minute(p.first)}, "
            f"{volume(p.operations, p.records)}",
        }
        for p in evidence.pairs
    ]
    across = (
        alt.X("mailbox:N")
        .sort(list(mailboxes.values()))
        .title(None)
        .scale(domain=list(mailboxes.values()))
        .axis(labelAngle=-50, labelLimit=150, orient="top", labelOverlap=False, ticks=False)
    )
    cells = alt.Chart(_data(rows)).encode(
        x=across, y=_rows_axis("caller", list(shown.values()), 260), tooltip=alt.Tooltip("note:N")
    )
    first_seen = cells.transform_filter("datum.new")
    return alt.layer(
        cells.mark_rect(stroke="var(--paper)", strokeWidth=1).encode(
            color=_reported_colour(), opacity=_opacity()
        ),
        first_seen.mark_point(
            shape="triangle-down", filled=True, size=45, opacity=1, color="var(--ink)"
        ),
    ).properties(width={"step": 24}, height={"step": 24})


def _data(rows: Sequence[Spec]) -> alt.Data:
    shown = [
        {name: visible(v) if isinstance(v, str) else v for name, v in row.items()} for row in rows
    ]
    return alt.Data(values=shown)  # type: ignore[no-untyped-call]  # altair's own gap


def _time_axis(covered: tuple[datetime, datetime], size: timedelta) -> alt.X:
    domain = [_millis(covered[0] - size), _millis(covered[1] + size)]
    return (
        alt.X("start:T")
        .title(None)
        .scale(type="utc", domain=domain, nice=False)
        .axis(grid=False, labelOverlap="greedy", tickCount=8, format="%Y-%m-%d")
    )


def _rows_axis(name: str, labels: Sequence[str], limit: int) -> alt.Y:
    return (
        alt.Y(f"{name}:N")
        .sort(list(labels))
        .title(None)
        .scale(domain=list(labels))
        .axis(labelLimit=limit, labelOverlap=False, ticks=False, grid=False)
    )


def _reported_colour() -> alt.Color:
    return alt.Color("reported:N").scale(domain=["yes", "no"], range=[REPORTED, OTHER]).legend(None)


def _opacity() -> alt.Opacity:
    return alt.Opacity("weight:Q").scale(domain=[0, 1], range=[0.3, 1]).legend(None)


def _weight(operations: int, most: int) -> float:
    """Return 0 to 1 by order of magnitude: one read must be seen beside a million."""
    share = math.log1p(max(operations, 0)) / math.log1p(max(most, 1))
    return round(min(1.0, share), 3)


def _on_callers(result: HuntResult) -> Sequence[Finding]:
    """Return the findings whose cause is a caller; others are on mailboxes."""
    return [f for f in result.findings if "Caller" in f.key]


def _on_first_seen(finding: Finding) -> bool:
    return isinstance(finding.rule, SigmaRule) and finding.rule.first_seen is not None


def _short_name(caller: str) -> str:
    """Return a caller's name with the begin of its id, or its id alone."""
    return caller_name(caller).replace(f"({caller})", f"({caller[:8]}…)")


def _labels(names: Sequence[str]) -> list[str]:
    """Return the names short enough for an axis, and still different from each other."""
    labels: list[str] = []
    for name in map(visible, names):
        short = name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
        number = 2
        label = short
        while label in labels:
            label = f"{short} ({number})"
            number += 1
        labels.append(label)
    return labels


def _millis(time: datetime) -> int:
    return int(time.timestamp() * 1000)
