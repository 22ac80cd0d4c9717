"""The items of a file, and the SQL that turns them into rows of a table.

Every statement here reads a *source*: SQL with VARCHAR columns ``t0``, ``t1`` … that hold the
cells an item needs, or in ``t0`` the JSON text of one object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit_feed.columns import load_table
from mailvigil.engine.loaded_columns import ALWAYS_LOADED, ColumnChoice
from mailvigil.engine.shape_sql import TYPES, select_rows
from mailvigil.exports.table_names import ACTIVITY, columns_of, plain
from mailvigil.tables.schemas import ARRIVED

_SHOWN = 60
"""Characters of a value that a message shows."""

_KEYS: Mapping[str, Sequence[str]] = {ACTIVITY: ("EventTime", "RecordId", "Operation")}
"""Columns that a row cannot do without; of every other table it is the time alone."""

_TIME = ("TimeGenerated",)
_ISO = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?UTC|Z)?)?"
_ISO_OFFSET = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?[+-]\d\d(:?\d\d)?"
_PORTAL_TIMES = (
    "%m/%d/%Y, %I:%M:%S.%g %p",
    "%m/%d/%Y, %I:%M:%S %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%b %d, %Y %I:%M:%S %p",
)
_GRAPH_FIELDS = {
    "Id": "id",
    "CreationTime": "createdDateTime",
    "Operation": "operation",
    "OrganizationId": "organizationId",
    "Workload": "service",
    "UserId": "userId",
    "ObjectId": "objectId",
    "ClientIP": "clientIp",
}
"""Record field to the property that the Graph wrapper repeats it in."""


@dataclass(frozen=True, slots=True)
class RecordItems:
    """Audit records.

    ``path`` is the property of an object that holds the record's JSON text or the record
    itself, ``""`` for the object or cell itself; ``cell`` is the column in CSV.
    """

    path: str
    cell: int

    @property
    def table(self) -> str:
        """Where they go."""
        return ACTIVITY

    @property
    def cells(self) -> tuple[int, ...]:
        """Cells that a source must give, in the order of ``t0``, ``t1`` …."""
        return (self.cell,)

    @property
    def extra_columns(self) -> tuple[str, ...]:
        """Always empty: ``Record`` holds every field of a record that has no column."""
        return ()

    @property
    def bad(self) -> str:
        """SQL condition on a row of the table: no record could be read."""
        return """"EventTime" IS NULL OR "RecordId" = '' OR "Operation" = ''"""

    def insert(self, source: str, choice: ColumnChoice) -> str:
        """Return the statement that loads *source*; malformed JSON gives a row that is bad."""
        text = f"SELECT {self._guarded_text()} AS text FROM ({source})"
        rows = select_rows(text, load_table(ACTIVITY), choice)
        return f'INSERT INTO "{ACTIVITY}" BY NAME {rows}'

    def why(self, source: str) -> str:
        """Return a query that gives for each item the reason why it is bad."""
        empty = "AuditData is empty" if self.path in {"", "AuditData"} else f"{self.path} is empty"
        return f"""SELECT CASE
            WHEN NOT json_valid(coalesce(nullif(t0, ''), '{{}}')) THEN 'not JSON'
            WHEN coalesce(trim(text), '') = '' THEN '{empty}'
            WHEN NOT json_valid(text) THEN 'not JSON'
            WHEN json_type(text) <> 'OBJECT' THEN 'no JSON object'
            WHEN coalesce(json_extract_string(text, '$.CreationTime'), '') = ''
                THEN 'no CreationTime'
            WHEN coalesce(json_extract_string(text, '$.Id'), '') = '' THEN 'no Id'
            WHEN coalesce(json_extract_string(text, '$.Operation'), '') = '' THEN 'no Operation'
            ELSE 'CreationTime is not a time: '
                || left(json_extract_string(text, '$.CreationTime'), {_SHOWN})
            END, coalesce(text, t0)
            FROM (SELECT t0, {self._guarded_text()} AS text FROM ({source}))"""

    def _guarded_text(self) -> str:
        return (
            self._text() if not self.path else f"CASE WHEN json_valid(t0) THEN {self._text()} END"
        )

    def _text(self) -> str:
        if not self.path:
            return "nullif(t0, '')"
        if self.path != "auditData":
            return f"nullif(json_extract_string(t0, '$.{self.path}'), '')"
        named = ", ".join(
            f"'{k}', json_extract_string(t0, '$.{v}')" for k, v in _GRAPH_FIELDS.items()
        )
        whole = "json_extract_string(t0, '$.auditData')"
        return (
            f"CASE WHEN json_extract_string(t0, '$.auditData.Id') IS NOT NULL THEN {whole} "
            f"ELSE json_merge_patch(json_object({named}), {whole})::VARCHAR END"
        )


@dataclass(frozen=True, slots=True)
class RowItems:
    """Rows of a table.

    ``sources`` pairs a column of the table with the file's name for it: a property of the
    object, or in CSV a cell of ``cells``, in the same order.
    """

    table: str
    sources: tuple[tuple[str, str], ...]
    cells: tuple[int, ...]
    in_json: bool
    extra_columns: tuple[str, ...]

    @property
    def bad(self) -> str:
        """SQL condition on a row of the table: it could not be read."""
        return f'"{self._keys[0]}" IS NULL'

    def insert(self, source: str, choice: ColumnChoice) -> str:
        """Return the statement that loads *source*; malformed JSON gives a row that is bad."""
        if self.in_json:
            source = f"SELECT CASE WHEN json_valid(t0) THEN t0 END AS t0 FROM ({source})"
        have = dict(self._values())
        columns = columns_of(self.table)
        selected = {name: _typed(columns[name], have.get(name, "NULL")) for name in columns}
        selected["Type"] = f"'{self.table}'" if "Type" in columns else ""
        selected |= self._times(have)
        if self.table == ACTIVITY:
            loaded = choice | (*ALWAYS_LOADED, ARRIVED)
            selected = {name: sql for name, sql in selected.items() if name in loaded}
        listed = ", ".join(f'{sql} AS "{name}"' for name, sql in selected.items() if sql)
        return f'INSERT INTO "{self.table}" BY NAME SELECT {listed} FROM ({self._cells(source)})'

    def why(self, source: str) -> str:
        """Return a query that gives for each item the reason why it is bad."""
        if not self.in_json:
            return f"SELECT {self._problem()}, '' FROM ({self._cells(source)})"
        guarded = f"SELECT CASE WHEN json_valid(t0) THEN t0 END AS t0, t0 AS raw FROM ({source})"
        return (
            f"SELECT CASE WHEN t0 IS NULL THEN 'not JSON' WHEN json_type(t0) <> 'OBJECT' "
            f"THEN 'no JSON object' ELSE {self._problem()} END, raw FROM ({self._cells(guarded)})"
        )

    @property
    def _keys(self) -> Sequence[str]:
        return _KEYS.get(self.table, _TIME)

    def _values(self) -> list[tuple[str, str]]:
        return [(column, f"v{at}") for at, (column, _) in enumerate(self.sources)]

    def _cells(self, source: str) -> str:
        if not self.in_json:
            named = ", ".join(f"t{at} AS v{at}" for at in range(len(self.sources)))
            return f"SELECT {named} FROM ({source})"
        spec = json.dumps({name: "VARCHAR" for _, name in self.sources}).replace("'", "''")
        named = ", ".join(
            'r."{}" AS v{}'.format(name.replace('"', '""'), at)
            for at, (_, name) in enumerate(self.sources)
        )
        parsed = f"SELECT *, json_transform(t0, '{spec}') AS r FROM ({source})"
        return f"SELECT {named}, * EXCLUDE (r) FROM ({parsed})"

    def _times(self, have: Mapping[str, str]) -> dict[str, str]:
        """Return the columns of time; the key is NULL when anything of the row is wrong."""
        first, second = have.get("TimeGenerated"), have.get("Timestamp")
        either = [v for v in (first, second) if v]
        time = "coalesce(" + ", ".join(_time(v) for v in either) + ")" if either else "NULL"
        times = {"TimeGenerated": time, ARRIVED: time}
        if "Timestamp" in columns_of(self.table):
            times["Timestamp"] = f"coalesce({_time(second)}, {time})" if second else time
        key = self._keys[0]
        checked = times.get(key) or _time(have.get(key, "NULL"))
        times[key] = f"CASE WHEN {self._problem()} IS NULL THEN {checked} END"
        if self.table == ACTIVITY and not either:
            times |= {"TimeGenerated": checked, ARRIVED: checked}
        return times

    def _problem(self) -> str:
        """Return SQL for what is wrong with a row, NULL when nothing is."""
        have = dict(self._values())
        columns = columns_of(self.table)
        missing = [self._missing(key, have) for key in self._keys]
        foreign = [_foreign(have["Type"], self.table)] if "Type" in have else []
        wrong = [
            _wrong(name, columns[name], value)
            for name, value in have.items()
            if columns[name] != "string"
        ]
        return "coalesce(" + ", ".join([*foreign, *missing, *wrong, "NULL"]) + ")"

    def _missing(self, key: str, have: Mapping[str, str]) -> str:
        names = ["TimeGenerated", "Timestamp"] if key == "TimeGenerated" else [key]
        values = [f"nullif({have[name]}, '')" for name in names if name in have]
        return f"CASE WHEN coalesce({', '.join([*values, 'NULL'])}) IS NULL THEN 'no {key}' END"


def row_items(table: str, names: Sequence[str], *, in_json: bool) -> RowItems:
    """Match a file's column *names* with those of *table*; letter case does not count.

    In JSON a property may first appear after the sample, so all columns are looked for.
    """
    columns = {name.lower(): name for name in columns_of(table)}
    matched: dict[str, tuple[str, int]] = {}
    extra = []
    for at, name in enumerate(names):
        column = columns.get(plain(name).lower())
        if column is None:
            extra.append(name)
        else:
            matched.setdefault(column, (name, at))
    if in_json:
        for column in columns.values():
            matched.setdefault(column, (column, 0))
    return RowItems(
        table,
        tuple((column, name) for column, (name, _) in matched.items()),
        (0,) if in_json else tuple(at for _, at in matched.values()),
        in_json,
        tuple(extra),
    )


def _typed(kind: str, value: str) -> str:
    """Return SQL that reads text as a KQL type; what cannot be read gives NULL."""
    if kind in {"string", "guid"}:
        return f"coalesce({value}, '')"
    if kind == "datetime":
        return _time(value)
    if kind == "dynamic":
        return (
            f"CASE WHEN coalesce({value}, '') = '' THEN NULL WHEN json_valid({value}) "
            f"THEN json({value}) WHEN {_bracketed(value)} THEN NULL ELSE to_json({value}) END"
        )
    if kind == "bool":
        return (
            f"CASE lower({value}) WHEN 'true' THEN true WHEN '1' THEN true "
            f"WHEN 'false' THEN false WHEN '0' THEN false END"
        )
    return f"TRY_CAST({value} AS {TYPES[kind]})"


def _bracketed(value: str) -> str:
    """Return SQL that is true for text that must be JSON; other text is stored unchanged."""
    return f"regexp_matches({value}, '^\\s*[{{\\[]')"


def _time(value: str) -> str:
    portal = ", ".join(f"'{pattern}'" for pattern in _PORTAL_TIMES)
    return (
        f"CASE WHEN regexp_full_match({value}, '{_ISO}') THEN TRY_CAST({value} AS TIMESTAMP) "
        f"WHEN regexp_full_match({value}, '{_ISO_OFFSET}') "
        f"THEN timezone('UTC', TRY_CAST({value} AS TIMESTAMPTZ)) "
        f"ELSE try_strptime({value}, [{portal}]) END"
    )


def _wrong(name: str, kind: str, value: str) -> str:
    what = {"dynamic": "broken JSON", "datetime": "not a time"}.get(kind, f"not of type {kind}")
    return (
        f"CASE WHEN {value} <> '' AND ({_typed(kind, value)}) IS NULL "
        f"THEN '{name} is {what}: ' || left({value}, {_SHOWN}) END"
    )


def _foreign(value: str, table: str) -> str:
    return (
        f"CASE WHEN coalesce({value}, '') NOT IN ('', '{table}') "
        f"THEN 'Type is ' || left({value}, {_SHOWN}) || ', not {table} as in the first rows' END"
    )
