"""The tables' columns, read from ``tables/*.json``: the one place that names them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

TYPES = frozenset({"string", "int", "long", "real", "bool", "datetime", "dynamic"})
"""Column types of Log Analytics custom tables that we use."""

READS = frozenset(
    {"text", "int", "long", "bool", "utc", "address", "caller", "protocol", "property", "rest"}
)
"""Ways to read a column from a record; :mod:`audit_feed.records.shape` says what each does."""

_VERBATIM = frozenset({"text", "int", "long", "bool", "utc"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its KQL type, the record's fields it comes from, and what it means.

    ``sources`` are dotted paths into the record, the first that is not empty wins. A
    column without ``read`` is filled by the program and not from a record.
    """

    name: str
    type: str
    sources: tuple[str, ...]
    read: str
    description: str

    @property
    def holds(self) -> str:
        """The record's field that this column keeps unchanged, or ``""``."""
        if self.read in _VERBATIM and len(self.sources) == 1 and "." not in self.sources[0]:
            return self.sources[0]
        return ""

    @classmethod
    def load(cls, item: Mapping[str, object]) -> Column:
        """Read one element of ``columns``; an unknown type or read raises ``ValueError``."""
        sources = item.get("from", [])
        column = cls(
            name=str(item["name"]),
            type=str(item["type"]),
            sources=tuple(str(s) for s in sources) if isinstance(sources, list) else (),
            read=str(item.get("read", "")),
            description=str(item["description"]),
        )
        if column.type not in TYPES or (column.read and column.read not in READS):
            msg = f"{column.name}: unknown type {column.type!r} or read {column.read!r}"
            raise ValueError(msg)
        return column


@dataclass(frozen=True, slots=True)
class Table:
    """A Log Analytics table and its columns, in order."""

    name: str
    description: str
    columns: tuple[Column, ...]


@cache
def load_table(name: str) -> Table:
    """Return the table that ``tables/<name>.json`` describes.

    Raises:
        FileNotFoundError: The table is not known.
        ValueError: The file names a type or a read that does not exist.

    """
    text = (files("audit_feed") / "tables" / f"{name}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    return Table(
        name=data["table"],
        description=data["description"],
        columns=tuple(Column.load(item) for item in data["columns"]),
    )
