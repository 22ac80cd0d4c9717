"""What several tests of the made-up tenant look at."""

from __future__ import annotations

import pytest

from mailvigil.lab.tenant.event import AuditRecord
from mailvigil.lab.tenant.profile import DEMO
from mailvigil.lab.tenant.records import records


@pytest.fixture(scope="session")
def demo() -> list[AuditRecord]:
    """Return the records of the demonstration's tenant."""
    return list(records(DEMO))
