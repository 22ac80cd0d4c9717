"""Which records are wanted, by workload, operation and record type. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from audit_feed.records.shape import Record, text_of

_FIELDS = {"workload": "Workload", "operation": "Operation", "record_type": "RecordType"}


def record_filter(
    include: Mapping[str, frozenset[str]], exclude: Mapping[str, frozenset[str]]
) -> Callable[[Record], bool]:
    """Return a function that says whether a record is wanted.

    A record must match every field of *include*, and none of *exclude*. Values are lower case;
    an empty mapping includes everything and excludes nothing.
    """
    if not include and not exclude:
        return lambda _record: True

    def matches(record: Record, name: str, values: frozenset[str]) -> bool:
        return text_of(record.get(_FIELDS[name])).lower() in values

    def wanted(record: Record) -> bool:
        return all(matches(record, n, v) for n, v in include.items()) and not any(
            matches(record, n, v) for n, v in exclude.items()
        )

    return wanted
