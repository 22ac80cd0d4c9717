"""The report as one HTML file that needs no network and runs nothing but its own scripts. Pure.

Its Content-Security-Policy allows the scripts and the style by their hashes and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib.resources import files

from mailvigil.hunt.evidence import MOST_COUNTED, HuntEvidence, MailAccess
from mailvigil.hunt.findings import Finding, display_name
from mailvigil.hunt.result import HuntResult
from mailvigil.reports import charts
from mailvigil.reports.markup import Markup, element, in_script, joined
from mailvigil.reports.page_data import page_data
from mailvigil.reports.report_context import Context
from mailvigil.reports.wording import (
    NOT_A_PROOF,
    caller_name,
    coverage_lines,
    first_to_look_at,
    headline,
    minute,
    not_run,
)
from mailvigil.rules.durations import kql_duration
from mailvigil.rules.metadata import SEVERITIES

_MOST_LISTED = 200
_FEW = 10
"""Rows up to which a table is open from the start."""
_LONG = 40
"""Characters from which a cell may be broken anywhere."""

_ASSETS = files("mailvigil.reports") / "assets"


def as_html(
    result: HuntResult, evidence: HuntEvidence, context: Context, chart_scripts: Sequence[str]
) -> str:
    """Return the page.

    Args:
        result: What was found.
        evidence: What was gathered beside it.
        context: How the hunt was run.
        chart_scripts: The text of Vega's scripts; without them tables stand for the charts.

    """
    specs = charts.charts(result, evidence) if chart_scripts else {}
    style = Markup((_ASSETS / "report.css").read_text(encoding="utf-8"))
    # No script may end before its end tag: Vega's files and ours hold no "</script".
    code = [Markup(script) for script in (*chart_scripts, _own_script())]
    data = {**page_data(result.findings, evidence), "charts": specs}
    body = joined(
        [
            element("a", "Skip to the findings", class_="skip", href="#findings"),
            _header(result, context),
            element(
                "main",
                *_pictures(result, evidence, specs),
                _findings_section(result),
                _coverage(evidence),
                _provenance(result, context),
            ),
            _footer(context, charted=bool(chart_scripts)),
            element("script", in_script(data), type="application/json", id="data"),
            *(element("script", script) for script in code),
        ]
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(code, style)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", "mailvigil: hunt report"),
        element("style", style),
    )
    return f"<!doctype html>\n{element('html', head, element('body', body), lang='en')}\n"


def _own_script() -> str:
    return (_ASSETS / "report.js").read_text(encoding="utf-8")


def _policy(scripts: Iterable[str], style: str) -> str:
    allowed = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _header(result: HuntResult, context: Context) -> Markup:
    counts = {s: sum(f.rule.severity == s for f in result.findings) for s in SEVERITIES}
    chips = [
        element("li", element("b", f"{counts[s]:,}"), f" {s.lower()}", class_=f"chip {s.lower()}")
        for s in reversed(SEVERITIES)
        if counts[s]
    ]
    made = f", made {minute(context.made)}" if context.made else ""
    return element(
        "header",
        element("p", f"mailvigil hunt report{made}", class_="over"),
        element("h1", headline(result)),
        element("p", first_to_look_at(result), class_="lead") if result.findings else "",
        element("ul", *chips, class_="chips", aria_label="Findings by severity") if chips else "",
        *(element("p", line, class_="warning", role="note") for line in not_run(result)),
        element("p", NOT_A_PROOF, class_="proof"),
        _contents(),
    )


def _contents() -> Markup:
    places = {
        "#time": "Over time",
        "#who": "Who read which mailbox",
        "#findings": "Findings",
        "#coverage": "What the data cannot show",
        "#made": "How to repeat this",
    }
    links = [element("li", element("a", title, href=to)) for to, title in places.items()]
    return element("nav", element("ul", *links), aria_label="Contents")


def _pictures(result: HuntResult, evidence: HuntEvidence, specs: Iterable[str]) -> Sequence[Markup]:
    drawn = set(specs)
    legend = element(
        "ul",
        element("li", element("i", class_="key reported"), "caller that a finding is on"),
        element("li", element("i", class_="key known"), "other caller"),
        element("li", element("i", "▼", class_="mark"), "first seen by the tenant or mailbox"),
        element("li", "The stronger the colour, the more was read (by order of magnitude)."),
        class_="legend",
        aria_hidden="true",
    )
    return [
        element(
            "section",
            element("h2", "Over time"),
            _figure("chart-findings", "New findings, by first access", drawn, _finding_rows(result))
            if result.findings
            else "",
            _figure(
                "chart-activity",
                "Mail read, by caller",
                drawn,
                _caller_rows(evidence),
            ),
            legend,
            element("p", _shown_of(evidence), class_="note"),
            id="time",
        ),
        element(
            "section",
            element("h2", "Who read which mailbox"),
            _figure("chart-matrix", "Callers and mailboxes", drawn, _pair_rows(evidence)),
            id="who",
        ),
    ]


def _shown_of(evidence: HuntEvidence) -> str:
    mailboxes = (
        f"{evidence.all_mailboxes:,}{' or more' if evidence.all_mailboxes >= MOST_COUNTED else ''}"
    )
    return (
        f"Shown are {len(evidence.callers)} of {evidence.all_callers:,} callers and "
        f"{len(evidence.mailboxes)} of {mailboxes} mailboxes: those of most findings first, "
        "then those with the most reading. One column of time is "
        f"{kql_duration(evidence.bin)} (UTC)."
    )


def _figure(id_: str, title: str, drawn: set[str], table: Markup) -> Markup:
    """Return a chart's place with its table; without a chart the table is open."""
    chart = element("div", class_="chart", id=id_, role="img", aria_label=f"{title}: a chart")
    scroll = element("div", chart, class_="scroll", role="region", tabindex="0", aria_label=title)
    heading = element("summary", f"{title}: as a table")
    return element(
        "figure",
        element("figcaption", title),
        scroll if id_ in drawn else "",
        element("details", heading, table, open=None if id_ in drawn else ""),
    )


