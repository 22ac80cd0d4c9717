"""What a Sigma correlation says, read from its YAML and nothing taken for granted.

pySigma cuts a limit to a whole number and takes one only; here it is read as it is written. What
the compiler does not know is refused: ``value_median``, conditions in words, correlations of
correlations, timespans without a fixed length.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from mailvigil.rules.attributes import KQL_NAME

TYPES = {
    "event_count": "EventCount",
    "value_count": "ValueCount",
    "value_sum": "ValueSum",
    "value_avg": "ValueAverage",
    "value_percentile": "ValuePercentile",
    "temporal": "RuleCount",
    "temporal_ordered": "",
}
"""Sigma's type to the column that has what the condition is about."""

OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "==", "neq": "!="}
WHOLE_TENANT = ("OrganizationId",)
"""The group of a correlation without ``group-by``."""

_TIMESPAN = re.compile(r"([1-9]\d*)([smhdw])", re.ASCII)
_LENGTHS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
KEYS = {"type", "rules", "group-by", "timespan", "condition", "aliases", "generate"}
_NUMERIC = {"value_sum", "value_avg", "value_percentile"}
_TEMPORAL = {"temporal", "temporal_ordered"}
RESERVED = {
    "EventTime", "RecordId", "Record", "SourceRank", "Step", "Slot", "Value", "WindowEnd",
    "Started", "Reached", "Last", "Verdict", "Steps", *TYPES.values(),
}  # fmt: skip
"""Columns that the compiled query makes or needs: no group has them for a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """A correlation over the rules of one file.

    ``rules`` are the references, in order. ``window`` is a KQL timespan. ``fields`` are what the
    values are read from; ``percentile`` is ``""`` for other types. ``limits`` are KQL operators
    and numbers that must all hold. ``aliases`` maps alias and reference to a field.
    """

    type: str
    rules: tuple[str, ...]
    group_by: tuple[str, ...]
    window: str
    fields: tuple[str, ...]
    percentile: str
    limits: tuple[tuple[str, str], ...]
    aliases: Mapping[str, Mapping[str, str]] = field(hash=False)

    @property
    def length(self) -> timedelta:
        """How long the window is."""
        return int(self.window[:-1]) * _LENGTHS[self.window[-1]]

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns by which records are grouped."""
        return self.group_by or WHOLE_TENANT

    @property
    def distinguishes(self) -> bool:
        """Whether it matters which of the rules a record matched."""
        return self.type in _TEMPORAL


def read_correlation(
    document: Mapping[str, object],
) -> tuple[Correlation | None, tuple[str, ...]]:
    """Return what the attribute ``correlation`` of *document* says, or None and what is wrong."""
    read = _CorrelationReader(document.get("correlation"))
    correlation = read.correlation()
    return (None if read.problems else correlation), tuple(read.problems)


