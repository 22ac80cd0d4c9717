"""Azure Table Storage in memory, by the rules of its documentation. No clock, no dice.

Written from Microsoft's pages "Understanding the Table service data model", "Performing entity
group transactions", "Querying tables and entities", "Query timeout and pagination" and "Table
service error codes", and not from what our client asks of it: what the pages forbid is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import count
from types import NoneType
from typing import NoReturn, Protocol, TypeVar
from uuid import UUID

from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import (
    RequestTooLargeError,
    TableEntity,
    TableTransactionError,
    TransactionOperation,
    UpdateMode,
)

from connector.simulation.table_filter import matcher

Entity = Mapping[str, object]

MOST_OPERATIONS = 100
MOST_TRANSACTION_BYTES = 4 * 2**20
"""Of one transaction ("Performing entity group transactions")."""

MOST_KEY_CHARACTERS = 512
MOST_PROPERTIES = 252
MOST_NAME_CHARACTERS = 255
MOST_ENTITY_BYTES = 2**20
MOST_VALUE_BYTES = 64 * 2**10
"""Of one entity ("Understanding the Table service data model"). Texts are UTF-16."""

PAGE = 1_000
"""Entities of one answer ("Query timeout and pagination")."""

_KEY = re.compile(r"[^/\\#?\x00-\x1f\x7f-\x9f]*")
_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9]{2,62}")
_NAME = re.compile(r"[^\W\d]\w*")
_PLAIN = (bool, float, UUID, datetime, NoneType)
_FRAME = 400
"""About the bytes of an operation's own headers in a transaction."""

_Answer = TypeVar("_Answer")


class Edge(Protocol):
    """What is between a client and the service: time, faults and the end of the process."""

    def call(self, what: str, effect: Callable[[], _Answer]) -> _Answer:
        """Return what *effect* returns, if the request and its answer arrive."""


class DirectEdge:
    """An edge at which nothing happens."""

    def call(self, what: str, effect: Callable[[], _Answer]) -> _Answer:  # noqa: ARG002 - protocol
        """Return what *effect* returns."""
        return effect()


