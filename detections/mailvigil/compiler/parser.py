"""Microsoft's own KQL parser over every query, in this process. The only module that knows it.

It knows what a workspace would refuse: a syntax error, an unknown table, column or function, a
wrong type. It does not run anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from py_mini_racer import JSEvalException, MiniRacer

from mailvigil.errors import InputError
from mailvigil.rules.content import PACKAGE, Function
from mailvigil.tables.schemas import WATCHLIST_COLUMNS, schemas

PARSER = "@kusto/language-service-next"
_JS_ERROR = re.compile(r"\w*Error: .*")
_SCRIPTS = ("bridge.min.js", "Kusto.Language.Bridge.min.js")
"""The parser's files, in the order in which they must be loaded."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding of the parser. ``line`` and ``column`` are 1-based places in the text."""

    code: str
    severity: str
    message: str
    line: int
    column: int

    @classmethod
    def load(cls, diagnostic: Mapping[str, object]) -> Self:
        """Read one element of the bridge's answer; the text it points at joins the message."""
        text = str(diagnostic["text"]).strip()
        return cls(
            code=str(diagnostic["code"]),
            severity=str(diagnostic["severity"]),
            message=f"{diagnostic['message']}{f' (at {text!r})' if text else ''}",
            line=int(str(diagnostic["line"])),
            column=int(str(diagnostic["column"])),
        )


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the parser says of one query: its diagnostics, and the result's columns and types."""

    diagnostics: tuple[Diagnostic, ...]
    columns: Mapping[str, str]


class Validator:
    """Microsoft's parser, with the tables, functions and watchlists that queries may use.

    A context manager: a V8 that is not closed keeps the process from ending.
    """

    def __init__(self, functions: Sequence[Function]) -> None:
        self._v8 = MiniRacer()
        self._v8.eval("var console = {log(){}, warn(){}, error(){}, info(){}, debug(){}};")
        for script in _SCRIPTS:
            self._v8.eval((_parser_folder() / script).read_text(encoding="utf-8"))
        self._v8.eval((files("mailvigil.compiler") / "parser.js").read_text(encoding="utf-8"))
        self._workspace = ""
        self._answers: dict[tuple[str, str], Analysis] = {}
        self.declare(functions, schemas())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._v8.close()

    def declare(
        self, functions: Sequence[Function], tables: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Have the queries after this one be those of another workspace."""
        self._workspace = json.dumps(_workspace(functions, tables))
        self._v8.call("declareWorkspace", self._workspace)

    def analyse(self, kql: str) -> Analysis:
        """Return what the parser says of *kql*; warnings are returned like errors.

        The same text is parsed once for each workspace: a rule is looked at from several sides.
        """
        key = (self._workspace, kql)
        if key not in self._answers:
            answer = self._call("analyse", kql)
            self._answers[key] = Analysis(
                diagnostics=tuple(
                    Diagnostic.load(diagnostic) for diagnostic in answer["diagnostics"]
                ),
                columns={c["name"]: c["type"] for c in answer["columns"]},
            )
        return self._answers[key]

    def complete(self, text: str, position: int) -> tuple[int, list[str]]:
        """Return where the word at *position* of *text* begins, and all words that fit there."""
        answer = self._call("complete", text, _units(text[:position]))
        typed = text.encode("utf-16-le")[2 * answer["start"] : 2 * _units(text[:position])]
        start = position - len(typed.decode("utf-16-le", "replace"))
        begun = text[start:position].lower()
        return start, [word for word in answer["words"] if word.lower().startswith(begun)]

    def _call(self, function: str, *given: object) -> Any:  # noqa: ANN401 - JSON of our own script
        try:
            return json.loads(str(self._v8.call(function, *given)))
        except JSEvalException as error:
            # The message of an error of V8 goes on with the source and the whole stack.
            js_error = _JS_ERROR.search(str(error))
            what = js_error[0] if js_error else "an error without a message"
            raise InputError("query", f"Microsoft's parser failed: {what}") from error


def _units(text: str) -> int:
    """Return the length in UTF-16 units, in which JavaScript counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _workspace(
    functions: Sequence[Function], tables: Mapping[str, Mapping[str, str]]
) -> dict[str, object]:
    return {
        "tables": {t: c for t, c in tables.items() if not t.startswith("_")},
        "functions": [{"name": f.name, "parameters": "()", "body": f.body} for f in functions],
        "watchlists": WATCHLIST_COLUMNS,
    }


@cache
def _parser_folder() -> Path:
    """Return where the parser's files are: in the wheel, else where ``npm ci`` put them.

    Raises:
        InputError: They are in neither place.

    """
    places = (PACKAGE / "kusto", PACKAGE.parents[1] / "node_modules" / PARSER)
    for place in places:
        if all((place / script).is_file() for script in _SCRIPTS):
            return place
    raise InputError(
        PARSER,
        "Microsoft's KQL parser is not installed",
        f"run `npm ci` in a checkout, or copy {' and '.join(_SCRIPTS)} into {places[0]}",
    )
