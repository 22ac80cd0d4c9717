"""The part of a query that is pySigma's: which records a Sigma detection selects.

Here is also decided where a detection's records are read, and which of its fields must be taken
out of the record because no column has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import sigma.rule as pysigma
from sigma.backends.kusto.kusto import KustoBackend
from sigma.collection import SigmaCollection
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
)
from sigma.conversion.state import ConversionState
from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import FieldMappingTransformation
from sigma.rule import SigmaDetection, SigmaDetectionItem
from sigma.types import SigmaNumber, SigmaString

from mailvigil.compiler.sigma_filters import apply_filters
from mailvigil.compiler.targets import FUNCTION, RecordSource, Target
from mailvigil.errors import RuleError
from mailvigil.rules.correlation_rule import column
from mailvigil.rules.filters import Filter
from mailvigil.rules.sigma_rule import SigmaRule, sigma_documents
from mailvigil.tables.record_tables import DROP_REPEATS


class _Backend(KustoBackend):
    """Compares numbers one by one: ``in~`` takes texts alone."""

    def decide_convert_condition_as_in_expression(
        self, cond: ConditionOR | ConditionAND, state: ConversionState
    ) -> bool:
        """Tell whether the values of *cond* can stand in one list."""
        numbers = any(isinstance(getattr(arg, "value", None), SigmaNumber) for arg in cond.args)
        return not numbers and super().decide_convert_condition_as_in_expression(cond, state)


_FIELD = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_CALL = re.compile(r"\w+\(\)")
_WHERE = "\n| where ("
_LOGSOURCE = ("m365", "audit")
LACKED_BY_COPIES = frozenset(
    {
        "SessionId", "AADSessionId", "UniqueTokenId", "OperationCount", "TokenTenantId",
        "TokenTenant", "TokenObjectId", "TokenType", "AuthType", "DeviceId",
    }
)  # fmt: skip
"""Fields that a record has and its copy in ``OfficeActivity`` lacks, or has seldom."""

_ONLY_MAIL = frozenset({FUNCTION.lower()})


@dataclass(frozen=True, slots=True)
class Selection:
    """The records that one Sigma detection selects, as lines of KQL that end in a ``where``.

    ``name`` is how a correlation refers to it, ``""`` where it is the rule itself. ``whole``:
    nothing is asked for but the operation that the function holds. ``operations`` are those that
    a record must be of one of; none where the detection leaves that open.
    """

    name: str
    source: RecordSource
    lines: tuple[str, ...]
    whole: bool
    operations: tuple[str, ...] = ()

    @property
    def reads_function(self) -> bool:
        """Whether the records are rows of a function, else of a table."""
        return _CALL.fullmatch(self.lines[0]) is not None

    def within(self, span: str) -> list[str]:
        """Return the lines, with the tables held to *span* before anything is read of a row."""
        head, *rest = self.lines
        values = ", ".join(f"'{operation}'" for operation in self.operations)
        if not self.reads_function and not self.source.time:
            return list(self.lines)
        if not self.reads_function:
            named = [f"| where ActionType in~ ({values})"] if values else []
            return [head, f"| where {self.source.time} > ago({span})", *named, *rest]
        operations = f", dynamic([{values}])" if values and self.source.takes_operations else ""
        return [f"{head[:-1]}{span}{operations})", *rest]

    def once(self) -> list[str]:
        """Return what drops the repeats of a record, where the source has any."""
        return [DROP_REPEATS] if self.source.repeats else []


def select(rule: SigmaRule, root: Path, target: Target) -> tuple[Selection, ...]:
    """Return the selection of *rule*, or one for each rule that its correlation names, in order.

    Args:
        rule: The rule.
        root: The content's folder, for ``sigma/pipelines``.
        target: Where the query will run.

    Raises:
        RuleError: pySigma refuses a detection, or its log source is not the audit log.

    """
    files = (target.mail.pipeline, target.audit.pipeline)
    pipelines = tuple(_text_of_pipeline(root, file) for file in files)
    key = _SelectionKey(rule.text, rule.filters, rule.names, rule)
    return _select(key, root, target, pipelines)


@dataclass(frozen=True, slots=True)
class _SelectionKey:
    """A rule, equal to another one if their selections are: it cannot be hashed itself."""

    text: str
    filters: tuple[Filter, ...]
    names: frozenset[str]
    rule: SigmaRule = field(compare=False)


def _text_of_pipeline(root: Path, file: str) -> str | None:
    with suppress(OSError):  # the conversion says so
        return (root / "sigma" / "pipelines" / file).read_text(encoding="utf-8")
    return None


@lru_cache(maxsize=256)
def _select(
    key: _SelectionKey, root: Path, target: Target, _: tuple[str | None, ...]
) -> tuple[Selection, ...]:
    """Select once what a hunt and the checks ask for several times; it takes pySigma 40 ms."""
    rule = key.rule
    try:
        return tuple(
            _selection(rule, name, base, root, target) for name, base in bases(rule).items()
        )
    except SigmaError as error:  # a condition is read only when it is asked for
        raise RuleError([f"{rule.path}: pySigma cannot convert it: {error}"]) from error


def bases(rule: SigmaRule) -> Mapping[str, pysigma.SigmaRule]:
    """Return the Sigma detections of *rule* by what a correlation calls them, filters applied.

    Raises:
        RuleError: pySigma refuses one.

    """
    correlation = rule.correlation
    named = correlation.rules if correlation else ("",)
    by_name: dict[str, pysigma.SigmaRule] = {}
    try:
        for name in named:
            document = _document(rule, name)
            by_name[name] = apply_filters(
                rule.filters, rule.names, pysigma.SigmaRule.from_dict(document)
            )
    except (SigmaError, TypeError, AttributeError) as error:
        raise RuleError([f"{rule.path}: pySigma cannot convert it: {error}"]) from error
    return by_name


def record_level(rule: SigmaRule, root: Path, pipeline_file: str) -> str:
    """Return KQL for the records that the Sigma detection selects, and nothing of ours.

    Args:
        rule: A rule that is not a correlation.
        root: The content's folder.
        pipeline_file: Name of a file in ``sigma/pipelines``, which says the table.

    Raises:
        RuleError: pySigma refuses the rule.

    """
    (text,) = record_levels(rule, root, pipeline_file).values()
    return text


def record_levels(rule: SigmaRule, root: Path, pipeline_file: str) -> Mapping[str, str]:
    """Return as :func:`record_level` the query of each detection, also of a correlation's.

    Raises:
        RuleError: pySigma refuses the rule.

    """
    return {
        name: _converted(rule, base, root, pipeline_file, {}) for name, base in bases(rule).items()
    }


def _document(rule: SigmaRule, name: str) -> dict[str, object]:
    documents = [
        d
        for d in sigma_documents(rule.text)
        if (name in {d.get("name"), str(d.get("id"))} if name else "correlation" not in d)
    ]
    return deepcopy(documents[0])


def _selection(
    rule: SigmaRule, name: str, base: pysigma.SigmaRule, root: Path, target: Target
) -> Selection:
    _check_logsource(rule, base)
    fields = {*_fields(rule, base), *_correlated(rule, name)}
    conditions = [condition.parsed for condition in base.detection.parsed_condition]
    mail = all(_operations(c) == _ONLY_MAIL for c in conditions) and all(
        field in target.mail.columns for field in fields
    )
    source = target.mail if mail else target.audit
    missing = sorted(field for field in fields if field not in source.columns)
    renamed = {field: column(field) for field in missing}
    query = _converted(rule, base, root, source.pipeline, renamed)
    where, _, condition = query.partition(_WHERE)
    # A copy that lacks a field passes what excludes by it: one row a record is left before that.
    several = source.repeats and not source.time
    poor = several and any(_negated(c) & {*LACKED_BY_COPIES, *missing} for c in conditions)
    once = [DROP_REPEATS] if poor else []
    lines = [*where.split("\n"), *_read(renamed), *once, *f"{_WHERE[1:]}{condition}".split("\n")]
    whole = mail and condition == f'Operation =~ "{FUNCTION}")'
    stripped = tuple(line.rstrip() for line in lines)
    return Selection(name, source, stripped, whole, _all_operations(conditions))


def _read(renamed: Mapping[str, str]) -> Iterator[str]:
    """Yield what makes columns of fields of the record."""
    for wanted, name in renamed.items():
        yield f"| extend {name} = tostring(Record.{wanted})"


def _converted(
    rule: SigmaRule,
    base: pysigma.SigmaRule,
    root: Path,
    pipeline_file: str,
    renamed: Mapping[str, str],
) -> str:
    try:
        path = root / "sigma" / "pipelines" / pipeline_file
        pipeline = ProcessingPipeline.from_yaml(path.read_text(encoding="utf-8"))
        dotted: dict[str | None, str | list[str]] = {
            field: name for field, name in renamed.items() if field != name
        }
        if dotted:
            mapping = ProcessingItem(FieldMappingTransformation(dotted))
            pipeline = ProcessingPipeline([mapping], priority=0) + pipeline
        backend = _Backend(
            processing_pipeline=pipeline  # type: ignore[arg-type]  # annotated dict, takes this
        )
        converted = backend.convert(SigmaCollection([deepcopy(base)]))
    except (SigmaError, OSError, TypeError, NotImplementedError) as error:
        raise RuleError([f"{rule.path}: pySigma cannot convert it: {error}"]) from error
    if len(converted) != 1:
        raise RuleError([f"{rule.path}: not one query but {len(converted)} (give one condition)"])
    return str(converted[0])


def _check_logsource(rule: SigmaRule, base: pysigma.SigmaRule) -> None:
    logsource = (base.logsource.product, base.logsource.service)
    if logsource != _LOGSOURCE:
        what = f"log source {logsource[0]}/{logsource[1]} is not the unified audit log"
        todo = "only product: m365, service: audit has the fields of its records"
        raise RuleError([f"{rule.path}: {what} ({todo})"])


def _correlated(rule: SigmaRule, name: str) -> set[str]:
    """Return the fields that the correlation reads of the records of its rule *name*."""
    if not rule.correlation:
        return set()
    aliases = rule.correlation.aliases
    wanted = {*rule.correlation.keys, *rule.correlation.fields}
    return {aliases[field][name] if field in aliases else field for field in wanted}


def _fields(rule: SigmaRule, base: pysigma.SigmaRule) -> set[str]:
    """Return the fields that the detection asks for; a value without a field is refused."""
    fields: set[str] = set()
    for item in (i for d in base.detection.detections.values() for i in _items(d)):
        if item.field is None:
            raise RuleError(
                [f"{rule.path}: a value without a field (a search over all fields is not compiled)"]
            )
        if not _FIELD.fullmatch(item.field):
            raise RuleError([f"{rule.path}: {item.field!r} is not a field of an audit record"])
        fields.add(item.field)
    return fields


def _items(detection: SigmaDetection) -> Iterator[SigmaDetectionItem]:
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            yield from _items(item)
        else:
            yield item


def _negated(condition: object, *, inside: bool = False) -> frozenset[str]:
    """Return the fields that *condition* asks for in a negation."""
    match condition:
        case ConditionNOT():
            return frozenset().union(*(_negated(arg, inside=True) for arg in condition.args))
        case ConditionAND() | ConditionOR():
            return frozenset().union(*(_negated(arg, inside=inside) for arg in condition.args))
        case ConditionFieldEqualsValueExpression():
            return frozenset({str(condition.field)} if inside else ())
    return frozenset()


def _all_operations(conditions: Sequence[object]) -> tuple[str, ...]:
    """Return the operations that records must be of one of, none if a condition leaves it open."""
    named = [_operations(condition) for condition in conditions]
    known = [operations for operations in named if operations is not None]
    return tuple(sorted(frozenset().union(*known))) if len(known) == len(named) else ()


def _operations(condition: object) -> frozenset[str] | None:
    """Return the operations, in small letters, one of which *condition* asks for, or None."""
    match condition:
        case ConditionAND():
            named = [o for arg in condition.args if (o := _operations(arg)) is not None]
            return frozenset.intersection(*named) if named else None
        case ConditionOR():
            each = [_operations(arg) for arg in condition.args]
            known = [operations for operations in each if operations is not None]
            return frozenset().union(*known) if len(known) == len(each) else None
        case ConditionFieldEqualsValueExpression(field="Operation", value=SigmaString() as value):
            return None if value.contains_special() else frozenset({str(value).lower()})
    return None