class RefusedError(HttpResponseError):
    """The service refuses a request that breaks its rules: status 400 or 413."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(message=code)
        self.status_code = status
        self.reason = code


@dataclass(slots=True)
class StoredTable:
    """What is there of one table: partition key to row key to entity."""

    name: str
    partitions: dict[str, dict[str, TableEntity]] = field(default_factory=dict)


@dataclass(slots=True)
class TableAccount:
    """The tables of a storage account: what outlives every client.

    ``watch`` is called with what each write puts in place of what.
    """

    tables: dict[str, StoredTable] = field(default_factory=dict)
    versions: Iterator[int] = field(default_factory=lambda: count(1))
    watch: Callable[[str, Entity | None, Entity], None] = lambda _table, _before, _after: None


class TableService:
    """A ``TableServiceClient`` of *account*, seen from the connector."""

    def __init__(self, account: TableAccount, edge: Edge | None = None) -> None:
        self._account = account
        self._edge = edge or DirectEdge()

    def create_table_if_not_exists(self, table_name: str) -> Table:
        """Return the client of a table that is made if it is missing."""
        if not _TABLE.fullmatch(table_name) or table_name.lower() == "tables":
            raise RefusedError("InvalidResourceName")
        self._edge.call(f"table {table_name}: create", lambda: self._stored(table_name))
        return self.get_table_client(table_name)

    def get_table_client(self, table_name: str) -> Table:
        """Return the client of a table, which need not exist."""
        return Table(self._account, table_name, self._edge)

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _stored(self, name: str) -> None:
        self._account.tables.setdefault(name.lower(), StoredTable(name))


class Table:
    """A ``TableClient``."""

    def __init__(self, account: TableAccount, name: str, edge: Edge) -> None:
        self._account = account
        self.table_name = name
        self._edge = edge

    def get_entity(
        self, partition_key: str, row_key: str, *, select: Sequence[str] | None = None
    ) -> TableEntity:
        """Return an entity, or raise ``ResourceNotFoundError``."""

        def get() -> TableEntity:
            return _copy(self._found(partition_key, row_key), select)

        return self._call(f"get {row_key}", get)

    def create_entity(self, entity: Entity) -> Mapping[str, object]:
        """Insert an entity, or raise ``ResourceExistsError``."""
        check_entity(entity)
        return self._call(f"create {entity['RowKey']}", lambda: self._create(entity))

    def upsert_entity(
        self, entity: Entity, mode: UpdateMode = UpdateMode.MERGE
    ) -> Mapping[str, object]:
        """Insert an entity, or merge it into or write it over the one that is there."""
        check_entity(entity)
        return self._call(f"upsert {entity['RowKey']}", lambda: self._upsert(entity, mode))

    def update_entity(
        self,
        entity: Entity,
        mode: UpdateMode = UpdateMode.MERGE,
        *,
        etag: str | None = None,
        match_condition: MatchConditions | None = None,
    ) -> Mapping[str, object]:
        """Change an entity that exists, if it is the one that *etag* names."""
        check_entity(entity)
        wanted = _condition(entity, etag, match_condition)
        update = lambda: self._update(entity, mode, wanted)  # noqa: E731 - a name for the effect
        return self._call(f"update {entity['RowKey']}", update)

    def delete_entity(
        self,
        partition_key: str | Entity,
        row_key: str = "",
        *,
        etag: str | None = None,
        match_condition: MatchConditions | None = None,
    ) -> None:
        """Delete an entity; the client library passes over that there is none."""
        entity = partition_key if isinstance(partition_key, Mapping) else {}
        where = str(entity.get("PartitionKey", partition_key)), str(entity.get("RowKey", row_key))
        wanted = _condition(entity, etag, match_condition)

        def delete() -> None:
            try:
                self._delete(*where, wanted)
            except ResourceNotFoundError:
                return

        self._call(f"delete {where[1]}", delete)

    def list_entities(self, **options: object) -> Iterator[TableEntity]:
        """Yield every entity, in the order of the keys."""
        return self.query_entities("", **options)  # type: ignore[arg-type]  # the same options

    def query_entities(
        self,
        query_filter: str,
        *,
        parameters: Mapping[str, object] | None = None,
        select: Sequence[str] | str | None = None,
        results_per_page: int | None = None,
    ) -> Iterator[TableEntity]:
        """Yield what matches, in the order of the keys, page after page.

        Each page is a request of its own, and sees what is there by then.
        """
        matches = matcher(query_filter)
        values, size = parameters or {}, min(results_per_page or PAGE, PAGE)
        names = [select] if isinstance(select, str) else select
        after: tuple[str, str] | None = ("", "")
        first = True
        while first or after:
            start = None if first else after
            page, after = self._call(
                f"query {query_filter}",
                lambda start=start: self._page(matches, values, start, size),  # type: ignore[misc]
            )
            first = False
            yield from (_copy(entity, names) for entity in page)

    def submit_transaction(
        self, operations: Iterable[Sequence[object]]
    ) -> Sequence[Mapping[str, object]]:
        """Do all operations or none."""
        steps = [_Operation.read(step) for step in operations]
        if not steps:
            return []
        if len({step.partition for step in steps}) > 1:
            raise ValueError("Partition Keys in the batch must all be the same.")
        what = f"transaction of {len(steps)} in {steps[0].partition}"
        return self._call(what, lambda: self._transact(steps))

    def _call(self, what: str, effect: Callable[[], _Answer]) -> _Answer:
        return self._edge.call(f"table {self.table_name}: {what}", effect)

    @property
    def _partitions(self) -> dict[str, dict[str, TableEntity]]:
        stored = self._account.tables.get(self.table_name.lower())
        if stored is None:
            raise ResourceNotFoundError(message="TableNotFound")
        return stored.partitions

    def _found(self, partition: str, row: str) -> TableEntity:
        found = self._partitions.get(partition, {}).get(row)
        if found is None:
            error = ResourceNotFoundError(message="ResourceNotFound")
            error.status_code = 404
            raise error
        return found

    def _create(self, entity: Entity) -> Mapping[str, object]:
        if entity["RowKey"] in self._partitions.get(str(entity["PartitionKey"]), {}):
            error = ResourceExistsError(message="EntityAlreadyExists")
            error.status_code = 409
            raise error
        return self._put(entity)

    def _upsert(self, entity: Entity, mode: UpdateMode) -> Mapping[str, object]:
        rows = self._partitions.get(str(entity["PartitionKey"]), {})
        before: Mapping[str, object] = {}
        before = rows.get(str(entity["RowKey"]), {}) if mode == UpdateMode.MERGE else {}
        return self._put({**before, **entity})

    def _update(self, entity: Entity, mode: UpdateMode, etag: str) -> Mapping[str, object]:
        before = self._matching(str(entity["PartitionKey"]), str(entity["RowKey"]), etag)
        return self._put({**before, **entity} if mode == UpdateMode.MERGE else entity)

    def _delete(self, partition: str, row: str, etag: str) -> None:
        self._matching(partition, row, etag)
        del self._partitions[partition][row]

    def _matching(self, partition: str, row: str, etag: str) -> TableEntity:
        found = self._found(partition, row)
        if etag and found.metadata["etag"] != etag:
            error = ResourceModifiedError(message="UpdateConditionNotSatisfied")
            error.status_code = 412
            raise error
        return found

    def _put(self, entity: Entity) -> Mapping[str, object]:
        """Store an entity; a property that is null is not stored."""
        stored = TableEntity({n: v for n, v in entity.items() if v is not None})
        if len(stored) - 2 > MOST_PROPERTIES or size_of(stored) > MOST_ENTITY_BYTES:
            raise RefusedError("EntityTooLarge")
        etag = f"W/\"datetime'{next(self._account.versions):012}'\""
        stored._metadata = {"etag": etag}  # type: ignore[typeddict-item]  # noqa: SLF001 - as the library does
        rows = self._partitions.setdefault(str(entity["PartitionKey"]), {})
        self._account.watch(self.table_name, rows.get(str(entity["RowKey"])), stored)
        rows[str(entity["RowKey"])] = stored
        return {"etag": etag}

    def _page(
        self,
        matches: Callable[[Entity, Mapping[str, object]], bool],
        values: Mapping[str, object],
        start: tuple[str, str] | None,
        size: int,
    ) -> tuple[list[TableEntity], tuple[str, str] | None]:
        """Return up to *size* entities from *start* on, and where the next page starts."""
        partitions = self._partitions
        wanted = getattr(matches, "partition")(values)  # noqa: B009 - an attribute of a function
        names = sorted(partitions) if wanted is None else [n for n in (wanted,) if n in partitions]
        page: list[TableEntity] = []
        for name in names:
            for row in sorted(partitions[name]):
                entity = partitions[name][row]
                if (start and (name, row) < start) or not matches(entity, values):
                    continue
                if len(page) == size:
                    return page, (name, row)
                page.append(entity)
        return page, None

    def _transact(self, steps: Sequence[_Operation]) -> Sequence[Mapping[str, object]]:
        _check_transaction(steps)
        partition = steps[0].partition
        before = dict(self._partitions.get(partition, {}))
        done: list[Mapping[str, object]] = []
        try:
            for step in steps:
                check_entity(step.entity)
                done.append(self._step(step))
        except HttpResponseError as error:
            self._partitions[partition] = before
            _raise_transaction(error, len(done))
        return done

    def _step(self, step: _Operation) -> Mapping[str, object]:
        match step.kind:
            case TransactionOperation.CREATE:
                return self._create(step.entity)
            case TransactionOperation.UPSERT:
                return self._upsert(step.entity, step.mode)
            case TransactionOperation.UPDATE:
                return self._update(step.entity, step.mode, step.etag)
        self._delete(step.partition, step.row, step.etag)
        return {}


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation of a transaction."""

    kind: TransactionOperation
    entity: Entity
    mode: UpdateMode
    etag: str

    @classmethod
    def read(cls, step: Sequence[object]) -> _Operation:
        kind, entity = TransactionOperation(step[0]), step[1]
        how = step[2] if len(step) > 2 else {}
        if not isinstance(entity, Mapping) or not isinstance(how, Mapping):
            raise TypeError("an operation is a kind, an entity and options")
        if "PartitionKey" not in entity or "RowKey" not in entity:
            raise ValueError("PartitionKey and/or RowKey were not provided in entity")
        etag = _condition(entity, how.get("etag"), how.get("match_condition"))
        return cls(kind, entity, UpdateMode(how.get("mode", UpdateMode.MERGE)), etag)

    @property
    def partition(self) -> str:
        return str(self.entity["PartitionKey"])

    @property
    def row(self) -> str:
        return str(self.entity["RowKey"])


