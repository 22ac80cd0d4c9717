"""ARM template expressions: read them, and give the value that a deployment would.

Only the functions that the project's templates use are known; another one is refused. What a
deployment alone can know, such as a resource group's name, has a made-up value.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mailvigil.errors import InputError

SUBSCRIPTION = "/subscriptions/00000000-0000-4000-8000-000000000001"
GROUP = f"{SUBSCRIPTION}/resourceGroups/contoso"
REGION = "westeurope"
TENANT = "00000000-0000-4000-8000-000000000002"

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<name>[A-Za-z_]\w*)|(?P<mark>[()\[\],.]))",
    re.ASCII,
)
_NAMESPACE = uuid.UUID("5a6f2b7e-1c3d-5e8f-9a0b-4c5d6e7f8a9b")


class ExpressionError(InputError):
    """An expression cannot be read, or names what is not there."""


@dataclass(slots=True)
class Scope:
    """What a template declares; ``used`` collects the names of what expressions read.

    ``functions`` (names in lower case) come before those known to all templates. ``indexes`` are
    the loops that are open, by name.
    """

    parameters: Mapping[str, Any]
    variables: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    indexes: dict[str, int] = field(default_factory=dict)
    used: set[tuple[str, str]] = field(default_factory=set)
    open: list[tuple[str, str]] = field(default_factory=list)

    def read(self, kind: str, name: str) -> Any:  # noqa: ANN401 - a template's value is any JSON
        """Return the value of a parameter or variable, resolved itself.

        Raises:
            ExpressionError: It is not declared, or refers to itself.

        """
        declared = self.note(kind, name)
        key = (kind, name.lower())
        if key in self.open:
            raise ExpressionError(f"{kind}('{name}')", "refers to itself")
        self.open.append(key)
        try:
            return self.resolve(declared)
        finally:
            self.open.pop()

    def note(self, kind: str, name: str) -> Any:  # noqa: ANN401 - a template's value is any JSON
        """Note that a parameter or variable is used; return it as it is declared.

        Raises:
            ExpressionError: It is not declared.

        """
        declared = {k.lower(): v for k, v in getattr(self, kind).items()}
        if name.lower() not in declared:
            raise ExpressionError(f"{kind}('{name}')", "is not declared", "declare or rename it")
        self.used.add((kind, name.lower()))
        return declared[name.lower()]

    def resolve(self, value: Any) -> Any:  # noqa: ANN401 - a template's value is any JSON
        """Return *value* with every expression in it replaced by its value.

        Raises:
            ExpressionError: An expression cannot be read, or names what is not there.

        """
        if isinstance(value, str):
            return self.evaluate(value)
        if isinstance(value, dict):
            loops = value.get("copy") if isinstance(value.get("copy"), list) else None
            plain = {key: item for key, item in value.items() if key != "copy" or loops is None}
            resolved = {self.evaluate(key): self.resolve(item) for key, item in plain.items()}
            return {**resolved, **{loop["name"]: self._repeated(loop) for loop in loops or ()}}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return value

    def _repeated(self, loop: Mapping[str, Any]) -> list[Any]:
        """Return a property that is written as a loop, each item with its index."""
        items = []
        for index in range(self.resolve(loop["count"])):
            self.indexes[loop["name"]] = index
            items.append(self.resolve(loop["input"]))
        self.indexes.pop(loop["name"], None)
        return items

    def evaluate(self, text: str) -> Any:  # noqa: ANN401 - a template's value is any JSON
        """Return the value of a text of a template: the text itself, unless it is an expression."""
        if not (text.startswith("[") and text.endswith("]")):
            return text
        if text.startswith("[["):
            return text[1:]
        reader = _ExpressionReader(text[1:-1], self)
        value = reader.value()
        reader.end()
        return value


class _ExpressionReader:
    """Reads one expression from left to right and evaluates as it goes."""

    def __init__(self, text: str, scope: Scope) -> None:
        self._text = text
        self._scope = scope
        self._tokens = self._split()
        self._at = 0

    def _split(self) -> list[tuple[str, str]]:
        tokens, place = [], 0
        while self._text[place:].strip():
            token = _TOKEN.match(self._text, place)
            if not token or not token.lastgroup:
                self._fail(f"unexpected {self._text[place:].strip()[:20]!r}")
            tokens.append((token.lastgroup, token[token.lastgroup]))
            place = token.end()
        return tokens

    def value(self) -> Any:  # noqa: ANN401 - an expression's value is any JSON
        kind, text = self._next()
        if kind == "mark":
            self._fail(f"unexpected {text!r}")
        if kind == "text":
            return self._parts(text[1:-1].replace("''", "'"))
        return self._parts(int(text) if kind == "number" else self._call(text))

    def end(self) -> None:
        if self._at < len(self._tokens):
            self._fail(f"unexpected {self._tokens[self._at][1]!r}")

    def _call(self, name: str) -> Any:  # noqa: ANN401 - an expression's value is any JSON
        self._expect("(")
        if name.lower() == "if":
            return self._chosen()
        arguments: list[Any] = []
        while not self._is(")"):
            if arguments:
                self._expect(",")
            arguments.append(self.value())
        self._expect(")")
        if name.lower() in {"parameters", "variables"}:
            return self._scope.read(name.lower(), str(arguments[0]) if arguments else "")
        function = self._function(name.lower())
        if function is None:
            self._fail(f"unknown function {name} (there are {', '.join(_FUNCTIONS)})")
        try:
            return function(*arguments)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            self._fail(f"{name}: {error}")

    def _function(self, name: str) -> Callable[..., Any] | None:
        if name == "copyindex":
            return self._scope.indexes.__getitem__
        return self._scope.functions.get(name) or _FUNCTIONS.get(name)

    def _chosen(self) -> Any:  # noqa: ANN401 - an expression's value is any JSON
        """Return the branch that is taken; of the other only the names are looked at."""
        condition = self.value()
        if not isinstance(condition, bool):
            self._fail("if: its condition is neither true nor false")
        chosen: Any = None
        for branch in (True, False):
            self._expect(",")
            if branch is condition:
                chosen = self.value()
            else:
                self._skip()
        self._expect(")")
        return chosen

    def _skip(self) -> None:
        depth = 0
        while depth or not (self._is(",") or self._is(")")):
            kind, text = self._next()
            if kind == "mark":
                depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(text, 0)
            if text.lower() in {"parameters", "variables"} and self._is("("):
                self._next()
                depth += 1
                self._scope.note(text.lower(), self._next()[1].strip("'"))

    def _parts(self, value: Any) -> Any:  # noqa: ANN401 - an expression's value is any JSON
        while self._is(".") or self._is("["):
            _, mark = self._next()
            key = self._next()[1] if mark == "." else self.value()
            if mark == "[":
                self._expect("]")
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                self._fail(f"nothing has {key!r}")
        return value

    def _is(self, mark: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at] == ("mark", mark)

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            self._fail("ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, mark: str) -> None:
        if not self._is(mark):
            self._fail(f"{mark!r} is missing")
        self._at += 1

    def _fail(self, what: str) -> NoReturn:
        raise ExpressionError(f"[{self._text}]", what)


def resource_id(*words: str, group: str = GROUP) -> str:
    """Return a resource's id: the type has as many parts after its namespace as there are names.

    A resource group's name, or a subscription's id and a group's, may precede the type.

    Raises:
        ValueError: There are more or fewer names.

    """
    before = next((n for n, word in enumerate(words) if "/" in word), 0)
    if before:
        subscription = words[0] if before > 1 else group.split("/")[2]
        group = f"/subscriptions/{subscription}/resourceGroups/{words[before - 1]}"
    kind, *names = words[before:]
    namespace, *types = kind.split("/")
    if len(types) != len(names) or not types:
        raise ValueError(f"{kind} needs {len(types)} names, and has {len(names)}")
    path = "/".join(f"{type_name}/{name}" for type_name, name in zip(types, names, strict=True))
    return f"{group}/providers/{namespace}/{path}"


def _extension_id(scope: str, *words: str) -> str:
    return f"{scope}{resource_id(*words).removeprefix(GROUP)}"


def _subscription_id(*words: str) -> str:
    return f"{SUBSCRIPTION}{resource_id(*words).removeprefix(GROUP)}"


def _subnet(space: str, length: int, index: int) -> str:
    return str(list(ipaddress.ip_network(space).subnets(new_prefix=length))[index])


def _concat(*parts: Any) -> Any:  # noqa: ANN401 - texts or arrays
    if all(isinstance(part, list) for part in parts):
        return [item for part in parts for item in part]
    if not all(isinstance(part, str | int) for part in parts):
        raise TypeError("only texts together, or only arrays")
    return "".join(str(part) for part in parts)


def _union(*values: Any) -> Any:  # noqa: ANN401 - objects or arrays
    """Join as ARM does: of two keys the later one holds, but objects in both are joined."""
    first, *rest = values
    if not rest:
        return first
    other = rest[0]
    if isinstance(first, list) and isinstance(other, list):
        return _union([*first, *(item for item in other if item not in first)], *rest[1:])
    if not (isinstance(first, dict) and isinstance(other, dict)):
        raise TypeError("only objects together, or only arrays")
    both = {key for key in first.keys() & other.keys()
            if isinstance(first[key], dict) and isinstance(other[key], dict)}  # fmt: skip
    joined = {key: _union(first[key], other[key]) for key in both}
    return _union({**first, **other, **joined}, *rest[1:])


def _object(*words: Any) -> dict[str, Any]:  # noqa: ANN401 - keys and values
    if len(words) % 2 or len({*words[::2]}) < len(words) // 2:
        raise ValueError("needs a value for each key, and each key once")
    return dict(zip(words[::2], words[1::2], strict=True))


def _unique(*words: str) -> str:
    return uuid.uuid5(_NAMESPACE, "/".join(words)).hex[:13]


def _last(items: Sequence[Any]) -> Any:  # noqa: ANN401 - of any JSON
    return items[-1]


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": lambda first, second: first + second,
    "and": lambda *truths: all(truths),
    "cidrsubnet": _subnet,
    "concat": _concat,
    "contains": lambda container, item: item in container,
    "createobject": _object,
    "empty": lambda value: not value,
    "environment": lambda: {
        "suffixes": {"storage": "core.windows.net", "keyvaultDns": ".vault.azure.net"}
    },
    "equals": lambda first, second: first == second,
    "extensionresourceid": _extension_id,
    "guid": lambda *words: str(uuid.uuid5(_NAMESPACE, "/".join(words))),
    "join": lambda items, mark: mark.join(items),
    "last": _last,
    "length": len,
    "max": max,
    "not": lambda truth: not truth,
    "null": lambda: None,
    "or": lambda *truths: any(truths),
    "replace": lambda text, old, new: text.replace(old, new),
    "resourcegroup": lambda: {"id": GROUP, "name": "contoso", "location": REGION},
    "resourceid": resource_id,
    "split": lambda text, mark: text.split(mark),
    "string": str,
    "subscription": lambda: {"id": SUBSCRIPTION, "tenantId": TENANT},
    "subscriptionresourceid": _subscription_id,
    "take": lambda items, number: items[:number],
    "tolower": lambda text: text.lower(),
    "union": _union,
    "uniquestring": _unique,
}
