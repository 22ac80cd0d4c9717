"""ARM template expressions: read them, and give the value that a deployment would.

Only the functions that the content's templates use are known; another one is refused. What a
deployment alone can know, such as a resource group's name, has a made-up value.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mailvigil.errors import InputError

SUBSCRIPTION = "/subscriptions/00000000-0000-4000-8000-000000000001"
GROUP = f"{SUBSCRIPTION}/resourceGroups/contoso"
REGION = "westeurope"

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<name>[A-Za-z_]\w*)|(?P<mark>[()\[\],.]))",
    re.ASCII,
)
_NAMESPACE = uuid.UUID("5a6f2b7e-1c3d-5e8f-9a0b-4c5d6e7f8a9b")


class ExpressionError(InputError):
    """An expression cannot be read, or names what is not there."""


@dataclass(slots=True)
class Scope:
    """What a template declares; ``used`` collects the names of what expressions read."""

    parameters: Mapping[str, Any]
    variables: Mapping[str, Any]
    used: set[tuple[str, str]] = field(default_factory=set)
    open: list[tuple[str, str]] = field(default_factory=list)

    def read(self, kind: str, name: str) -> Any:  # noqa: ANN401 - a template's value is any JSON
        """Return the value of a parameter or variable, resolved itself.

        Raises:
            ExpressionError: It is not declared, or stands for itself.

        """
        declared = {k.lower(): v for k, v in getattr(self, kind).items()}
        key = (kind, name.lower())
        if name.lower() not in declared:
            raise ExpressionError(f"{kind}('{name}')", "is not declared", "declare or rename it")
        if key in self.open:
            raise ExpressionError(f"{kind}('{name}')", "stands for itself")
        self.used.add(key)
        self.open.append(key)
        try:
            return self.resolve(declared[name.lower()])
        finally:
            self.open.pop()

    def resolve(self, value: Any) -> Any:  # noqa: ANN401 - a template's value is any JSON
        """Return *value* with every expression in it replaced by what it stands for.

        Raises:
            ExpressionError: An expression cannot be read, or names what is not there.

        """
        if isinstance(value, str):
            return self.evaluate(value)
        if isinstance(value, dict):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return value

    def evaluate(self, text: str) -> Any:  # noqa: ANN401 - a template's value is any JSON
        """Return what a text of a template stands for: itself, unless it is an expression."""
        if not (text.startswith("[") and text.endswith("]")):
            return text
        if text.startswith("[["):
            return text[1:]
        reader = _Reader(text[1:-1], self)
        value = reader.value()
        reader.end()
        return value


class _Reader:
    """Reads one expression from left to right and evaluates as it goes."""

    def __init__(self, text: str, scope: Scope) -> None:
        self._text = text
        self._scope = scope
        self._tokens = self._split()
        self._at = 0

    def _split(self) -> list[tuple[str, str]]:
        tokens, place = [], 0
        while self._text[place:].strip():
            found = _TOKEN.match(self._text, place)
            if not found or not found.lastgroup:
                self._fail(f"unexpected {self._text[place:].strip()[:20]!r}")
            tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()
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
        arguments: list[Any] = []
        while not self._is(")"):
            if arguments:
                self._expect(",")
            arguments.append(self.value())
        self._expect(")")
        if name.lower() in {"parameters", "variables"}:
            return self._scope.read(name.lower(), str(arguments[0]) if arguments else "")
        function = _FUNCTIONS.get(name.lower())
        if function is None:
            self._fail(f"unknown function {name} (there are {', '.join(_FUNCTIONS)})")
        try:
            return function(*arguments)
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            self._fail(f"{name}: {error}")

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


def _resource_id(*words: str) -> str:
    """Return a resource's id: the type has as many parts after its namespace as there are names."""
    kind, *names = words
    namespace, *types = kind.split("/")
    if len(types) != len(names) or not types:
        raise ValueError(f"{kind} needs {len(types)} names, and has {len(names)}")
    path = "/".join(f"{one}/{name}" for one, name in zip(types, names, strict=True))
    return f"{GROUP}/providers/{namespace}/{path}"


def _extension_id(scope: str, *words: str) -> str:
    return f"{scope}{_resource_id(*words).removeprefix(GROUP)}"


def _concat(*parts: Any) -> Any:  # noqa: ANN401 - texts or arrays
    if all(isinstance(part, list) for part in parts):
        return [item for part in parts for item in part]
    if not all(isinstance(part, str | int) for part in parts):
        raise TypeError("only texts together, or only arrays")
    return "".join(str(part) for part in parts)


def _unique(*words: str) -> str:
    return uuid.uuid5(_NAMESPACE, "/".join(words)).hex[:13]


def _last(items: Sequence[Any]) -> Any:  # noqa: ANN401 - of any JSON
    return items[-1]


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "concat": _concat,
    "extensionresourceid": _extension_id,
    "guid": lambda *words: str(uuid.uuid5(_NAMESPACE, "/".join(words))),
    "last": _last,
    "resourcegroup": lambda: {"id": GROUP, "name": "contoso", "location": REGION},
    "resourceid": _resource_id,
    "split": lambda text, mark: text.split(mark),
    "subscription": lambda: {"id": SUBSCRIPTION},
    "take": lambda items, number: items[:number],
    "tolower": lambda text: text.lower(),
    "uniquestring": _unique,
}