def check_entity(entity: Entity) -> None:
    """Refuse what no entity may be.

    Raises:
        RefusedError: As the service's 400.
        TypeError: A value has no type of the service; the client library says so.

    """
    for name in ("PartitionKey", "RowKey"):
        key = entity.get(name)
        if not isinstance(key, str):
            raise RefusedError("PropertiesNeedValue")
        if len(key) > MOST_KEY_CHARACTERS:
            raise RefusedError("KeyValueTooLarge")
        if not _is_key(key):
            raise RefusedError("InvalidInput")
    for name, value in entity.items():
        if len(name) > MOST_NAME_CHARACTERS:
            raise RefusedError("PropertyNameTooLong")
        if not _is_name(name):
            raise RefusedError("PropertyNameInvalid")
        _check_value(value)


@lru_cache(maxsize=1_024)
def _is_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


@lru_cache(maxsize=1_024)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _check_value(value: object) -> None:
    if isinstance(value, _PLAIN):
        return
    if isinstance(value, int):
        if not -(2**31) <= value < 2**31:
            raise TypeError(f"{value} is too large to be cast to type Edm.Int32.")
    elif isinstance(value, str):
        # A lone surrogate cannot be sent: the library encodes UTF-8.
        value.encode()
        if 2 * len(value) > MOST_VALUE_BYTES:
            raise RefusedError("PropertyValueTooLarge")
    elif isinstance(value, bytes):
        if len(value) > MOST_VALUE_BYTES:
            raise RefusedError("PropertyValueTooLarge")
    else:
        raise TypeError(f"Unsupported data type '{type(value)}'")


