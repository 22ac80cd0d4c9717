"""What is typed or piped into the shell is cut into single queries."""

from __future__ import annotations

import pytest

from mailvigil.query.statements import is_complete, queries


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A | count; B\n| count\n\nC;\n", ["A | count", "B\n| count", "C"]),
        ("let x = 1;\nprint x;print 2", ["let x = 1;\nprint x", "print 2"]),
        ("let x = 1;\n\nprint x", ["let x = 1;\n\nprint x"]),
        ("print 'a;b', \"c\n\n;\"", ["print 'a;b', \"c", '"']),
        ("print 'a;b' // c;d\n| take 1", ["print 'a;b' // c;d\n| take 1"]),
        (".tables\nprint 1\n\n.schema T\n", [".tables", "print 1", ".schema T"]),
        ("\n\n;\n \n", []),
    ],
)
def test_queries_are_cut_at_semicolons_and_empty_lines(text: str, expected: list[str]) -> None:
    assert queries(text) == expected


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("A | count", True), ("A |", False), ("A | where x in (1,", False), ("let x = 1;", False),
        ("let x = 1; print x", True), ("print '('", True), (".tables", True), ("", True),
        ("A | count;", True), ("print 1 // |", True),
    ],
)  # fmt: skip
def test_enter_runs_a_query_only_when_it_is_whole(text: str, complete: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert is_complete(text) is complete