def _finding_rows(result: HuntResult) -> Markup:
    rows = [
        (minute(f.first), f.rule.severity, f.rule.title, _callers(f))
        for f in sorted(result.findings, key=lambda f: f.first)[:_MOST_LISTED]
    ]
    return _table("Findings by first access", ("First access", "Severity", "Rule", "Caller"), rows)


def _caller_rows(evidence: HuntEvidence) -> Markup:
    rows = [_access_row(access) for access in evidence.callers]
    head = ("Caller", "First seen", "Last seen", "Operations", "Records")
    return _table("Mail read by caller", head, rows)


def _pair_rows(evidence: HuntEvidence) -> Markup:
    rows = [(p.mailbox, *_access_row(p)) for p in evidence.pairs]
    head = ("Mailbox", "Caller", "First seen", "Last seen", "Operations", "Records")
    return _table("Mail read by caller and mailbox", head, rows)


def _access_row(access: MailAccess) -> Sequence[str]:
    times = minute(access.first), minute(access.last)
    counts = f"{access.operations:,}", f"{access.records:,}"
    return caller_name(access.caller), *times, *counts


def _callers(finding: Finding) -> str:
    return ", ".join(display_name(id_, name) for id_, name in finding.callers.items())


def _findings_section(result: HuntResult) -> Markup:
    if not result.findings:
        return element(
            "section",
            element("h2", "Findings"),
            element("p", headline(result)),
            id="findings",
        )
    return element(
        "section",
        element("h2", "Findings"),
        _filter(result),
        element("p", id="count", role="status", class_="note"),
        element("div", id="list"),
        _pager(),
        _without_script(result),
        id="findings",
        tabindex="-1",
    )


def _filter(result: HuntResult) -> Markup:
    severities = [
        s for s in reversed(SEVERITIES) if any(f.rule.severity == s for f in result.findings)
    ]
    rules = {f.rule.name: f.rule.title for f in result.findings}
    return element(
        "form",
        element(
            "label",
            "Find in findings ",
            element("input", type="search", id="text", autocomplete="off", spellcheck="false"),
        ),
        _choice("severity", "Severity ", [(s, s) for s in severities]),
        _choice("rule", "Rule ", list(rules.items())),
        element("button", "Copy finding ids", type="button", id="copy"),
        role="search",
        id="filter",
        class_="filter",
    )


def _choice(id_: str, label: str, options: Sequence[tuple[str, str]]) -> Markup:
    chosen = [element("option", title, value=value) for value, title in [("", "all"), *options]]
    return element("label", label, element("select", *chosen, id=id_))


def _pager() -> Markup:
    return element(
        "nav",
        element("button", "Previous", type="button", id="previous"),
        element("span", id="page"),
        element("button", "Next", type="button", id="next"),
        class_="pager",
        aria_label="Pages of findings",
    )


def _without_script(result: HuntResult) -> Markup:
    rows = [
        (f.rule.severity, f.rule.title, minute(f.first), _callers(f), f.why)
        for f in result.findings[:_MOST_LISTED]
    ]
    head = ("Severity", "Rule", "First access", "Caller", "Why")
    note = f"Scripts are off: the first {len(rows)} findings follow without their records."
    return element("noscript", element("p", note), _table("Findings", head, rows))


