"""The local engine has KQL's rules of types: no column of two types, no text that is null."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from detections.small_tenant import FUNCTIONS, ROOT, RULES, workspace
from mailvigil.compiler.compile import to_kql
from mailvigil.engine.embedded import Engine, QueryError
from mailvigil.engine.union_types import KnownTypes, with_kql_types

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
OLD = "LogonType = case(Logon_Type == 'Owner', 0, Logon_Type == 'Admin', int(1),"
LEFT, RIGHT = "let a = print k = '1', s = 'b', n = 1;", "let b = print k = '2', t = 'c', m = 2;"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with workspace() as con:
        yield Engine(con, FUNCTIONS)


def answer(engine: Engine, kql: str) -> list[dict[str, object]]:
    return [dict(row) for row in engine.run(engine.prepare(kql), NOW)]


@pytest.mark.parametrize(
    ("kql", "said"),
    [
        ("union (print x = toint(1)), (print x = 2)", "column x comes in two types, int and long"),
        (
            "union (print x = toint(1)), (print x = toint(2)), (print x = iff(true, 0, toint(3)))",
            "column x comes in two types, int and long",
        ),
        (
            "union withsource=T (print x = 1), (print x = '1') | count",
            "column x comes in two types, long and string",
        ),
        ("print x = 1.5 | union (print x = 1)", "column x comes in two types, long and real"),
        (
            "let a = union (print x = '1'), (print x = dynamic('1')); a | count",
            "column x comes in two types, dynamic and string",
        ),
        (
            "print k = 1 | join kind=inner (union (print k = 1), (print k = now())) on k",
            "column k comes in two types, datetime and long",
        ),
    ],
)
def test_a_column_in_two_types_is_refused(engine: Engine, kql: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        engine.prepare(kql)


def test_a_null_without_a_type_takes_that_of_the_other_legs(engine: Engine) -> None:
    rows = answer(engine, "union (print x = dynamic(null)), (print x = dynamic([1])) | take 2")

    assert [row["x"] for row in rows] in ([None, [1]], [[1], None])


def test_the_old_literal_in_a_function_is_refused() -> None:
    """A long beside the int of other tables: rules that ask for LogonType did not resolve."""
    old = [replace(f, body=f.body.replace(OLD.replace(" 0,", " int(0),"), OLD)) for f in FUNCTIONS]
    assert [f.name for f, now in zip(old, FUNCTIONS, strict=True) if f != now] == [
        "AuditRecords",
        "MailItemsAccessed",
    ]
    with workspace() as con:
        engine = Engine(con, old)

        with pytest.raises(QueryError, match="column LogonType comes in two types, int and long"):
            engine.prepare(to_kql(RULES["delegate_new_to_mailbox"], ROOT))


@pytest.mark.parametrize(
    ("kql", "expected"),
    [
        ("union (print s = 'a'), (print n = 1) | summarize S = make_set(s)", {"S": ["a", ""]}),
        (
            "union (print s = 'a'), (print n = 1) | summarize S = min(s), N = countif(s == '')",
            {"S": "", "N": 1},
        ),
        (
            f"{LEFT} {RIGHT} a | join kind=leftouter b on k",
            {"k": "1", "s": "b", "n": 1, "k1": "", "t": "", "m": None},
        ),
        (
            f"{LEFT} {RIGHT} a | join kind=rightouter b on k",
            {"k": "", "s": "", "n": None, "k1": "2", "t": "c", "m": 2},
        ),
        (
            f"{LEFT} {RIGHT} a | lookup kind=leftouter b on k",
            {"k": "1", "s": "b", "n": 1, "t": "", "m": None},
        ),
        (
            f"{LEFT} {RIGHT} a | join kind=fullouter b on k | summarize T = make_set(t)",
            {"T": ["", "c"]},
        ),
        (
            "union (print s = 'a', d = now()), (print d = ago(1d)) | where s == '' | extend H = d",
            {"s": "", "d": NOW - timedelta(days=1), "H": NOW - timedelta(days=1)},
        ),
    ],
)
def test_a_text_is_empty_and_never_null(
    engine: Engine, kql: str, expected: dict[str, object]
) -> None:
    (row,) = answer(engine, kql)

    assert {n: sorted(v) if isinstance(v, list) else v for n, v in row.items()} == {
        n: sorted(v) if isinstance(v, list) else v for n, v in expected.items()
    }


def test_a_name_with_quotes_and_a_literal_with_parentheses_are_read_right(engine: Engine) -> None:
    rows = answer(
        engine,
        "union (print ['a b'] = ')(', n = 1), (print n = 2) | order by n asc | project-away n",
    )

    assert rows == [{"a b": ")("}, {"a b": ""}]


class CountedTypes(KnownTypes):
    """Counts the texts that DuckDB binds."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        super().__init__(con)
        self.asked: list[str] = []

    def of(self, text: str) -> list[Mapping[str, str]]:
        """Return the types, and note the text."""
        self.asked.append(text)
        return super().of(text)


UNION = (
    "WITH _s0 AS (SELECT 1 AS n), _s1 AS "
    '(SELECT "n", "t" FROM (SELECT * FROM (SELECT * FROM _s0)\n'
    "UNION ALL BY NAME SELECT * FROM (SELECT 'x' AS t))) SELECT * FROM _s1"
)
BEFORE = 'WITH "_l1_F" AS (...) SELECT * FROM "_l1_F"'
EMPTY_TEXT = """coalesce("t", '') AS "t\""""


def test_the_body_of_a_function_is_bound_once_whatever_stands_before_it() -> None:
    with duckdb.connect() as con:
        types = CountedTypes(con)
        one = BEFORE.replace("...", UNION)
        other = f'WITH "_l0_a" AS (SELECT 2 AS k), {one.removeprefix("WITH ")}'

        assert EMPTY_TEXT in with_kql_types(types, one)
        assert EMPTY_TEXT in with_kql_types(types, other)

    assert types.asked[0] == types.asked[1]


def test_a_step_that_a_leg_names_in_any_case_of_letters_stays_before_it() -> None:
    union = UNION.replace("SELECT 'x' AS t", 'SELECT * FROM "_L0_A"')
    with duckdb.connect() as con:
        one = BEFORE.replace("...", union)
        sql = f"WITH \"_l0_a\" AS (SELECT ')' AS t), {one.removeprefix('WITH ')}"

        assert EMPTY_TEXT in with_kql_types(KnownTypes(con), sql)


def test_types_are_read_anew_where_a_table_got_other_ones() -> None:
    kql = "union T, (print A = 1) | count"
    with workspace() as con:
        engine = Engine(con, FUNCTIONS)
        engine.put("T", {"A": "long"}, [[1]])
        assert answer(engine, kql) == [{"Count": 2}]

        engine.put("T", {"A": "string"}, [["1"]])

        with pytest.raises(QueryError, match="column A comes in two types, long and string"):
            engine.prepare("union T, (print A = 1) | extend B = 1")
