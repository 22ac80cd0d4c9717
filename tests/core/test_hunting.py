"""Hunting queries are read from Sentinel's own YAML form, and refused when they are not of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mailvigil.errors import RuleError
from mailvigil.hunting import load_hunting, parse_hunting
from mailvigil.rules import Entity

TEXT = """\
id: 0b1f6f0e-7d3c-4c52-9d0a-0a5f6a1c2d01
name: Callers by first use
description: |
  Lists callers.
requiredDataConnectors:
  - connectorId: Office365
    dataTypes:
      - OfficeActivity (Exchange)
tactics:
  - Collection
relevantTechniques:
  - T1114
query: |
  let start = todatetime('{{StartTimeISO}}');
  MailItemsAccessed()
  | where EventTime between (start .. todatetime('{{EndTimeISO}}'))
entityMappings:
  - entityType: Account
    fieldMappings:
      - identifier: FullName
        columnName: UserId
version: 1.0.0
"""
PATH = Path("callers.yaml")


def changed(**values: object) -> str:
    data = {**yaml.safe_load(TEXT), **values}
    return yaml.safe_dump({key: value for key, value in data.items() if value is not None})


def test_a_query_is_read_as_something_else() -> None:
    query = parse_hunting(PATH, TEXT)

    assert (query.name, query.title, query.version) == ("callers", "Callers by first use", "1.0.0")
    assert query.sources == ("OfficeActivity",)
    assert query.entities == (Entity("Account", "FullName", "UserId"),)
    assert query.tags == ("attack.collection", "attack.t1114")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "not a mapping"),
        ("a: [", "no hunting query: while parsing"),
        (changed(id="mine"), "id is no GUID"),
        (changed(query=None), "query is missing or wrong"),
        (changed(version=1.0), "version is missing or wrong"),
        (changed(tactics="Collection"), "tactics is missing or wrong"),
        (changed(relevantTechniques=None), "relevantTechniques is missing or wrong"),
        (changed(severity="High"), "unknown key severity"),
        (changed(entityMappings=[{"entityType": "IP"}]), "entityMappings are not of Sentinel's"),
        (changed(requiredDataConnectors="x"), "requiredDataConnectors or"),
    ],
)
def test_what_is_no_hunting_query_is_read(text: str, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_hunting(PATH, text)

    assert all(problem.startswith("callers.yaml: ") for problem in caught.value.problems)
    assert message in str(caught.value)


def test_only_the_first_broken_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "kql" / "hunting"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text("- x\n", encoding="utf-8")
    (folder / "c.test.yaml").write_text("tests: []\n", encoding="utf-8")

    with pytest.raises(RuleError) as caught:
        load_hunting(tmp_path)

    assert len(caught.value.problems) == 2