def _coverage(evidence: HuntEvidence) -> Markup:
    unlogged, throttled, hours = coverage_lines(evidence.coverage)
    coverage = evidence.coverage
    return element(
        "section",
        element("h2", "What the data cannot show"),
        element("h3", "Mailboxes without MailItemsAccessed"),
        element("p", unlogged),
        _listed(
            "Mailboxes without MailItemsAccessed",
            ("Mailbox", "Other records", "Last of them"),
            [(u.mailbox, f"{u.records:,}", minute(u.last)) for u in coverage.unlogged],
        ),
        element("h3", "Throttled mailboxes"),
        element("p", throttled),
        _listed(
            "Throttled mailboxes",
            ("Mailbox", "First throttled", "Last throttled", "Records"),
            [
                (t.mailbox, minute(t.first), minute(t.last), f"{t.records:,}")
                for t in coverage.throttled
            ],
        ),
        element("h3", "Hours without any record"),
        element("p", hours),
        _listed(
            "Spans without any record, the longest first",
            ("From", "Until", "Hours"),
            [(minute(g.start), minute(g.end), f"{g.hours:,}") for g in coverage.gaps],
        ),
        id="coverage",
    )


def _provenance(result: HuntResult, context: Context) -> Markup:
    return element(
        "section",
        element("h2", "How to repeat this"),
        element("p", "The same command on the same files gives the same findings."),
        element("pre", context.line, tabindex="0", role="region", aria_label="Command"),
        _facts(result, context),
        element("h3", "Files"),
        _table(
            "Files as they were given",
            ("File", "Bytes", "SHA-256"),
            [(s.name, f"{s.size:,}", s.sha256) for s in result.load.sources],
        )
        if result.load.sources
        else element("p", "None: the hunt was in a saved workspace."),
        _table(
            "What was read from them",
            ("File", "Form", "Records", "Unreadable"),
            [
                (f.name, f.form, f"{f.records:,}", f"{f.unreadable_count:,}")
                for f in result.load.files
            ],
        ),
        _unread(result),
        element("h3", "Rules"),
        _rules(result),
        id="made",
    )


def _facts(result: HuntResult, context: Context) -> Markup:
    plan, span = context.plan, result.span
    whole = "all of the data"
    facts = {
        "Versions": ", ".join(f"{name} {number}" for name, number in context.versions.items()),
        "Mail was read": f"{minute(span[0])} to {minute(span[1])}" if span else "never",
        "Records": f"{result.records:,} read, {result.load.repeats:,} repeats dropped, "
        f"{result.unreadable:,} unreadable; {result.distinct:,} MailItemsAccessed judged",
        "Evaluated": f"once, as at {minute(plan.as_of)}"
        if plan.as_of
        else f"every {kql_duration(plan.step)}",
        "Known callers from": kql_duration(plan.memory) if plan.memory else whole,
    }
    pairs = [joined([element("dt", k), element("dd", v)]) for k, v in facts.items()]
    return element("dl", *pairs, class_="facts")


def _unread(result: HuntResult) -> Markup:
    rows = [
        (b.file, str(b.line or ""), b.why)
        for b in (*(b for f in result.load.files for b in f.unreadable), *result.load.skipped)
    ]
    return joined(
        [
            element("h3", "Not read"),
            element("p", "Rows that could not be read, and files that are not audit logs."),
            _listed("Not read", ("File", "Line", "Why"), rows),
        ]
    )


def _rules(result: HuntResult) -> Markup:
    rows = [
        (
            r.rule.name,
            r.rule.version,
            r.rule.severity,
            "not run" if r.not_run else f"{r.evaluations:,}",
            f"{sum(f.rule.name == r.rule.name for f in result.findings):,}",
            f"{r.insufficient:,}",
            hashlib.sha256(r.rule.text.encode()).hexdigest(),
        )
        for r in result.replayed
    ]
    head = (
        "Rule", "Version", "Severity", "Evaluations", "Findings", "Not judged: too little history",
        "SHA-256",
    )  # fmt: skip
    return _table("What each rule did", head, rows)


def _listed(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """Return at most ``_MOST_LISTED`` rows, and say how many more there are."""
    if not rows:
        return element("p", "None.", class_="note")
    more = len(rows) - _MOST_LISTED
    note = element("p", f"{more:,} more are not listed here.", class_="note")
    first = f"The first {_MOST_LISTED:,} of {len(rows):,}" if more > 0 else f"All {len(rows):,}"
    heading = element("summary", first)
    table = _table(caption, head, rows[:_MOST_LISTED])
    is_open = "" if len(rows) <= _FEW else None
    return element("details", heading, table, note if more > 0 else "", open=is_open)


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    cells = element("tr", *(element("th", name, scope="col") for name in head))
    lines = [element("tr", *(_cell(value) for value in row)) for row in rows]
    table = element(
        "table",
        element("caption", caption),
        element("thead", cells),
        element("tbody", *lines),
    )
    return element("div", table, class_="scroll", role="region", tabindex="0", aria_label=caption)


def _cell(value: str) -> Markup:
    return element("td", value, class_="long" if len(value) > _LONG else "short")


def _footer(context: Context, *, charted: bool) -> Markup:
    return element(
        "footer",
        element(
            "p",
            "Charts are drawn by Vega, Vega-Lite and vega-embed: BSD 3-Clause, copyright "
            "University of Washington Interactive Data Lab.",
        )
        if charted
        else "",
        element("p", f"mailvigil {context.versions['mailvigil']}. All times are UTC."),
    )
