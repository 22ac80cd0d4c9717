"""What changed between two states of the content, for a reader."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailvigil.errors import InputError
from mailvigil.sentinel.analytics import Analytic
from mailvigil.sentinel.compiled_content import load_pack
from mailvigil.sentinel.hunting import SentinelHuntingQuery
from mailvigil.sentinel.package_checks import load_packaged
from mailvigil.sentinel.package_folder import read_marker
from mailvigil.sentinel.package_layout import MARKER

_LONG = ("query", "version", "id")
"""Fields that are listed in a form of their own, not as a line ``key: old -> new``."""


@dataclass(frozen=True, slots=True)
class Item:
    """A rule, hunting query or function, as far as a reader compares it."""

    kind: str
    name: str
    version: str
    fields: Mapping[str, str]
    query: str


def load_items(place: Path) -> Mapping[str, Item]:
    """Return what a packaged folder, or a folder with ``sigma/`` and ``kql/``, holds, by id.

    Raises:
        InputError: *place* is neither.
        RuleError: A rule in it is broken.

    """
    if (place / MARKER).is_file():
        return _packaged(place)
    if (place / "sigma").is_dir() and (place / "kql").is_dir():
        pack = load_pack(place)
        functions = {p.id: Item("function", p.alias, p.version, {}, p.query) for p in pack.parsers}
        return {**_items(pack.analytics, pack.hunting), **functions}
    todo = "name a packaged folder, or one with sigma/ and kql/"
    raise InputError(str(place), "holds no rules", todo)


def changes(old: Mapping[str, Item], new: Mapping[str, Item]) -> Iterator[str]:
    """Yield the lines that list how *new* differs from *old*, none where it does not."""
    for number, item in _by_name(new):
        if number not in old:
            yield f"added    {item.kind} {item.name} {item.version}"
    for number, item in _by_name(old):
        if number not in new:
            yield f"removed  {item.kind} {item.name} {item.version}"
    for number, item in _by_name(new):
        if number in old and old[number] != item:
            yield from _changed(old[number], item)


def _changed(old: Item, new: Item) -> Iterator[str]:
    renamed = "" if old.name == new.name else f" (was {old.name})"
    version = old.version if old.version == new.version else f"{old.version} -> {new.version}"
    yield f"changed  {new.kind} {new.name}{renamed} {version}"
    for key in dict.fromkeys([*old.fields, *new.fields]):
        before, after = old.fields.get(key), new.fields.get(key)
        if before is None:
            yield f"    {key}: now {after}"
        elif after is None:
            yield f"    {key}: no longer {before}"
        elif before != after:
            yield f"    {key}: {before} -> {after}"
    lines = difflib.unified_diff(_code(old), _code(new), "old", "new", lineterm="", n=2)
    yield from (f"    {line}" for line in lines)


def _code(item: Item) -> list[str]:
    """Return the query's lines without comments, the first of which only name the version."""
    return [line for line in item.query.splitlines() if not line.startswith("//")]


def _packaged(place: Path) -> Mapping[str, Item]:
    packaged = load_packaged(place)
    if packaged.problems:
        raise InputError(str(place), packaged.problems[0], "package it again")
    named = {c["name"]: c for c in read_marker(place)["contents"] if c["kind"] == "function"}
    functions = {
        named[f.name]["id"]: Item(
            "function", f.name, named[f.name]["version"], {}, f.body.strip("\n") + "\n"
        )
        for f in packaged.functions
        if f.name in named
    }
    return {**_items(packaged.analytics, packaged.hunting), **functions}


def _items(
    analytics: Iterable[Analytic], hunting: Iterable[SentinelHuntingQuery]
) -> dict[str, Item]:
    rules = {
        query.id: Item("rule", query.name, query.version, _short(query.as_yaml()), query.query)
        for query in analytics
    }
    queries = {
        query.id: Item("hunting", query.name, query.version, _short(query.as_yaml()), query.query)
        for query in hunting
    }
    return {**rules, **queries}


def _short(data: Mapping[str, object]) -> dict[str, str]:
    """Return what is compared field by field, each under its whole path."""
    return dict(_flat({key: value for key, value in data.items() if key not in _LONG}, ""))


def _flat(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif path == "entityMappings" and isinstance(value, list):
        for mapping in value:
            for field in mapping["fieldMappings"]:
                where = f"{path}.{mapping['entityType']}.{field['identifier']}"
                yield f"{where}.{field['columnName']}", field["columnName"]
    else:
        yield path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _by_name(items: Mapping[str, Item]) -> list[tuple[str, Item]]:
    return sorted(items.items(), key=lambda entry: (entry[1].kind, entry[1].name))
