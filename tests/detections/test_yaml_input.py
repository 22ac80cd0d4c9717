"""YAML that people wrote: what cannot be read is one error, with the place, for every reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from mailvigil.compiler.sigma_filters import load_filters
from mailvigil.errors import InputError, RuleError
from mailvigil.rules.content import load_functions
from mailvigil.rules.hunting_query import parse_hunting
from mailvigil.rules.kql_rule import parse_kql_rule
from mailvigil.rules.sigma_rule import parse_sigma_rule
from mailvigil.sentinel.content_files import load_solution
from mailvigil.workbench.other_queries import load_others
from mailvigil.workbench.ruletest import load_cases
from mailvigil.workbench.yaml_documents import documents
from mailvigil.yaml_input import MOST_LEVELS, YamlError, load_yaml, load_yaml_documents

DATE = "a date or time that does not exist"
NUMBER = "a number that cannot be read, or is too large"
VALUE = "a value that cannot be read"
TOO_DEEP = f"nested too deeply (at most {MOST_LEVELS} levels)"


def nested(levels: int) -> str:
    """Return a text of so many levels: a mapping with lists in it."""
    return "a: " + "[" * (levels - 1) + "]" * (levels - 1)


@pytest.mark.parametrize(
    ("text", "what", "line", "column"),
    [
        ("a: 1\nb: 2024-02-31\n", DATE, 2, 4),
        ("a: 2024-01-01 99:99:99\n", DATE, 1, 4),
        ("a: 2024-01-01T00:00:00+99:99\n", DATE, 1, 4),
        ("a: !!timestamp soon\n", DATE, 1, 4),
        (f"a:\n  b: {'9' * 5_000}\n", NUMBER, 2, 6),
        ("a: !!int x\n", NUMBER, 1, 4),
        ("a: !!float x\n", "a number that cannot be read", 1, 4),
        ("a: [1, !!bool x]\n", VALUE, 1, 8),
        ("a: !ours 1\n", "could not determine a constructor for the tag '!ours'", 1, 4),
        (nested(MOST_LEVELS + 1), TOO_DEEP, 1, 3 + MOST_LEVELS),
        ("a: &a [*a]\n", TOO_DEEP, 1, 4),
        ("a: b: c\n", "mapping values are not allowed in this context", 1, 5),
        ('a: "\x07"\n', "control characters are not allowed", None, None),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(
    text: str, what: str, line: int | None, column: int | None
) -> None:
    for load in (load_yaml, load_yaml_documents):
        with pytest.raises(YamlError) as raised:
            load(text)

        error = raised.value
        assert (error.what, error.line, error.column) == (what, line, column)
        assert str(error) == f"is not YAML{f' at line {line}' if line else ''}: {what}"


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 5_000 + "]" * 5_000, "{a: " * 3_000])
def test_any_nesting_is_an_error_and_no_crash(text: str) -> None:
    with pytest.raises(YamlError):
        load_yaml(text)


def test_what_can_be_read_is_what_pyyaml_reads() -> None:
    shared = "a: &x {b: 1}\nc: [*x, *x, 2024-02-29]\n<<: {d: 0x10}\n"
    deep = nested(MOST_LEVELS)

    assert [load_yaml(text) for text in (shared, deep, "")] == [
        yaml.safe_load(shared),
        yaml.safe_load(deep),
        None,
    ]
    assert load_yaml_documents("a: 1\n---\n---\nb: 2\n") == [{"a": 1}, None, {"b": 2}]


def test_many_aliases_of_one_node_are_looked_at_once_a_level() -> None:
    names = [f"n{number}" for number in range(60)]
    lines = ["n0: &n0 [1]"]
    lines += [f"{b}: &{b} [*{a}, *{a}]" for a, b in pairwise(names)]

    read = load_yaml("\n".join(lines))

    assert isinstance(read, dict)
    assert list(read) == names


def _written(place: Path, text: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return place


def _sigma(folder: Path, text: str) -> None:
    parse_sigma_rule(folder / "file.yaml", text)


def _kql(folder: Path, text: str) -> None:
    parse_kql_rule(folder / "file.yaml", text)


def _hunting(folder: Path, text: str) -> None:
    parse_hunting(folder / "file.yaml", text)


def _function(folder: Path, text: str) -> None:
    _written(folder / "kql" / "functions" / "file.yaml", text)
    load_functions(folder)


def _solution(folder: Path, text: str) -> None:
    _written(folder / "kql" / "solution.yaml", text)
    load_solution(folder)


def _cases(folder: Path, text: str) -> None:
    load_cases(_written(folder / "file.yaml", text))


RULE_FILES: Mapping[str, Callable[[Path, str], None]] = {
    "Sigma rule": _sigma,
    "KQL rule": _kql,
    "hunting query": _hunting,
    "KQL function": _function,
    "solution": _solution,
    "tests of a rule": _cases,
}


@pytest.mark.parametrize("name", RULE_FILES)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2024-02-31\n", f":2:4: is not YAML: {DATE} (correct it)"),
        (f"b: {'9' * 5_000}\n", f":1:4: is not YAML: {NUMBER} (correct it)"),
        (nested(900), f":1:103: is not YAML: {TOO_DEEP} (correct it)"),
        ("b: !!bool x\n", f":1:4: is not YAML: {VALUE} (correct it)"),
    ],
    ids=["date", "number", "nesting", "value"],
)
def test_every_file_of_rules_names_what_cannot_be_read_with_file_line_and_what_to_do(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(RuleError) as raised:
        RULE_FILES[name](tmp_path, text)

    [problem] = raised.value.problems
    assert problem.endswith(said)
    assert problem.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("load", "todo"),
    [(load_filters, "correct it or take it out"), (load_others, "correct it")],
    ids=["Sigma filter", "other query"],
)
@pytest.mark.parametrize(
    ("text", "what"),
    [("b: 2024-02-31\n", DATE), (f"b: {'9' * 5_000}\n", NUMBER), (nested(900), TOO_DEEP)],
    ids=["date", "number", "nesting"],
)
def test_every_file_of_a_user_names_what_cannot_be_read_with_its_line(
    tmp_path: Path, load: Callable[[Path], object], todo: str, text: str, what: str
) -> None:
    path = _written(tmp_path / "file.yaml", text)

    with pytest.raises(InputError) as raised:
        load(tmp_path)

    assert str(raised.value) == f"{path}: is not YAML at line 1: {what} ({todo})"


def test_documents_with_places_are_read_with_the_same_bounds() -> None:
    with pytest.raises(YamlError, match="at most"):
        documents(nested(MOST_LEVELS + 1))
    [document] = documents("a: 2024-02-31\n")

    assert document.data == {"a": "2024-02-31"}  # a schema sees the text that was written
