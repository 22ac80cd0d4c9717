"""What changed between two states of the content is told, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from mailvigil.workbench.diff import Item, changes

OLD = Item("rule", "throttled", "1.0.0", {"severity": "Low", "a.b": "x"}, "// 1.0.0\nT\n| take 1\n")


def told(new: Item) -> list[str]:
    return list(changes({"id": OLD}, {"id": new}))


def test_an_unchanged_rule_is_not_listed() -> None:
    assert told(OLD) == []


def test_a_field_that_came_went_or_changed_is_listed() -> None:
    new = replace(OLD, version="1.1.0", fields={"severity": "High", "c": "y"})

    assert told(new) == [
        "changed  rule throttled 1.0.0 -> 1.1.0",
        "    severity: Low -> High",
        "    a.b: no longer x",
        "    c: now y",
    ]


def test_a_change_of_the_query_is_listed_with_its_lines() -> None:
    lines = told(replace(OLD, query="// 1.1.0\nT\n| take 2\n"))

    assert lines[0] == "changed  rule throttled 1.0.0"
    assert [line for line in lines if line.startswith(("    -|", "    +|"))] == [
        "    -| take 1",
        "    +| take 2",
    ]
    assert not [line for line in lines if "//" in line]


def test_a_new_name_is_listed_as_the_same_rule() -> None:
    assert told(replace(OLD, name="blind")) == ["changed  rule blind (was throttled) 1.0.0"]
