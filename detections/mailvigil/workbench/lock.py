"""``rules.lock``: which version of each rule holds what, so that a change shows in the version.

The lock holds a hash of everything that is deployed of a rule, a hunting query, a summary rule, a
function or a workbook, but for its version. Who changed it raises the version, then writes the lock
anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailvigil.errors import InputError
from mailvigil.sentinel import arm
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.package_layout import as_json

FORMAT = 1
"""Version of the lock's file. Another one is refused, never guessed at."""

_LOCK = "then run: make content"


@dataclass(frozen=True, slots=True)
class Locked:
    """One entry: ``hash`` is a SHA-256 in hex, ``kind`` one of those that :func:`locked` writes."""

    kind: str
    name: str
    version: str
    hash: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the version as numbers, to compare; what is none comes before all others."""
        parts = self.version.split(".")
        return tuple(int(part) for part in parts) if all(p.isdecimal() for p in parts) else ()


@dataclass(frozen=True, slots=True)
class Lock:
    """Entries by id. ``retired`` are ids that once were, with the last version of each."""

    entries: Mapping[str, Locked]
    retired: Mapping[str, Locked]


def lock_path(root: Path) -> Path:
    """Return the path of the lock below *root*."""
    return root / "kql" / "rules.lock"


def locked(pack: Pack) -> Mapping[str, Locked]:
    """Return the entries that the content as it is now would have, by id."""
    defender = {item.name: item.query for item in pack.detections}
    return {
        **{
            item.id: Locked(
                "rule",
                item.name,
                item.version,
                _hash(item.as_yaml(), item.query + defender.get(item.name, "")),
            )
            for item in pack.analytics
        },
        **{
            item.id: Locked("hunting", item.name, item.version, _hash(item.as_yaml(), item.query))
            for item in pack.hunting
        },
        **{
            item.id: Locked(
                "function",
                item.alias,
                item.version,
                _hash(arm.function_properties(item), item.query),
            )
            for item in pack.parsers
        },
        **{
            item.id: Locked(
                "summary", item.name, item.version, _hash(arm.summary_properties(item), item.query)
            )
            for item in pack.summary_rules
        },
        **{
            item.id: Locked(
                "workbook",
                item.name,
                item.version,
                _hash({"title": item.title, "description": item.description}, item.serialized),
            )
            for item in pack.workbooks
        },
    }


def read_lock(path: Path) -> Lock:
    """Return what *path* says; a lock that is not there is empty.

    Raises:
        InputError: It is not a lock, or one of another format.

    """
    if not path.is_file():
        return Lock({}, {})
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise InputError(str(path), f"format {data['format']}, not {FORMAT}")
        return Lock(
            *(
                {number: Locked(**entry) for number, entry in data[section].items()}
                for section in ("entries", "retired")
            )
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        todo = "take it from version control again"
        raise InputError(str(path), f"no lock of rules: {error!r}", todo) from error


def lock_text(lock: Lock) -> str:
    """Return *lock* as its file holds it: by kind and name, one entry a line."""
    data = {"format": FORMAT}
    text = as_json(data).decode().rstrip("\n}")
    for section in ("entries", "retired"):
        text += f',\n  "{section}": {{{_lines(getattr(lock, section))}}}'
    return f"{text}\n}}\n"


def renewed(old: Lock, now: Mapping[str, Locked]) -> Lock:
    """Return the lock of the content as it is *now*; what is gone is retired."""
    gone = {number: entry for number, entry in old.entries.items() if number not in now}
    retired = {**old.retired, **gone}
    return Lock(now, {n: entry for n, entry in retired.items() if n not in now})


def unversioned(old: Lock, now: Mapping[str, Locked]) -> Iterator[str]:
    """Yield what changed without a higher version. Such a change must not be locked."""
    for number, entry in now.items():
        before = old.entries.get(number)
        if before and before.hash != entry.hash and entry.numbers <= before.numbers:
            yield (
                f"{entry.kind} {entry.name} changed since {before.version} was locked, and its "
                f"version is {entry.version} (raise it, {_LOCK})"
            )
        elif before and entry.numbers < before.numbers:
            yield f"{entry.kind} {entry.name} went back from {before.version} to {entry.version}"
        retired = old.retired.get(number)
        if retired and entry.numbers <= retired.numbers:
            yield (
                f"{entry.kind} {entry.name} has the id of {retired.name} {retired.version}, which "
                f"was retired (raise the version or make a new id, {_LOCK})"
            )


def lock_problems(old: Lock, now: Mapping[str, Locked]) -> Iterator[str]:
    """Yield all that keeps *old* from being the lock of the content as it is *now*."""
    yield from unversioned(old, now)
    for number, entry in now.items():
        before = old.entries.get(number)
        if before is None:
            yield f"{entry.kind} {entry.name} is not in rules.lock (run: make content)"
        elif before != entry and entry.numbers > before.numbers:
            yield (
                f"{entry.kind} {entry.name} is {before.version} in rules.lock, and now "
                f"{entry.version} (run: make content)"
            )
        elif before.name != entry.name and before.hash == entry.hash:
            yield f"{entry.kind} {before.name} is now {entry.name} (raise its version, {_LOCK})"
    for number, entry in old.entries.items():
        if number not in now:
            yield (
                f"{entry.kind} {entry.name} is in rules.lock and no longer there "
                "(if it was retired, run: make content)"
            )


def _hash(data: Mapping[str, object], query: str) -> str:
    """Return a hash of *data*, in which the query's comments and the version do not count."""
    hashed = {key: value for key, value in data.items() if key not in {"version", "query"}}
    lines = [line for line in query.split("\n") if not line.startswith("//")]
    text = json.dumps([hashed, lines], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(entries: Mapping[str, Locked]) -> str:
    lines = [f"\n    {json.dumps(n)}: {json.dumps(_fields(e))}" for n, e in _ordered(entries)]
    return ",".join(lines) + ("\n  " if lines else "")


def _ordered(entries: Mapping[str, Locked]) -> Iterable[tuple[str, Locked]]:
    return sorted(entries.items(), key=lambda item: (item[1].kind, item[1].name))


def _fields(entry: Locked) -> dict[str, str]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "version": entry.version,
        "hash": entry.hash,
    }
