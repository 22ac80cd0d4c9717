"""Microsoft's own KQL parser over every query, in this process. The only module that knows it.

It knows what a workspace would refuse: a syntax error, an unknown table, column or function, a
wrong type. It does not run anything. To load it takes a second, and to analyse the rules half a
minute: what an earlier run saved of a query needs neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from py_mini_racer import JSEvalException, MiniRacer

from mailvigil.errors import InputError
from mailvigil.rules.content import PACKAGE, Function
from mailvigil.saved_results import saved_results
from mailvigil.tables.schemas import WATCHLIST_COLUMNS, schemas

PARSER = "@kusto/language-service-next"
_COMMENTS = re.compile(r"\A(?://[^\r\n]*\n)+")
_JS_ERROR = re.compile(r"\w*Error: .*")
_SCRIPTS = ("bridge.min.js", "Kusto.Language.Bridge.min.js")
"""The parser's files, in the order in which they must be loaded."""

_BRIDGE = PACKAGE / "compiler" / "parser.js"
"""Our script, which is loaded last."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding of the parser. ``line`` and ``column`` are 1-based places in the text."""

    code: str
    severity: str
    message: str
    line: int
    column: int

    @property
    def said(self) -> str:
        """What it says, without its place: severity, code and message."""
        return f"{self.severity.lower()} {self.code}: {self.message}"

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
class UnionLeg:
    """One leg of a ``union``, at ``start`` to ``end`` of the query, with its columns and types.

    Its columns are those that it has by itself, whatever the other legs have.
    """

    start: int
    end: int
    columns: Mapping[str, str]

    @classmethod
    def load(cls, leg: Mapping[str, Any], kql: str) -> Self:
        """Read the bridge's answer about the query *kql*."""
        return cls(_index(kql, leg["start"]), _index(kql, leg["end"]), _columns(leg["columns"]))

    def moved(self, length: int) -> UnionLeg:
        """Return the leg of a query before which *length* characters more stand."""
        return replace(self, start=self.start + length, end=self.end + length)


@dataclass(frozen=True, slots=True)
class ParsedUnion:
    """One ``union``. ``input`` is what is piped into it; ``fuzzy`` is ``isfuzzy=true``."""

    input: UnionLeg | None
    legs: tuple[UnionLeg, ...]
    fuzzy: bool

    @classmethod
    def load(cls, union: Mapping[str, Any], kql: str) -> Self:
        """Read one element of the bridge's answer about the query *kql*."""
        piped = union["input"]
        return cls(
            input=UnionLeg.load(piped, kql) if piped else None,
            legs=tuple(UnionLeg.load(leg, kql) for leg in union["legs"]),
            fuzzy=bool(union["fuzzy"]),
        )

    def moved(self, length: int) -> ParsedUnion:
        """Return the union of a query before which *length* characters more stand."""
        piped = self.input.moved(length) if self.input else None
        return replace(self, input=piped, legs=tuple(leg.moved(length) for leg in self.legs))


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the parser says of one query: its diagnostics, the result's columns, its unions."""

    diagnostics: tuple[Diagnostic, ...]
    columns: Mapping[str, str]
    unions: tuple[ParsedUnion, ...]

    @classmethod
    def load(cls, answer: Mapping[str, Any], kql: str) -> Self:
        """Read the bridge's answer about the query *kql*."""
        return cls(
            diagnostics=tuple(Diagnostic.load(diagnostic) for diagnostic in answer["diagnostics"]),
            columns=_columns(answer["columns"]),
            unions=tuple(ParsedUnion.load(union, kql) for union in answer["unions"]),
        )

    def below(self, comments: str) -> Analysis:
        """Return the analysis of the query with whole lines of *comments* before it."""
        if not comments:
            return self
        lines, length = comments.count("\n"), len(comments)
        return replace(
            self,
            diagnostics=tuple(replace(d, line=d.line + lines) for d in self.diagnostics),
            unions=tuple(union.moved(length) for union in self.unions),
        )


