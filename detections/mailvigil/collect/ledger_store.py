"""Open the ledger that is asked about: the collector's file, or the Function app's tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from audit_feed.blobs import Stream
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.ledger.statement import HourStatement, statement
from audit_feed.ledger.states import LedgerStore
from audit_feed.windows import Window
from mailvigil.collect.storage_account import TABLES_ADDRESS
from mailvigil.errors import InputError

if TYPE_CHECKING:
    from azure.data.tables import TableServiceClient
    from azure.identity import DefaultAzureCredential

CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
"""Used in place of signing in, as the Azure CLI does."""

_SCOPE = "https://storage.azure.com/.default"


@dataclass(frozen=True, slots=True)
class OpenLedger:
    """A ledger, and how it states the hours of a stream in a window, at a time, in few requests."""

    store: LedgerStore
    hours: Callable[[Stream, Window, datetime], Sequence[HourStatement]]


@contextmanager
def file_ledger(path: Path) -> Iterator[OpenLedger]:
    """Open a collector's ledger.

    Raises:
        InputError: There is none.
        LedgerError: It cannot be read.

    """
    if not path.is_file():
        raise InputError(str(path), "no ledger yet", "run mailvigil collect first")
    with closing(SqliteLedger(path)) as store:
        yield OpenLedger(store, partial(statement, store))


@contextmanager
def table_ledger(address: str, environ: Mapping[str, str]) -> Iterator[OpenLedger]:
    """Open the Function app's ledger in the tables at *address*; nothing is made.

    Raises:
        InputError: Nobody is signed in, or the connection string is of another account.
        LedgerError: The ledger is missing, or it cannot be read.

    """
    from audit_feed.ledger.table import TableLedger  # noqa: PLC0415 - half a second

    with _service(address, environ) as service:
        store = TableLedger(service, make=False)
        yield OpenLedger(
            store,
            lambda stream, window, now: store.snapshots.read(stream, window, now).statements,
        )


def _service(address: str, environ: Mapping[str, str]) -> TableServiceClient:
    from azure.data.tables import TableServiceClient  # noqa: PLC0415 - half a second

    from audit_feed.feed.bounded_transport import storage_options  # noqa: PLC0415 - half a second

    if not (given := environ.get(CONNECTION, "")):
        return TableServiceClient(address, credential=_signed_in(), **storage_options())
    try:
        service = TableServiceClient.from_connection_string(given, **storage_options())
    except ValueError:
        raise InputError(CONNECTION, "no connection string", "unset it to sign in") from None
    if address not in {service.url.rstrip("/"), TABLES_ADDRESS.format(service.account_name)}:
        raise InputError(CONNECTION, "is of another storage account", "unset it to sign in")
    return service


def _signed_in() -> DefaultAzureCredential:
    """Return who is signed in on this machine, by Azure CLI or another of Microsoft's ways."""
    from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415 - half a second
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - half a second

    signed_in = DefaultAzureCredential()
    try:
        signed_in.get_token(_SCOPE)
    except ClientAuthenticationError:  # its text names each way, over a page
        raise InputError("sign-in", "no one is signed in to Azure here", "az login") from None
    return signed_in
