"""A KQL rule as one query for Defender XDR, which has none of the pack's functions and tables.

In place of the functions that a rule calls its query reads ``CloudAppEvents``. What a custom
detection must return is taken from the latest of the records of each alert.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mailvigil.compiler.pipes import LITERAL
from mailvigil.compiler.targets import DEFENDER, DEFENDER_DEMANDS
from mailvigil.errors import RuleError
from mailvigil.rules.content import Function, load_functions
from mailvigil.rules.durations import duration, kql_duration
from mailvigil.rules.kql_rule import KqlRule
from mailvigil.tables.record_tables import CLOUD_APP_EVENTS
from mailvigil.tables.schemas import APPROVED_CALLERS, schemas
from mailvigil.yaml_input import load_yaml

_MAIL, _CHANGES = "MailItemsAccessed", "AuditChanges"
_NOT_CALLED = ("AuditRecords",)
"""Functions that no rule for Defender calls: which operations it wants is not known here."""

RUNS = (("PT1H", "1h", "4h"), ("PT3H", "3h", "12h"), ("PT12H", "12h", "48h"), ("P1D", "1d", "30d"))
"""How often a detection can run, in ISO 8601 and in KQL, and how far back each run then sees.

Source: https://learn.microsoft.com/defender-xdr/custom-detection-rules.
"""

_FREQUENCY = re.compile(r"^let frequency = \d+[dhm];$", re.MULTILINE)
"""The window of a rule that judges what came since its last run."""

_LISTED = re.compile(r"^let Operations = dynamic\(\[(.*?)\]\);", re.DOTALL | re.MULTILINE)
_CALL = re.compile(rf"\b({_MAIL}|{_CHANGES})\(([^()]*)\)")
_ALWAYS = {*DEFENDER_DEMANDS, "EventTime", "RecordId", "SourceRank", "Operation"}
_ADDED = {
    "TimeGenerated": "Timestamp",
    "Source": f"'{CLOUD_APP_EVENTS.name}'",
    "Arrived": "coalesce(ingestion_time(), Timestamp)",
}
"""Columns that rows of the functions have and the pipeline lacks. The time of arrival is asked of
the table itself, before anything else is done with its rows."""

_WIDTH = 98
_TOKEN = re.compile(rf"{LITERAL.pattern}|[()]")
_ITEM_TOKEN = re.compile(rf"{LITERAL.pattern}|[(),]")
_FUZZY = re.compile(r"\bunion\s+isfuzzy=true\b")
_FIRST_LEG, _NEXT_LEG = re.compile(r"\s*\("), re.compile(r"\s*,\s*\(")
_RECORDS = re.compile(r"^let records = .*?;$", re.DOTALL | re.MULTILINE)
_ASSIGNED = re.compile(r"\b(\w+) = ")
_WORD = re.compile(r"\w+")


def tables_read(rule: KqlRule) -> frozenset[str]:
    """Return the tables that the query of *rule* names itself and cannot do without."""
    return _tables(_without_optional(rule.query))


def _tables(kql: str) -> frozenset[str]:
    return frozenset(_WORD.findall(LITERAL.sub("", kql))) & frozenset(schemas())


def _without_optional(query: str) -> str:
    """Return *query* without the legs of fuzzy unions that read tables which Defender lacks.

    A union of which no leg would be left stays as it is.
    """
    parts, rest = [], query
    while fuzzy := _FUZZY.search(rest):
        parts.append(rest[: fuzzy.end()])
        rest = rest[fuzzy.end() :]
        legs, after = _legs(rest)
        resolving = [leg for leg in legs if not _tables(leg) - {CLOUD_APP_EVENTS.name}]
        parts.append(f"\n          {', '.join(resolving)}" if resolving else rest[:after])
        rest = rest[after:]
    return "".join((*parts, rest))


def _legs(text: str) -> tuple[list[str], int]:
    """Return the legs in parentheses that *text* begins with, and where the last one ends."""
    legs: list[str] = []
    end = 0
    while begins := (_FIRST_LEG if not legs else _NEXT_LEG).match(text, end):
        start = begins.end() - 1
        end = _closing(text, start)
        legs.append(text[start:end])
    return legs, end


def _closing(text: str, start: int) -> int:
    """Return where the parenthesis that opens at *start* ends; those in literals do not count."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return len(text)


def keys_without_record(rule: KqlRule) -> list[str]:
    """Return which columns that tell alerts of *rule* apart its ``records`` do not have."""
    records = _RECORDS.search(rule.query)
    made = set(_ASSIGNED.findall(records[0])) if records else set()
    return [key for key in rule.by if key not in DEFENDER.audit.columns | made]


def functions_lacking(rule: KqlRule) -> list[str]:
    """Return the functions that *rule* calls and that cannot be put into its query."""
    return [name for name in _NOT_CALLED if re.search(rf"\b{name}\(", rule.query)]


