"""What KQL's types mean for ``union`` and outer joins, in the SQL that duckdb-kql makes of them.

KQL has two rules that DuckDB has not. A column that comes in two types from the legs of a union is
two columns there, and the query that asks for it fails: here such a query is refused, as DuckDB
would cast. And a text is never null: where a leg, or the other side of a join, has no value, it is
empty.

DuckDB says the types, of every leg by itself, with the steps of the query that stand before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import duckdb

from mailvigil.errors import MailvigilError

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]""")
_LEG = r"""SELECT (?:'(?:[^']|'')*' AS "(?:[^"]|"")*", )?\* FROM \("""
_UNION = re.compile(rf'SELECT (?P<columns>(?:"(?:[^"]|"")*"(?:, )?)+) FROM \({_LEG}')
_NEXT_LEG = re.compile(rf"\s*UNION ALL BY NAME {_LEG}")
_JOIN = re.compile(
    r"SELECT (?P<columns>(?:_[lr]\.\"(?:[^\"]|\"\")*\" AS \"(?:[^\"]|\"\")*\"(?:, )?)+) "
    r"FROM (?P<left>\S+) AS _l (?P<kind>LEFT|RIGHT|FULL OUTER) JOIN \("
)
_STEP_NAME = re.compile(r'"(?:[^"]|"")*"|\b\w+(?= AS\b)')
_NAME = re.compile(r'"(?:[^"]|"")*"')
_SIDE = re.compile(r'(?P<side>_[lr])\.(?P<name>"(?:[^"]|"")*") AS')
_MAY_LACK = {"LEFT": "_r", "RIGHT": "_l", "FULL OUTER": "_l_r"}
"""The sides of an outer join that may have no row."""

_KQL = {
    "TINYINT": "int", "SMALLINT": "int", "INTEGER": "int",
    "BIGINT": "long", "HUGEINT": "long", "UBIGINT": "long", "UINTEGER": "long",
    "FLOAT": "real", "DOUBLE": "real", "DECIMAL": "real",
    "VARCHAR": "string", "JSON": "dynamic", "STRUCT": "dynamic", "MAP": "dynamic",
    "BOOLEAN": "bool", "TIMESTAMP": "datetime", "INTERVAL": "timespan", "UUID": "guid",
}  # fmt: skip
"""DuckDB's types and KQL's. ``sum`` gives HUGEINT and DECIMAL where KQL has long and real."""


_NULL = '"NULL"'
"""DuckDB's type of a null without a type, which takes that of the other legs."""


