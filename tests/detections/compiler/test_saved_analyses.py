"""What Microsoft's parser says of a query is saved for the next run, which need not load it."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mailvigil.compiler import parser
from mailvigil.compiler.parser import Analysis, SyntaxNode, Validator
from mailvigil.errors import InputError
from mailvigil.rules.content import Function

KQL = "union (F() | project A), (print A = 1) | where B == '😀'"
FUNCTION = Function("F", "print A = 1", Path("F.yaml"), 1)
TABLES = {"T": {"A": "int"}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where analyses are saved in this test; nothing is there yet."""
    monkeypatch.setenv("MAILVIGIL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "analyses"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the V8s that are started in this test."""
    made: list[object] = []
    real = vars(parser)["MiniRacer"]

    def counting() -> object:
        made.append(real())
        return made[-1]

    monkeypatch.setattr(parser, "MiniRacer", counting)
    return made


def analysis(kql: str = KQL, function: Function = FUNCTION) -> Analysis:
    """Analyse as the next process would, which remembers nothing."""
    with Validator([function]) as validator:
        return validator.analyse(kql)


def tree(kql: str = KQL) -> SyntaxNode:
    with Validator([FUNCTION]) as validator:
        return validator.syntax(kql)


def declared(**changed: dict[str, dict[str, str]]) -> Analysis:
    with Validator([FUNCTION]) as validator:
        validator.declare([FUNCTION], **{"tables": TABLES, "watchlists": {}, **changed})
        return validator.analyse(KQL)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("look", [analysis, tree])
def test_a_saved_answer_is_the_one_that_was_made_and_starts_no_v8(
    look: Callable[[], object], started: list[object]
) -> None:
    first = look()
    assert len(started) == 1

    assert look() == first
    assert len(started) == 1


@pytest.mark.usefixtures("started")
def test_an_answer_that_was_saved_holds_faults_and_the_legs_of_unions(folder: Path) -> None:
    analysis()
    again = analysis()

    assert len(list(folder.iterdir())) == 1
    [fault] = again.diagnostics
    assert (fault.code, fault.column) == ("KS142", KQL.index("B ==") + 1)
    [union] = again.unions
    assert [KQL[leg.start : leg.end] for leg in union.legs] == [
        "(F() | project A)",
        "(print A = 1)",
    ]


@pytest.mark.parametrize(
    "other",
    [
        lambda: analysis(KQL + " "),
        lambda: analysis(function=Function("F", "print A = 'x'", Path("F.yaml"), 1)),
        lambda: declared(tables={"T": {"A": "long"}}),
        lambda: declared(watchlists={"W": {"A": "string"}}),
        tree,
    ],
    ids=["text", "function", "table", "watchlist", "syntax"],
)
@pytest.mark.usefixtures("folder")
def test_what_an_answer_depends_on_is_its_key(
    other: Callable[[], object], started: list[object]
) -> None:
    analysis()
    declared()
    other()

    assert len(started) == 3


@pytest.mark.usefixtures("folder")
def test_another_parser_analyses_again(
    started: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis()
    monkeypatch.setattr(parser, "_parser_digest", lambda: "of another version")
    analysis()

    assert len(started) == 2


@pytest.mark.parametrize("answer", [None, 1, ["{}"]])
def test_an_entry_that_holds_no_answer_is_made_again(
    folder: Path, started: list[object], answer: object
) -> None:
    right = analysis()
    [entry] = folder.iterdir()
    whole = entry.read_bytes()
    saved = json.loads(gzip.decompress(whole))
    entry.write_bytes(gzip.compress(json.dumps({**saved, "result": answer}).encode()))

    assert analysis() == right
    assert len(started) == 2
    assert entry.read_bytes() == whole


HEAD = "// A title 😀\n//\n// its id, 1.0.0\n"


@pytest.mark.usefixtures("folder")
def test_comments_before_a_query_move_places_and_are_not_analysed(started: list[object]) -> None:
    bare = analysis()
    below = analysis(HEAD + KQL)

    assert len(started) == 1
    assert below.columns == bare.columns
    [fault], [first] = below.diagnostics, bare.diagnostics
    assert (fault.line, fault.column) == (first.line + 3, first.column)
    assert (fault.code, fault.message) == (first.code, first.message)
    [union], text = below.unions, HEAD + KQL
    assert [text[leg.start : leg.end] for leg in union.legs] == [
        "(F() | project A)",
        "(print A = 1)",
    ]


@pytest.mark.parametrize(
    "kql", [HEAD + KQL, f"// a\r\n{KQL}", f"// a\n\n// b\n{KQL}", f"{KQL}\n// end", "// alone"]
)
def test_an_analysis_is_that_of_the_whole_text(
    kql: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = analysis(kql), tree(kql)
    shutil.rmtree(folder)
    monkeypatch.setattr(parser, "_COMMENTS", re.compile("(?!)"))

    assert cut == (analysis(kql), tree(kql))


@pytest.mark.usefixtures("folder")
def test_what_is_piped_into_a_union_below_comments_is_where_it_is() -> None:
    kql = f"{HEAD}print A = 1 | union (print A = 2)"

    [union] = analysis(kql).unions

    assert union.input
    assert kql[union.input.start : union.input.end] == "print A = 1"


def test_an_error_of_the_parser_is_not_saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> str:
        raise InputError("query", "Microsoft's parser failed: Error: no")

    monkeypatch.setattr(Validator, "_ask", failing)

    with pytest.raises(InputError, match="Error: no"):
        analysis()
    assert not folder.exists()


def test_a_parser_that_is_not_there_is_named_before_any_query(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for cached in (parser._parser_digest, parser._parser_scripts):  # noqa: SLF001
        monkeypatch.setattr(parser, cached.__name__, cached.__wrapped__)
    monkeypatch.setattr(parser, "PACKAGE", tmp_path / "a" / "b")

    with pytest.raises(InputError, match="Microsoft's KQL parser is not installed"):
        Validator([])