@dataclass(frozen=True, slots=True)
class SyntaxNode:
    """One node of a query's syntax tree, ``kind`` as Microsoft's parser calls it.

    ``text`` is that of a leaf or of a parameter like ``kind=leftanti``, else empty. ``columns`` is
    how many columns the table has that the node stands for, 0 where it stands for none.
    """

    kind: str
    children: tuple[SyntaxNode, ...] = ()
    text: str = ""
    columns: int = 0

    @classmethod
    def load(cls, node: Mapping[str, Any]) -> Self:
        """Read the bridge's tree."""
        children = tuple(cls.load(child) for child in node["children"])
        return cls(node["kind"], children, node.get("text", "").strip(), node.get("columns", 0))

    def below(self, *kinds: str) -> list[SyntaxNode]:
        """Return the children that are of one of *kinds*."""
        return [child for child in self.children if child.kind in kinds]

    def walk(self) -> Iterator[SyntaxNode]:
        """Yield the node and all nodes below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def _started_parser() -> MiniRacer:
    """Return the parser when it is loaded to its end: Ctrl-C may come in the middle."""
    v8 = MiniRacer()
    try:
        v8.eval("var console = {log(){}, warn(){}, error(){}, info(){}, debug(){}};")
        for path in (*_parser_scripts(), _BRIDGE):
            v8.eval(path.read_text(encoding="utf-8"))
    except BaseException:
        v8.close()
        raise
    return v8


class Validator:
    """Microsoft's parser, with the tables, functions and watchlists that queries may use.

    A context manager: a V8 that is not closed keeps the process from ending.
    """

    def __init__(self, functions: Sequence[Function]) -> None:
        """Let queries use *functions* and the tables of a workspace.

        Raises:
            InputError: The parser is not installed.

        """
        self._digest = _parser_digest()
        self._started: MiniRacer | None = None
        self._declared = ""
        self._workspace = ""
        self._answers: dict[tuple[str, str], Analysis] = {}
        self.declare(functions, schemas())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._started:
            self._started.close()

    @property
    def _v8(self) -> MiniRacer:
        """The parser, which is started by the first question that no saved answer is there for."""
        if not self._started:
            self._started = _started_parser()
        return self._started

    def declare(
        self,
        functions: Sequence[Function],
        tables: Mapping[str, Mapping[str, str]],
        watchlists: Mapping[str, Mapping[str, str]] = WATCHLIST_COLUMNS,
    ) -> None:
        """Have the queries after this one be those of another workspace.

        A watchlist without columns is one that the workspace does not have.
        """
        self._workspace = json.dumps(_workspace(functions, tables, watchlists))

    def analyse(self, kql: str) -> Analysis:
        """Return what the parser says of *kql*; warnings are returned like errors.

        The same text is parsed once for each workspace: a rule is looked at from several sides.
        Comments before it, as a compiled rule has with its title and version, only move places.
        """
        begin = _COMMENTS.match(kql)
        comments = begin[0] if begin else ""
        text = kql[len(comments) :]
        key = (self._workspace, text)
        if key not in self._answers:
            self._answers[key] = Analysis.load(self._saved_or_asked("analyse", text), text)
        return self._answers[key].below(comments)

    def syntax(self, kql: str) -> SyntaxNode:
        """Return the syntax tree of *kql*, which need not be without fault."""
        return SyntaxNode.load(self._saved_or_asked("syntax", _COMMENTS.sub("", kql)))

    def complete(self, text: str, position: int) -> tuple[int, list[str]]:
        """Return where the word at *position* of *text* begins, and all words that fit there."""
        answer = json.loads(self._ask("complete", text, _units(text[:position])))
        start = _index(text, answer["start"])
        begun = text[start:position].lower()
        return start, [word for word in answer["words"] if word.lower().startswith(begun)]

    def _saved_or_asked(self, function: str, kql: str) -> Any:  # noqa: ANN401 - JSON of our script
        """Return what an earlier run saved, else what the parser says, which is saved."""
        saved = saved_results("analyses")
        workspace = sha256(self._workspace.encode()).hexdigest()
        key = json.dumps([self._digest, workspace, function, kql])
        answer = saved.get(key) if saved else None
        if not isinstance(answer, str):
            answer = self._ask(function, kql)
            if saved:
                saved.put(key, answer)
        return json.loads(answer)

    def _ask(self, function: str, *given: object) -> str:
        """Return the JSON that a function of our own script returns in this workspace."""
        try:
            if self._declared != self._workspace:
                self._v8.call("declareWorkspace", self._workspace)
                self._declared = self._workspace
            return str(self._v8.call(function, *given))
        except JSEvalException as error:
            # The message of an error of V8 goes on with the source and the whole stack.
            js_error = _JS_ERROR.search(str(error))
            what = js_error[0] if js_error else "an error without a message"
            raise InputError("query", f"Microsoft's parser failed: {what}") from error


def _units(text: str) -> int:
    """Return the length in UTF-16 units, in which JavaScript counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _index(text: str, units: int) -> int:
    """Return where in *text* the UTF-16 unit number *units* is."""
    return len(
        text.encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "replace")
    )


def _columns(listed: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {column["name"]: column["type"] for column in listed}


def _workspace(
    functions: Sequence[Function],
    tables: Mapping[str, Mapping[str, str]],
    watchlists: Mapping[str, Mapping[str, str]],
) -> dict[str, object]:
    return {
        "tables": {t: c for t, c in tables.items() if not t.startswith("_")},
        "functions": [
            {"name": f.name, "parameters": f"({f.parameters})", "body": f.body} for f in functions
        ],
        "watchlists": watchlists,
    }


@cache
def _parser_digest() -> str:
    """Return a digest of the parser and of our script, on which all of its answers depend."""
    digest = sha256()
    for path in (*_parser_scripts(), _BRIDGE):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _parser_scripts() -> tuple[Path, ...]:
    """Return the parser's files: in the wheel, else where ``npm ci`` put them.

    Raises:
        InputError: They are in neither place.

    """
    places = (PACKAGE / "kusto", PACKAGE.parents[1] / "node_modules" / PARSER)
    for place in places:
        scripts = tuple(place / script for script in _SCRIPTS)
        if all(script.is_file() for script in scripts):
            return scripts
    raise InputError(
        PARSER,
        "Microsoft's KQL parser is not installed",
        "in a checkout, make install; else install a wheel that make wheel built",
    )
