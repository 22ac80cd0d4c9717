"""The threat model names tests and settings that exist, and names one for each measure."""

from __future__ import annotations

import re

import pytest

from infra.conftest import CHECKOUT

TEXT = (CHECKOUT / "docs" / "threat-model.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`((?:tests|infra|sigma|kql|connector)/[^`:]+)(?:::([^`]+))?`")
TABLES = re.findall(r"^\| .*shown by \|\n\|[ -|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
ROWS = [line for table in TABLES for line in table.splitlines()]


def test_the_page_has_three_tables_of_measures() -> None:
    assert len(TABLES) == 3
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_every_measure_names_its_proof(row: str) -> None:
    last = row.rstrip(" |").rpartition("|")[2]

    assert NAMED.search(last)


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(TEXT))))
def test_every_proof_that_is_named_exists(path: str, name: str) -> None:
    file = CHECKOUT / path
    text = file.read_text(encoding="utf-8")

    if file.suffix == ".py":
        assert re.search(rf"^def {re.escape(name)}\(", text, re.MULTILINE)
    else:
        assert name in text