class _CorrelationReader:
    """Reads one correlation and collects what is wrong instead of stopping."""

    def __init__(self, value: object) -> None:
        self.problems: list[str] = []
        self._given: Mapping[str, object] = value if isinstance(value, dict) else {}
        self._type = str(self._given.get("type"))

    def correlation(self) -> Correlation:
        if unknown := sorted(str(key) for key in set(self._given) - KEYS):
            self._wrong(f"correlation.{unknown[0]} is not known (leave it out)")
        if self._type not in TYPES:
            self._wrong(f"correlation.type {self._type} is not one of {', '.join(TYPES)}")
        if self._given.get("generate", False) is not False:
            self._wrong("correlation.generate is not false (one file makes one alert)")
        rules = self._rules()
        condition = self._condition()
        return Correlation(
            type=self._type,
            rules=rules,
            group_by=self._group_by(),
            window=self._window(),
            fields=self._fields(condition),
            percentile=self._percentile(condition),
            limits=self._limits(condition, len(rules)),
            aliases=self._aliases(rules),
        )

    def _rules(self) -> tuple[str, ...]:
        rules = _texts(self._given.get("rules"))
        least = 2 if self._type in _TEMPORAL else 1
        if len(rules) < least or len(set(rules)) < len(rules):
            self._wrong(f"correlation.rules are not {least} or more names or ids, each once")
        return rules

    def _group_by(self) -> tuple[str, ...]:
        keys = _texts(self._given.get("group-by"))
        if self._given.get("group-by") is not None and not keys:
            self._wrong("correlation.group-by is not a list of fields")
        if len(set(keys)) < len(keys):
            self._wrong("correlation.group-by names a field twice")
        for key in keys:
            self._named(key, "group-by")
        return keys

    def _window(self) -> str:
        timespan = _TIMESPAN.fullmatch(str(self._given.get("timespan")))
        if not timespan:
            self._wrong("correlation.timespan is none such as 30s, 10m, 6h, 2d or 1w")
            return ""
        return f"{int(timespan[1]) * 7}d" if timespan[2] == "w" else timespan[0]

    def _condition(self) -> Mapping[str, object]:
        condition = self._given.get("condition")
        if condition is None and self._type in _TEMPORAL:
            return {}
        if not isinstance(condition, dict):
            self._wrong(
                "correlation.condition is not a mapping such as gte: 10 (words are not read)"
            )
            return {}
        if unknown := sorted(str(key) for key in set(condition) - {*OPERATORS, *self._further()}):
            self._wrong(f"correlation.condition.{unknown[0]} is not known for {self._type}")
        return condition

    def _further(self) -> set[str]:
        """Return what a condition has beside its limits."""
        percentile = {"percentile"} if self._type == "value_percentile" else set[str]()
        return {"field", *percentile} if self._type.startswith("value_") else set()

    def _limits(self, condition: Mapping[str, object], rules: int) -> tuple[tuple[str, str], ...]:
        limits = {name: condition[name] for name in OPERATORS if name in condition}
        for name, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                self._wrong(f"correlation.condition.{name} is not a number")
            elif not math.isfinite(value):
                self._wrong(f"correlation.condition.{name} is not finite")
        if not limits and self._type not in _TEMPORAL:
            self._wrong(f"correlation.condition has none of {', '.join(OPERATORS)}")
        limits = limits or {"gte": rules}
        if self._type == "temporal_ordered" and limits != {"gte": rules}:
            self._wrong("correlation.condition of temporal_ordered is not all rules (leave it out)")
        return tuple((OPERATORS[name], str(value)) for name, value in limits.items())

    def _fields(self, condition: Mapping[str, object]) -> tuple[str, ...]:
        fields = _texts(condition.get("field"))
        if self._type.startswith("value_") and not fields:
            self._wrong("correlation.condition.field is missing or no field")
        if self._type in _NUMERIC and len(fields) > 1:
            self._wrong(f"correlation.condition.field of {self._type} is not one field")
        for field_name in fields:
            self._named(field_name, "condition.field", reserved=frozenset())
        return fields

    def _percentile(self, condition: Mapping[str, object]) -> str:
        if self._type != "value_percentile":
            return ""
        value = condition.get("percentile")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100:  # noqa: PLR2004 - per cent
            self._wrong("correlation.condition.percentile is not a number above 0 and up to 100")
        return str(value)

    def _aliases(self, rules: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        given = self._given.get("aliases")
        if given is None:
            return {}
        if not isinstance(given, dict) or not all(isinstance(v, dict) for v in given.values()):
            self._wrong("correlation.aliases is not a mapping of alias to rule and field")
            return {}
        for alias, fields in given.items():
            self._named(str(alias), "aliases")
            if set(fields) != set(rules) or len(_texts(list(fields.values()))) != len(fields):
                self._wrong(f"correlation.aliases.{alias} does not name one field for each rule")
        return {str(alias): dict(fields) for alias, fields in given.items()}

    def _named(self, name: str, where: str, reserved: frozenset[str] = frozenset(RESERVED)) -> None:
        if not all(KQL_NAME.fullmatch(part) for part in name.split(".")):
            self._wrong(f"correlation.{where} {name!r} is not a field's name")
        if name in reserved:
            self._wrong(f"correlation.{where} {name} is a column of the query (use an alias)")

    def _wrong(self, what: str) -> None:
        self.problems.append(what)


def _texts(value: object) -> tuple[str, ...]:
    """Return a text or a list of texts as they are, anything else as nothing."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(v, str) and v for v in values):
        return ()
    return tuple(values)


def referenced(
    correlation: Correlation, documents: Sequence[Mapping[str, object]]
) -> Iterator[Mapping[str, object] | None]:
    """Yield the document of each rule that *correlation* names, None where there is not one."""
    for name in correlation.rules:
        matching = [d for d in documents if name in {d.get("name"), str(d.get("id"))}]
        yield matching[0] if len(matching) == 1 else None


def column(field: str) -> str:
    """Return the name of the column that holds a Sigma field: ``A.B`` is in ``A_B``."""
    return field.replace(".", "_")