def size_of(entity: Entity) -> int:
    """Return the bytes that count for an entity's limit."""
    keys = len(str(entity["PartitionKey"])) + len(str(entity["RowKey"]))
    others = [(n, v) for n, v in entity.items() if n not in {"PartitionKey", "RowKey"}]
    return 4 + 2 * keys + sum(8 + 2 * len(name) + _value_size(value) for name, value in others)


def _value_size(value: object) -> int:
    if isinstance(value, str):
        return 2 * len(value) + 4
    if isinstance(value, bytes):
        return len(value) + 4
    return 1 if isinstance(value, bool) else 16


def _condition(entity: Entity, etag: object, how: object) -> str:
    """Return the ETag that must be there, or ``""`` for any."""
    if how in {None, MatchConditions.Unconditionally}:
        return ""
    if how != MatchConditions.IfNotModified:
        raise ValueError(f"Unsupported match condition: {how}")
    given = etag or (entity.metadata.get("etag") if isinstance(entity, TableEntity) else None)
    if not given:
        raise ValueError("IfNotModified must be specified with etag.")
    return str(given)


def _check_transaction(steps: Sequence[_Operation]) -> None:
    if len(steps) > MOST_OPERATIONS:
        raise RefusedError("InvalidInput")
    if len({step.row for step in steps}) < len(steps):
        _raise_transaction(RefusedError("InvalidDuplicateRow"), 0)
    if sum(_FRAME + size_of(step.entity) for step in steps) > MOST_TRANSACTION_BYTES:
        error = RequestTooLargeError(message="RequestBodyTooLarge")
        error.status_code = 413
        raise error


def _raise_transaction(error: HttpResponseError, index: int) -> NoReturn:
    failed = TableTransactionError(message=f"{index}: {error.message}")
    failed.status_code = error.status_code
    failed.reason = error.message
    raise failed from None


def _copy(entity: TableEntity, names: Sequence[str] | None = None) -> TableEntity:
    copied = TableEntity({n: v for n, v in entity.items() if names is None or n in names})
    copied._metadata = entity.metadata  # noqa: SLF001 - as the library does
    return copied
