"""A lab, an empty storage account and workers of the Function app."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from azure.data.tables import TableServiceClient

from audit_feed.ledger.states import BlobRow
from audit_feed.ledger.table import PREFIX, TableLedger
from audit_feed.windows import Window
from connector.azure_app.host import CONNECTOR, Queues, Worker, worker
from connector.azurite import Azurite
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions

TYPES = ("Audit.Exchange", "Audit.General")
BLOBS = "mailvigil-blobs"
POISON = f"{BLOBS}-poison"
BACKLOG = "mailvigil-backlog"
HINTS = "mailvigil-hints"


OLDEST = (3, 13)


@pytest.fixture(scope="session")
def real_worker() -> None:
    """Leave a test out where the language worker cannot run."""
    if sys.version_info < OLDEST:
        pytest.skip("the Functions language worker needs Python 3.13, on which the app is deployed")


def environment(lab: Lab, storage: Azurite) -> dict[str, str]:
    """Return the app's settings, as Azure gives them to the worker."""
    feed, ingestion = lab.options.feed, lab.options.ingestion
    return {
        "AzureWebJobsStorage": storage.connection_string,
        "AUDIT_FEED_TENANTS": ",".join(tenant.id for tenant in lab.tenants),
        "AUDIT_FEED_CONTENT_TYPES": ",".join(TYPES),
        "AUDIT_FEED_SINK_ENDPOINT": lab.url,
        "AUDIT_FEED_SINK_DCR": lab.rule_id,
        "AUDIT_FEED_CLOUD_LOGIN": lab.url,
        "AUDIT_FEED_CLOUD_FEED": lab.url,
        "AUDIT_FEED_CLOUD_FEED_AUDIENCE": feed.audience,
        "AUDIT_FEED_CLOUD_INGESTION_AUDIENCE": ingestion.audience,
        "AUDIT_FEED_CLOUD_CA": str(lab.ca),
        "IDENTITY_ENDPOINT": lab.identity_endpoint,
        "IDENTITY_HEADER": lab.identity_header,
    }


@dataclass(frozen=True, slots=True)
class Deployed:
    """The app as it is deployed, and what is around it."""

    lab: Lab
    queues: Queues
    store: TableLedger
    start: Callable[..., Worker]

    def deliver(self, running: Worker) -> int:
        """Hand out orders until none is left; return how many were."""
        done = 0
        while answer := self.queues.hand_out(running, "deliver", "order", BLOBS):
            assert answer.ok, answer.error
            done += 1
        return done

    def rows(self) -> list[BlobRow]:
        """Return every row of the ledger."""
        now = self.lab.clock.now()
        window = Window(now - timedelta(days=8), now + timedelta(hours=1))
        return [row for stream in self.store.streams() for row in self.store.rows(stream, window)]

    def ids(self) -> list[str]:
        """Return the id of every row in the workspace, in order."""
        found = self.lab.rows("SELECT RecordId FROM M365Activity_CL ORDER BY 1")
        return [str(name) for (name,) in found]


@pytest.fixture
def options() -> LabOptions:
    return LabOptions()


@pytest.fixture
def deployed(
    real_worker: None,  # noqa: ARG001 - asked for first
    tmp_path: Path,
    options: LabOptions,
    storage: Azurite,
) -> Iterator[Deployed]:
    with deployment(tmp_path, options, storage) as there:
        yield there


@contextmanager
def deployment(folder: Path, options: LabOptions, storage: Azurite) -> Iterator[Deployed]:
    """Run a lab for the length of the ``with`` block, and workers that are started in it."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(options))
        queues = Queues(storage, (POISON,))
        stack.callback(queues.close)
        service = stack.enter_context(
            TableServiceClient.from_connection_string(storage.connection_string)
        )
        for table in service.query_tables(f"TableName ge '{PREFIX}' and TableName lt '{PREFIX}~'"):
            service.delete_table(table.name)
        settings = environment(lab, storage)

        def start(app: Path = CONNECTOR, **more: str) -> Worker:
            given: Mapping[str, str] = {**settings, **more}
            return stack.enter_context(worker(folder, given, app))

        yield Deployed(lab, queues, TableLedger(service), partial(start))