class UnionTypesError(MailvigilError):
    """A column comes in two types from the legs of a union."""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a union or a join of a SQL text reads: SQL for each input, and where its columns are."""

    columns: tuple[int, int]
    inputs: tuple[str, ...]


_Change = tuple[int, int, str]
"""Start and end of what is replaced, and by what."""


def with_kql_types(tables: KnownTypes, sql: str) -> str:
    """Return *sql*, which was made of KQL, with empty texts where a union or a join has none.

    Args:
        tables: What is known of the tables that the SQL reads. Nothing is run.
        sql: A query without parameters.

    Raises:
        UnionTypesError: A column comes in two types.
        duckdb.Error: DuckDB refuses the query.

    """
    unions = [change for union in _unions(sql) for change in _union_changes(tables, sql, union)]
    joins = [
        change
        for kind, join in _joins(sql)
        for change in _join_changes(tables, sql, join, _MAY_LACK[kind])
    ]
    for start, end, text in sorted((*unions, *joins), reverse=True):
        sql = sql[:start] + text + sql[end:]
    return sql


def _unions(sql: str) -> Iterator[_Inputs]:
    for head in _UNION.finditer(sql):
        start, legs = head.end(), []
        while True:
            end = _closing(sql, start)
            legs.append(sql[start:end])
            following = _NEXT_LEG.match(sql, end + 1)
            if not following:
                break
            start = following.end()
        if len(legs) > 1:
            yield _Inputs(head.span("columns"), tuple(legs))


def _joins(sql: str) -> Iterator[tuple[str, _Inputs]]:
    for head in _JOIN.finditer(sql):
        left = f"SELECT * FROM {head['left']}"
        right = sql[head.end() : _closing(sql, head.end())]
        yield head["kind"], _Inputs(head.span("columns"), (left, right))


def _union_changes(tables: KnownTypes, sql: str, union: _Inputs) -> Iterator[_Change]:
    legs = _types(tables, sql, union)
    for first, second in combinations(legs, 2):
        _refuse_two_types(first, second)
    texts = {name for leg in legs for name, kind in leg.items() if kind == "string"}
    lacking = {name for name in texts if any(name not in leg for leg in legs)}
    start, end = union.columns
    for name in _NAME.finditer(sql, start, end):
        if _plain(name[0]) in lacking:
            yield *name.span(), f"coalesce({name[0]}, '') AS {name[0]}"


def _join_changes(tables: KnownTypes, sql: str, join: _Inputs, may_lack: str) -> Iterator[_Change]:
    kinds = dict(zip(("_l", "_r"), _types(tables, sql, join), strict=True))
    start, end = join.columns
    for column in _SIDE.finditer(sql, start, end):
        side, name = column["side"], column["name"]
        if side in may_lack and kinds[side].get(_plain(name)) == "string":
            yield *column.span(), f"coalesce({side}.{name}, '') AS"


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"')


def _refuse_two_types(first: Mapping[str, str], second: Mapping[str, str]) -> None:
    for name in first.keys() & second.keys():
        types = sorted({first[name], second[name]} - {_NULL})
        if len(types) > 1:
            raise UnionTypesError(
                f"union: column {name} comes in two types, {' and '.join(types)}, of which KQL "
                "makes two columns (cast it alike in every leg)"
            )


def _types(tables: KnownTypes, sql: str, operation: _Inputs) -> list[Mapping[str, str]]:
    """Return each input's columns with KQL's types, as DuckDB binds the inputs together.

    Steps that the inputs do not name are left out: so the body of a function has one text in all
    queries that call it, and is bound once.
    """
    names = [f"_input{number}" for number in range(len(operation.inputs))]
    inputs = ", ".join(f"({i}) AS {name}" for i, name in zip(operation.inputs, names, strict=True))
    text = f"SELECT {', '.join(names)} FROM {inputs}"
    for steps in reversed(_steps_before(sql, operation.columns[0])):
        if any(name.lower() in text.lower() for name in _step_names(steps)):
            text = f"{steps} SELECT * FROM ({text})"
    return tables.of(text)


class KnownTypes:
    """The types of texts' columns, as long as the tables that DuckDB has stay as they are."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con
        self._known: dict[str, list[Mapping[str, str]]] = {}

    def of(self, text: str) -> list[Mapping[str, str]]:
        """Return the columns with KQL's types of each of *text*'s columns, which are structures.

        Raises:
            duckdb.Error: DuckDB refuses the text.

        """
        if text not in self._known:
            # Not con.sql(), which does more than to bind the text.
            described = self._con.execute(f"DESCRIBE {text}").fetchall()
            structures = [self._con.type(str(kind)) for _, kind, *_ in described]
            self._known[text] = [{n: _kql(kind) for n, kind in row.children} for row in structures]
        return self._known[text]


def _kql(kind: object) -> str:
    """Return KQL's type for one of DuckDB; lists and structures are dynamic."""
    text = str(kind)
    return "dynamic" if text.endswith("]") else _KQL.get(text.partition("(")[0], text)


def _steps_before(sql: str, place: int) -> list[str]:
    """Return each ``WITH`` around *place*, the outer first, up to the step that holds it."""
    starts = [0]
    for token in _TOKEN.finditer(sql, 0, place):
        if token[0] == "(":
            starts.append(token.end())
        elif token[0] == ")":
            starts.pop()
    around = (_steps(sql, start, place) for start in starts if sql.startswith("WITH ", start))
    return [steps for steps in around if steps]


def _step_names(steps: str) -> list[str]:
    """Return the names that the steps of one ``WITH`` have, not those of steps within them."""
    outside, depth, end = [], 0, 0
    for token in _TOKEN.finditer(steps):
        if token[0] == "(" and not depth:
            outside.append(steps[end : token.start()])
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        end = token.end() if token[0] == ")" else end
    return _STEP_NAME.findall("".join(outside))


def _steps(sql: str, start: int, place: int) -> str:
    """Return the steps of the ``WITH`` at *start* that end before *place*."""
    depth, end = 0, start
    for token in _TOKEN.finditer(sql, start, place):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token[0] == ")" and not depth:
            end = token.end()
            if not sql.startswith(",", end):
                break
    return sql[start:end] if end > start else ""


def _closing(sql: str, start: int) -> int:
    """Return where the parenthesis that was opened before *start* is closed."""
    depth = 1
    for token in _TOKEN.finditer(sql, start):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if not depth:
            return token.start()
    return len(sql)
