"""Calls to Azure Table Storage: its errors made ours, and conditional writes that report who won.

The one trap in all of them is the ETag. A write with the ETag of the entity that was read
is refused when another writer has changed the entity since; a write without one replaces
whatever is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import (
    TableClient,
    TableTransactionError,
    TransactionOperation,
    UpdateMode,
)

from audit_feed.errors import LedgerConflictError, LedgerError
from audit_feed.ledger.table_rows import BlobKey, TableEntity

MAX_TRANSACTION = 100
"""Operations of one transaction, all in one partition and each on another entity.

Source: Table service, "Performing entity group transactions". It also limits a transaction to
4 MiB, which is why long error texts are cut before they are stored.
"""

MAX_ROUNDS = 10
"""Tries of a step that another process may do at the same time; in each round one of them wins."""

_FORBIDDEN = 403
_ROLE = (
    "grant Storage Table Data Contributor on the account, or Reader where nothing is written; "
    "or its firewall keeps you out"
)


@contextmanager
def translated_errors(where: str) -> Iterator[None]:
    """Raise the library's errors as ours; their own texts can hold keys and addresses.

    Raises:
        LedgerConflictError: The entity is not the one that was read.
        LedgerError: The tables do not work, or hold what cannot be read.

    """
    try:
        yield
    except (ResourceModifiedError, ResourceNotFoundError):
        raise LedgerConflictError(f"{where}: changed by another run") from None
    except HttpResponseError as error:
        todo = f" ({_ROLE})" if error.status_code == _FORBIDDEN else ""
        what = f"HTTP {error.status_code} {error.reason}{todo}"
        raise LedgerError(f"ledger: {where}: {what}") from None
    except AzureError as error:
        raise LedgerError(f"ledger: {where}: {type(error).__name__}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise LedgerError(f"ledger: {where}: cannot be read: {type(error).__name__}") from None


def get(table: TableClient, key: Mapping[str, str]) -> TableEntity | None:
    """Return the entity at *key*, or None where there is none."""
    try:
        return table.get_entity(key["PartitionKey"], key["RowKey"])
    except ResourceNotFoundError:
        return None


def query(
    table: TableClient,
    condition: str,
    values: Mapping[str, str],
    *,
    select: Sequence[str] | None = None,
) -> list[TableEntity]:
    """Return every entity that meets *condition*, in the order of their keys.

    With *select*, each has its keys and these properties only.

    The service answers at most 1,000 entities at a time and then gives a continuation token, or
    fewer and even none with a token where a query crosses servers. The library follows the tokens
    as long as the iterator is read to its end, so the whole list is made here.
    """
    properties = None if select is None else ["PartitionKey", "RowKey", *select]
    return list(table.query_entities(condition, parameters=dict(values), select=properties))


def create(table: TableClient, entity: TableEntity) -> bool:
    """Create *entity*; return False if there was one already."""
    try:
        table.create_entity(entity)
    except ResourceExistsError:
        return False
    return True


def replace(
    table: TableClient, entity: TableEntity, etag: str, mode: UpdateMode = UpdateMode.REPLACE
) -> bool:
    """Write in place of what was read with *etag*; return whether it was still that."""
    try:
        table.update_entity(entity, mode, etag=etag, match_condition=MatchConditions.IfNotModified)
    except (ResourceModifiedError, ResourceNotFoundError):
        return False
    return True


def transact(table: TableClient, operations: Sequence[object]) -> Sequence[Mapping[str, str]]:
    """Do all of *operations* or none; return nothing where any met another entity than expected."""
    try:
        return table.submit_transaction(operations)  # type: ignore[arg-type]  # typed for plain dicts
    except TableTransactionError as error:
        if error.status_code in {404, 409, 412}:
            return []
        raise


def merge_all(table: TableClient, entities: Sequence[TableEntity]) -> None:
    """Merge entities of one partition: properties that are not given stay as they are."""
    for n in range(0, len(entities), MAX_TRANSACTION):
        batch = entities[n : n + MAX_TRANSACTION]
        how = {"mode": UpdateMode.MERGE}
        table.submit_transaction([(TransactionOperation.UPSERT, e, how) for e in batch])


def delete_all(table: TableClient, entities: Sequence[TableEntity]) -> None:
    """Delete entities of one partition."""
    for n in range(0, len(entities), MAX_TRANSACTION):
        batch = entities[n : n + MAX_TRANSACTION]
        table.submit_transaction([(TransactionOperation.DELETE, e) for e in batch])


def creation(entity: TableEntity) -> tuple[TransactionOperation, TableEntity]:
    """Return the operation of a transaction that creates *entity* and fails where there is one."""
    return TransactionOperation.CREATE, entity


def replacement(
    entity: TableEntity, etag: str
) -> tuple[TransactionOperation, TableEntity, Mapping[str, object]]:
    """Return the operation of a transaction that writes in place of what was read with *etag*."""
    how = {
        "mode": UpdateMode.REPLACE,
        "etag": etag,
        "match_condition": MatchConditions.IfNotModified,
    }
    return TransactionOperation.UPDATE, entity, how


def key_of(entity: TableEntity) -> BlobKey:
    """Return partition key and row key."""
    return str(entity["PartitionKey"]), str(entity["RowKey"])


def etag_of(entity: TableEntity) -> str:
    """Return the ETag that *entity* was read with."""
    return str(getattr(entity, "metadata")["etag"])  # noqa: B009 - entities are read as mappings
