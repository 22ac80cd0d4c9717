"""Hunting queries: what is read of a file, and that each does what its tests say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from detections.small_tenant import FUNCTIONS, ROOT, workspace
from mailvigil.errors import RuleError
from mailvigil.rules.hunting_query import HuntingQuery, load_hunting, parse_hunting
from mailvigil.tables.record_tables import RECORD_TABLES
from mailvigil.workbench.ruletest import CaseRunner, load_cases
from mailvigil.workbench.ruletest import test_path as path_of_tests

QUERIES = load_hunting(ROOT)
EACH = pytest.mark.parametrize("query", QUERIES, ids=lambda query: str(query.name))


@pytest.fixture(scope="module")
def bench() -> Iterator[CaseRunner]:
    with workspace() as con:
        yield CaseRunner(con, FUNCTIONS)


def test_every_query_of_the_pack_is_loaded() -> None:
    names = [query.name for query in QUERIES]

    assert len(names) >= 7
    assert names == sorted(names)


@EACH
def test_every_query_names_in_its_own_text_the_time_that_it_reads(query: HuntingQuery) -> None:
    assert "TimeGenerated > ago(since)" in query.query


@EACH
def test_every_query_gives_the_rows_that_its_tests_say(
    bench: CaseRunner, query: HuntingQuery
) -> None:
    outcomes = list(bench.outcomes(query, query.query, load_cases(path_of_tests(query))))

    assert [one for one in outcomes if one.verdict != "pass"] == []
    records = [table for table in RECORD_TABLES if table in query.sources]
    poorest = list(RECORD_TABLES)[-1]
    together = {f"{records[0]} + {poorest}"} if {*records} - {poorest} else set()
    assert {one.source for one in outcomes} == set(query.sources) | together


def test_a_file_without_a_query_is_refused() -> None:
    data = yaml.safe_load(QUERIES[0].path.read_text(encoding="utf-8"))

    with pytest.raises(RuleError) as caught:
        parse_hunting(Path("made.yaml"), yaml.safe_dump({**data, "query": "", "tactics": None}))

    assert caught.value.problems == (
        "made.yaml: tactics is missing or wrong (give a list of texts)",
        "made.yaml: query is missing or wrong (give a text)",
    )


def test_every_broken_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "kql" / "hunting"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text("[]", encoding="utf-8")
    (folder / "b.yaml").write_bytes(b"id: \xff")
    (folder / "c.test.yaml").write_text("tests: []", encoding="utf-8")

    with pytest.raises(RuleError) as caught:
        load_hunting(tmp_path)

    assert [p.split(": ")[0] for p in caught.value.problems] == [
        str(folder / "a.yaml"),
        str(folder / "b.yaml"),
    ]
