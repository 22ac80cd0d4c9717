"""Table Storage in memory: what the ledger asks of it, counted, and no faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count

from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import TableTransactionError, TransactionOperation, UpdateMode

Values = Mapping[str, object]
ANSWER = 1_000
"""Entities of one answer to a query. Source: Table service, "Query timeout and pagination"."""

_COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "eq": lambda a, b: a == b,
    "ge": lambda a, b: a >= b,
    "le": lambda a, b: a <= b,
    "lt": lambda a, b: a < b,
}


class Found(dict[str, object]):
    """An entity with its ETag."""

    def __init__(self, values: Values, etag: str) -> None:
        super().__init__(values)
        self.metadata = {"etag": etag}


class MemoryTable:
    """One table: partition to row key to entity."""

    def __init__(self, operations: Counter[str]) -> None:
        self._operations = operations
        self._tags = count(1)
        self._rows: dict[str, dict[str, Found]] = {}

    def get_entity(self, partition: str, row: str) -> Found:
        """Return an entity."""
        self._operations["table"] += 1
        return self._get(partition, row)

    def create_entity(self, entity: Values) -> Values:
        """Add an entity."""
        self._operations["table"] += 1
        return self._create(entity)

    def upsert_entity(self, entity: Values, mode: UpdateMode = UpdateMode.MERGE) -> Values:
        """Put an entity."""
        self._operations["table"] += 1
        return self._upsert(entity, mode=mode)

    def update_entity(
        self, entity: Values, mode: UpdateMode = UpdateMode.MERGE, etag: str = "", **_how: object
    ) -> Values:
        """Change an entity."""
        self._operations["table"] += 1
        return self._update(entity, mode=mode, etag=etag)

    def delete_entity(self, partition: str, row: str) -> None:
        """Take an entity out, if it is there."""
        self._operations["table"] += 1
        self._rows.get(partition, {}).pop(row, None)

    def list_entities(self, **_how: object) -> Iterator[Found]:
        """Return all entities."""
        self._operations["table"] += 1
        return iter([row for rows in self._rows.values() for row in rows.values()])

    def query_entities(
        self, asked: str, parameters: Mapping[str, str] | None = None, **_how: object
    ) -> list[Found]:
        """Return what matches a filter of the ledger."""
        found = sorted(self._matching(asked, parameters or {}), key=_key)
        self._operations["table"] += max(1, -(-len(found) // ANSWER))
        return found

    def submit_transaction(self, steps: Iterable[Sequence[object]]) -> list[Values]:
        """Do all steps or none."""
        self._operations["table"] += 1
        doing = list(steps)
        before = {p: dict(self._rows.get(p, {})) for p in {_key(s[1])[0] for s in doing}}
        try:
            return [self._step(*step) for step in doing]
        except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError) as error:
            self._rows.update(before)
            failed = TableTransactionError(message="0: refused")
            failed.status_code = 409 if isinstance(error, ResourceExistsError) else 412
            raise failed from None

    def _step(self, what: object, entity: object, how: object = None) -> Values:
        values = dict(how) if isinstance(how, Mapping) else {}
        assert isinstance(entity, Mapping)
        match what:
            case TransactionOperation.CREATE:
                return self._create(entity)
            case TransactionOperation.DELETE:
                self._get(*_key(entity))
                del self._rows[_key(entity)[0]][_key(entity)[1]]
                return {}
            case TransactionOperation.UPSERT:
                return self._upsert(entity, mode=values["mode"])
        return self._update(entity, mode=values["mode"], etag=values["etag"])

    def _get(self, partition: str, row: str) -> Found:
        found = self._rows.get(partition, {}).get(row)
        if found is None:
            raise ResourceNotFoundError("not found")
        return found

    def _create(self, entity: Values) -> Values:
        partition, row = _key(entity)
        if row in self._rows.get(partition, {}):
            raise ResourceExistsError("exists")
        return self._put(entity)

    def _upsert(self, entity: Values, mode: UpdateMode) -> Values:
        partition, row = _key(entity)
        old: Values = self._rows.get(partition, {}).get(row) or {}
        old = old if mode is UpdateMode.MERGE else {}
        return self._put({**old, **entity})

    def _update(self, entity: Values, mode: UpdateMode, etag: str) -> Values:
        old = self._get(*_key(entity))
        if etag and old.metadata["etag"] != etag:
            raise ResourceModifiedError("modified")
        return self._put({**old, **entity} if mode is UpdateMode.MERGE else entity)

    def _put(self, entity: Values) -> Values:
        partition, row = _key(entity)
        made = Found(entity, str(next(self._tags)))
        self._rows.setdefault(partition, {})[row] = made
        return made.metadata

    def _matching(self, asked: str, values: Mapping[str, str]) -> Iterator[Found]:
        first, *others = asked.split(" and ")
        rows = self._rows.get(str(_value(first.split()[2], values)), {})
        tests = [[part.split() for part in one.strip("( )").split(" or ")] for one in others]
        for test in tests:
            if all(part[:2] == ["RowKey", "eq"] for part in test):
                names = [str(_value(part[2], values)) for part in test]
                rows = {name: rows[name] for name in names if name in rows}
        for row in list(rows.values()):
            if all(any(_holds(row, n, how, _value(v, values)) for n, how, v in t) for t in tests):
                yield row


class MemoryTables:
    """The account's tables."""

    def __init__(self, operations: Counter[str]) -> None:
        self._operations = operations
        self._tables: dict[str, MemoryTable] = {}

    def create_table_if_not_exists(self, name: str) -> MemoryTable:
        """Return a table."""
        return self._tables.setdefault(name, MemoryTable(self._operations))


def _key(entity: object) -> tuple[str, str]:
    assert isinstance(entity, Mapping)
    return str(entity["PartitionKey"]), str(entity["RowKey"])


def _value(text: str, values: Mapping[str, str]) -> str | bool:
    if text.startswith("@"):
        return values[text[1:]]
    return {"true": True, "false": False}.get(text, text.strip("'"))


def _holds(row: Values, name: str, how: str, value: object) -> bool:
    found = row.get(name)
    if isinstance(value, bool) or found is None:
        return found is value
    return _COMPARE[how](str(found), str(value))