def defender_query(rule: KqlRule, root: Path) -> str:
    """Return the query of *rule* over ``CloudAppEvents``, with what a custom detection must return.

    Args:
        rule: A rule that :func:`~mailvigil.compiler.defender_limits.fits`.
        root: The content's folder.

    Raises:
        RuleError: A function's file or the pipeline over ``CloudAppEvents`` is not of its form.

    """
    keys = ", ".join(rule.by)
    query = _without_optional(rule.query.rstrip("\n"))
    query = _FREQUENCY.sub(f"let frequency = {_between_runs(rule)};", query)
    query = _CALL.sub(_read_events, query)
    return "\n".join(
        [
            *_declared(rule, root),
            query.replace(f"{APPROVED_CALLERS}()", APPROVED_CALLERS),
            f"| lookup kind=inner (records | summarize arg_max({', '.join(DEFENDER_DEMANDS)})",
            f"    by {keys}) on {keys}",
        ]
    )


def _between_runs(rule: KqlRule) -> str:
    """Return the time between two runs that see as far back as *rule* reads, a KQL duration."""
    fitting = (often for _, often, back in RUNS if rule.looks_back <= duration(back))
    return next(fitting, RUNS[-1][1])


def _read_events(call: re.Match[str]) -> str:
    """Return what stands in place of a call, which begins a pipeline."""
    events = f"events\n    | where Timestamp > ago({call[2]})"
    if call[1] == _MAIL:
        return f"{events} and Operation =~ '{_MAIL}'"
    return (
        f"{events} and Operation in~ (changes)\n"
        r"    | extend Operation = replace_regex(Operation, @'\.$', @'')"
    )


def _declared(rule: KqlRule, root: Path) -> Iterator[str]:
    """Yield the statements before the rule's own: the operations, the approved, the events."""
    called = {call[1] for call in _CALL.finditer(rule.query)}
    wanted = [f"'{_MAIL}'"] if _MAIL in called else []
    if _CHANGES in called:
        [function] = (f for f in load_functions(root) if f.name == _CHANGES)
        listed = _operations(function)
        yield f"let changes = dynamic([{listed}]);"
        wanted.append(listed)
    if f"{APPROVED_CALLERS}(" in rule.query:
        yield "// Callers that the tenant approves, in small letters: Defender has no watchlist"
        yield f"let {APPROVED_CALLERS} = datatable(Caller:string)[];"
    yield from _events(rule, root, ", ".join(wanted))


def _events(rule: KqlRule, root: Path, operations: str) -> Iterator[str]:
    """Yield the statement ``events``: rows of ``CloudAppEvents`` in the shape of the functions."""
    wanted = _ALWAYS | set(_WORD.findall(LITERAL.sub("", rule.query)))
    added = [f"{name} = {value}" for name, value in _ADDED.items() if name in wanted]
    head, *rest = _pipeline(root).split("\n")
    before, _, projected = "\n".join(rest).rpartition("| project ")
    columns = [*(name for name in _ADDED if name in wanted), *_items(projected)]
    items = [item for item in columns if item.partition("=")[0].strip() in wanted]
    yield f"let events = {head}"
    yield f"    | where Timestamp > ago({kql_duration(rule.looks_back)})"
    yield f"    | where ActionType in~ ({operations})"
    yield from [f"    | extend {', '.join(added)}"] if added else []
    yield from (f"    {line}" for line in before.rstrip("\n").split("\n"))
    project = f"    | project {_wrapped(items)};"
    yield project.replace("\n", "\n    ")


def _items(listed: str) -> Iterator[str]:
    """Yield the items of a list with commas, those in parentheses and literals left together."""
    depth, start = 0, 0
    for token in _ITEM_TOKEN.finditer(listed):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token[0] == "," and depth == 0:
            yield listed[start : token.start()].strip()
            start = token.end()
    yield listed[start:].strip()


def _wrapped(items: list[str]) -> str:
    """Return *items* with commas between, in lines of up to 100 characters where they allow it."""
    text, width = items[0], len(items[0]) + 14
    for item in items[1:]:
        first, *others = item.split("\n")
        fits_in = width + len(first) + 2 <= _WIDTH
        text += f", {item}" if fits_in else f",\n    {item}"
        width = len(others[-1]) if others else len(first) + (width + 2 if fits_in else 8)
    return text


def _pipeline(root: Path) -> str:
    """Return the pipeline that makes rows of records of ``CloudAppEvents``, its filter cut off."""
    path = root / "sigma" / "pipelines" / DEFENDER.audit.pipeline
    try:
        data: Any = load_yaml(path.read_text(encoding="utf-8"))
        text, _, _ = str(data["postprocessing"][0]["prefix"]).rstrip("\n").rpartition("\n| where (")
    except (OSError, LookupError, TypeError) as error:
        raise RuleError([f"{path}: no pipeline over CloudAppEvents: {error!r}"]) from error
    return text


def _operations(function: Function) -> str:
    listed = _LISTED.search(function.body)
    if listed is None:
        raise RuleError([f"{function.path}: its body has no `let Operations = …;` (declare it)"])
    return " ".join(listed[1].split())
