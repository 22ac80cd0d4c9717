"""Azure's own types of the resources that we deploy, and what a resource has that its type has not.

``resource_types.json`` is written by ``.ci/resource_types.py``. ``undeclared.json`` is written by
hand: what the service takes by its documents, though the published type lacks it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

TYPES_FILE = "resource_types.json"
UNDECLARED_FILE = "undeclared.json"

OF_THE_TEMPLATE = frozenset(
    {"type", "apiVersion", "dependsOn", "condition", "copy", "comments", "scope",
     "subscriptionId", "resourceGroup"}
)  # fmt: skip
"""Keys that Resource Manager reads itself. No type has them."""

REQUIRED, READ_ONLY = "!", "-"
"""How the name of a property ends in the file: it must be given, or only the service sets it."""

_PRIMITIVES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "number": (int, float),
    "bool": (bool,),
    "object": (dict,),
}
_INDEX = re.compile(r"\[\d+\]")

Shape = str | Mapping[str, Any]
"""A primitive, ``#`` and the name of an object, or one of ``array``, ``map``, ``object``, ``enum``
(nothing else is taken), ``known`` (more may be taken), ``by`` and ``of`` (chosen by a property)."""


@dataclass(frozen=True, slots=True)
class TypeFinding:
    """What a resource has at ``place`` that its type has not.

    A warning may be right all the same; ``reason`` says why, where the documents have it.
    """

    place: str
    what: str
    warning: bool = False
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}{'; ' if self.reason else ''}{self.reason}"


@dataclass(frozen=True, slots=True)
class PublishedType:
    """A resource type: its published API versions, and the shapes that are carried of it."""

    name: str
    published: tuple[str, ...]
    shapes: Mapping[str, Mapping[str, Any]]

    def shape(self, version: str) -> Mapping[str, Any]:
        """Return the body and objects of *version*, else of the newest stable version."""
        stable = [carried for carried in self.shapes if not carried.endswith("-preview")]
        return self.shapes.get(version) or self.shapes[max(stable or self.shapes)]


@cache
def _document(name: str) -> Mapping[str, Any]:
    text = files("mailvigil.sentinel").joinpath(name).read_text(encoding="utf-8")
    document: Mapping[str, Any] = json.loads(text)
    return document


def source() -> str:
    """Return the name and version of what the types were taken from."""
    return str(_document(TYPES_FILE)["source"]["version"])


@cache
def published_types() -> Mapping[str, PublishedType]:
    """Return every type that is carried, by its name."""
    return {
        name: PublishedType(name, tuple(entry["published"]), entry["shapes"])
        for name, entry in _document(TYPES_FILE)["resources"].items()
    }


def published_name(kind: str, name: str) -> str:
    """Return the type that a resource has where it stands by itself.

    Sentinel's resources are written below the workspace: ``workspaces/providers/alertRules``,
    named ``logs/Microsoft.SecurityInsights/1``, is ``Microsoft.SecurityInsights/alertRules``.
    """
    _, below, rest = kind.partition("/providers/")
    return f"{name.split('/')[1]}/{rest}" if below else kind


def type_findings(resource: Mapping[str, Any]) -> Iterator[TypeFinding]:
    """Yield what Azure's type of *resource* does not have. Expressions are resolved before.

    Args:
        resource: As a template has it, with ``type``, ``apiVersion`` and ``name``.

    """
    name = published_name(str(resource["type"]), str(resource["name"]))
    published = published_types().get(name)
    if published is None:
        yield TypeFinding("type", f"{name} is not carried (add it to .ci/resource_types.py)")
        return
    version = str(resource.get("apiVersion"))
    if version not in published.published:
        listed = ", ".join(published.published)
        yield TypeFinding("apiVersion", f"{version} is not published ({listed})")
    shape = published.shape(version)
    body = {key: value for key, value in resource.items() if key not in OF_THE_TEMPLATE}
    body["name"] = str(resource["name"]).rpartition("/")[2]
    yield from _Check(name, shape["objects"]).value(body, shape["body"], "")


@dataclass(frozen=True, slots=True)
class _Check:
    """The check of one resource of type ``name``, whose objects are named in ``objects``."""

    name: str
    objects: Mapping[str, Shape]

    def value(self, value: object, shape: Shape, place: str) -> Iterator[TypeFinding]:
        if value is None or shape == "any":
            return
        if isinstance(shape, str):
            if shape.startswith("#"):
                yield from self.value(value, self.objects[shape[1:]], place)
            elif not _is_of(value, shape):
                yield TypeFinding(place, f"{_word(value)} where the type has {shape}")
        elif "enum" in shape or "known" in shape:
            yield from self._choice(value, shape, place)
        elif "array" in shape:
            yield from self._array(value, shape, place)
        elif not isinstance(value, dict):
            yield TypeFinding(place, f"{_word(value)} where the type has object")
        elif "by" in shape:
            yield from self._chosen(value, shape, place)
        else:
            yield from self._object(value, shape, place)

    def _choice(self, value: object, shape: Mapping[str, Any], place: str) -> Iterator[TypeFinding]:
        values = shape.get("enum") or shape["known"]
        if not isinstance(value, type(values[0])):
            yield TypeFinding(place, f"{_word(value)} where the type has {_word(values[0])}")
        elif value not in values:
            what = f"{value!r} is none of {', '.join(map(repr, values))}"
            yield from self._soft(place, value, what, warning="known" in shape)

    def _array(self, value: object, shape: Mapping[str, Any], place: str) -> Iterator[TypeFinding]:
        if not isinstance(value, list):
            yield TypeFinding(place, f"{_word(value)} where the type has array")
            return
        for number, item in enumerate(value):
            yield from self.value(item, shape["array"], f"{place}[{number}]")

    def _chosen(
        self, value: Mapping[str, Any], shape: Mapping[str, Any], place: str
    ) -> Iterator[TypeFinding]:
        key = shape["by"]
        chosen = shape["of"].get(value.get(key))
        if chosen is not None:
            yield from self.value(value, chosen, place)
        elif key in value:
            values = ", ".join(map(repr, shape["of"]))
            yield TypeFinding(_below(place, key), f"{value[key]!r} is none of {values}")
        else:
            yield TypeFinding(_below(place, key), "missing, and required")

    def _object(
        self, value: Mapping[str, Any], shape: Mapping[str, Any], place: str
    ) -> Iterator[TypeFinding]:
        marked = {name.rstrip(REQUIRED + READ_ONLY): name for name in shape.get("object", {})}
        for key, item in value.items():
            below = _below(place, key)
            if key in marked and marked[key].endswith(READ_ONLY):
                yield from self._soft(below, item, "read-only: the service sets it")
            elif key in marked:
                yield from self.value(item, shape["object"][marked[key]], below)
            elif "map" in shape:
                yield from self.value(item, shape["map"], below)
            else:
                yield from self._soft(below, item, f"unknown property{_meant(key, marked)}")
        for key, name in marked.items():
            if name.endswith(REQUIRED) and value.get(key) is None:
                yield TypeFinding(_below(place, key), "missing, and required")

    def _soft(
        self, place: str, value: object, what: str, *, warning: bool = False
    ) -> Iterator[TypeFinding]:
        """Yield a warning where it is known why the service takes it, and what is wrong in it."""
        row = _documented(self.name, without_indices(place), value)
        if row is None:
            yield TypeFinding(place, what, warning)
            return
        reason = f"{row.reason} ({row.source})"
        yield TypeFinding(place, what, warning=True, reason=reason)
        yield from self.value(value, row.shape, place)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndeclaredValue:
    """What the documents have at ``place`` (without indices), and the published type has not.

    ``value`` is a pattern of texts, by default of any value; ``shape`` is what the documents say of
    an unknown property.
    """

    type: str
    place: str
    reason: str
    source: str
    value: str = "*"
    shape: Shape = "any"


@cache
def undeclared_values() -> tuple[UndeclaredValue, ...]:
    """Return every value that warns, with its reason."""
    return tuple(UndeclaredValue(**row) for row in _document(UNDECLARED_FILE)["rows"])


def _documented(name: str, place: str, value: object) -> UndeclaredValue | None:
    rows = (row for row in undeclared_values() if (row.type, row.place) == (name, place))
    return next((row for row in rows if fnmatchcase(str(value), row.value)), None)


def without_indices(place: str) -> str:
    """Return a place whatever the number of the item."""
    return _INDEX.sub("", place)


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _is_of(value: object, primitive: str) -> bool:
    if isinstance(value, bool):
        return primitive == "bool"
    return isinstance(value, _PRIMITIVES[primitive])


def _word(value: object) -> str:
    """Return what a template calls the type of *value*."""
    words = {str: "string", bool: "bool", int: "int", float: "number", list: "array"}
    return words.get(type(value), "object")


def _meant(key: str, names: Mapping[str, str]) -> str:
    near = get_close_matches(key, names, n=1)
    return f" (is {near[0]} meant?)" if near else ""
