"""Tables of the storage emulator, for what the connector keeps in them."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from azure.data.tables import TableServiceClient

from connector.azurite import Azurite


@pytest.fixture
def service(storage: Azurite) -> Iterator[TableServiceClient]:
    with TableServiceClient.from_connection_string(storage.connection_string) as made:
        yield made


@pytest.fixture
def prefix() -> str:
    """Return how the names of the test's own tables begin."""
    return f"t{uuid4().hex}"
