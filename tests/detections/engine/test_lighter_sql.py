"""Text is taken as it is, and everything else keeps the translator's own expression."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from detections.small_tenant import RULES, engine, put, read, workspace
from mailvigil.compiler.compile import to_kql
from mailvigil.engine import translation
from mailvigil.engine.lighter_sql import lighter
from mailvigil.rules.content import content_root

ODD = (
    "print T = 'it''s (', B = true, N = real(nan), D = datetime(2026-01-02), S = 90m, "
    "J = dynamic('x'), A = dynamic([1, 2]), I = 7, E = int(null), G = ''"
)
QUESTION = "typeof("


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with workspace() as made:
        put(made, [read(n, n) for n in range(3)])
        yield made


def both(con: duckdb.DuckDBPyConnection, kql: str) -> tuple[str, str]:
    """Return *kql* as the translator writes it, and what is made of it."""
    on = engine(con, materialise=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translation, "lighter", lambda sql: sql)
        translation.translate.cache_clear()
        written = on.prepare(kql).sql
    translation.translate.cache_clear()
    return written, lighter(written)


def rows(con: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    return con.cursor().execute(sql).fetchall()


@pytest.mark.parametrize(
    "text",
    [
        "strcat('a', 'it\\'s (', \"b\")",
        "strcat(strcat(T, '|', I), '|', strcat(T, B, D))",
        "strcat(T, strcat(N, S, J), A, E, G)",
        "strcat('a', format_datetime(D, 'yyyy'))",
        "tostring(strcat(I, '%'))",
        "tostring('')",
    ],
)
def test_a_text_of_texts_is_the_same_without_the_question_for_its_type(
    con: duckdb.DuckDBPyConnection, text: str
) -> None:
    written, made = both(con, f"{ODD} | project X = {text}")

    assert made.count(QUESTION) < written.count(QUESTION)
    assert rows(con, made) == rows(con, written)
    assert rows(con, made)[0][0] is not None


@pytest.mark.parametrize("name", ["T", "B", "N", "D", "S", "J", "A", "I", "E", "G"])
def test_a_column_is_asked_for_its_type(con: duckdb.DuckDBPyConnection, name: str) -> None:
    written, made = both(con, f"{ODD} | project X = strcat({name})")

    assert made == written


@pytest.mark.parametrize(
    "sql",
    [
        "coalesce(CASE typeof('a') WHEN 'JSON' THEN 'b' END, '')",
        "coalesce(CASE typeof(concat('a') || 'b') WHEN 'JSON' THEN 'c' END, '')",
        "SELECT ')'",
    ],
)
def test_another_expression_is_left_alone(sql: str) -> None:
    assert lighter(sql) == sql


def test_a_rule_that_joins_texts_of_texts_is_a_third_as_long(
    con: duckdb.DuckDBPyConnection,
) -> None:
    kql = to_kql(RULES["audit_feed_rows_missing"], content_root())

    written, made = both(con, kql)

    assert len(made) * 3 < len(written)
