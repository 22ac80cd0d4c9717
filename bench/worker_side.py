"""One measured side of ``bench/worker.py``, in a process of its own on one processor.

    python bench/worker_side.py {ours|plain|steps} CONFIG PROCESSOR

Prints JSON. ``ours`` is a whole pass of the collector, ``plain`` the loop that anybody would
write first, ``steps`` the bare steps of the work, one at a time.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import orjson
import requests
import urllib3
import yaml
from azure.monitor.ingestion import LogsIngestionClient

from audit_feed import app
from audit_feed.blobs import ContentBlob, Stream
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.deliver import DeliveryPipeline
from audit_feed.delivery.ingest import gzip
from audit_feed.delivery.tenant_feed import TenantFeed
from audit_feed.delivery.workers import blob_threads
from audit_feed.feed.credentials import FeedTokens, credential
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.records.batches import MAX_FIELD_BYTES
from audit_feed.records.lean import Saving
from audit_feed.records.record_filter import record_filter
from audit_feed.settings import Settings
from audit_feed.windows import HOUR, Window, hour_of

DAY = timedelta(days=1)
STEP_BYTES = 40_000_000
"""How much each bare step works on."""


@dataclass(slots=True)
class Spent:
    """Seconds of wall clock and of this process's processor time."""

    wall: float = 0.0
    processor: float = 0.0


class OpenGate(RateLimiter):
    """Does not limit requests: a tenant's quota is far below what is measured here."""

    def acquire(self) -> None:
        """Go on at once."""


@contextmanager
def timed(spent: Spent) -> Iterator[None]:
    """Add what the block takes."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    spent.wall += time.perf_counter() - wall
    spent.processor += time.process_time() - processor


def main(argv: Sequence[str]) -> int:
    """Measure one side and print its cost."""
    side, config, processor = argv
    os.sched_setaffinity(0, {int(processor)})
    data = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    settings = Settings.load(data, Path(config).parent)
    figures = {"ours": ours, "plain": plain, "steps": steps}[side](settings)
    sys.stdout.write(json.dumps(figures))
    return 0


def ours(settings: Settings) -> dict[str, float]:
    """Run one pass of the collector, from an empty ledger to every blob delivered."""
    spent = Spent()
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        store = SqliteLedger(Path(folder) / "ledger.sqlite")
        collector = _collector(settings, store)
        with timed(spent):
            report = collector.run_pass()
        store.close()
    return {"wall": spent.wall, "processor": spent.processor, "blobs": report.delivered}


def _collector(settings: Settings, store: SqliteLedger) -> Collector:
    stop, saving, tenant = Event(), Saving(), settings.tenants[0]
    limiter = OpenGate(app.now, app.sleeper(stop))
    feed = app.feed_of(tenant, settings, limiter, app.service_clock())
    pipeline = DeliveryPipeline(
        fetch=feed.fetch,
        shape=app.shape_of(settings, saving),
        record_filter=record_filter(settings.include, settings.exclude),
        sink=app.log_analytics(settings, stop),
        store=store,
        clock=app.now,
        stopped=stop.is_set,
        field_limit=MAX_FIELD_BYTES,
    )
    streams = tuple(Stream(tenant.id, kind) for kind in tenant.content_types)
    return Collector(
        tenants=(TenantFeed(streams, feed, pipeline, limiter),),
        store=store,
        owner="bench",
        since=settings.since,
        run_blobs=blob_threads(settings.workers),
        clock=app.now,
        stop=stop,
    )


def plain(settings: Settings) -> dict[str, float]:
    """List, get, parse and upload blob after blob, as the libraries' documents show it."""
    tenant, cloud, spent = settings.tenants[0], settings.cloud, Spent()
    feed_credential = credential(tenant, cloud)
    session, client = _session(settings), _client(settings)
    values = settings.sink.values
    with timed(spent):
        blobs = _blobs(settings)
        for blob in blobs:
            token = feed_credential.get_token(f"{cloud.feed_audience}/.default").token
            answer = session.get(
                blob.uri,
                params={"PublisherIdentifier": tenant.id},
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,
            )
            answer.raise_for_status()
            rows = [
                {
                    "TimeGenerated": record["CreationTime"],
                    "RecordId": record["Id"],
                    "Record": record,
                }
                for record in json.loads(answer.content)
            ]
            client.upload(values["dcr"], values["stream"], rows)  # type: ignore[arg-type]  # JSON
    return {"wall": spent.wall, "processor": spent.processor, "blobs": len(blobs)}


def steps(settings: Settings) -> dict[str, float]:
    """Return the processor seconds that a megabyte takes in each bare step."""
    bodies, download = _downloaded(settings)
    size = sum(map(len, bodies)) / 1e6
    parse, serialise, pack, upload = Spent(), Spent(), Spent(), Spent()
    written = [_written(body, parse, serialise) for body in bodies]
    joined = [b",".join(written[at : at + 19]) for at in range(0, len(written), 19)]
    with timed(pack):
        packed = [gzip(b"[" + body + b"]") for body in joined]
    client, values = _client(settings), settings.sink.values
    client.upload(values["dcr"], values["stream"], [])
    with timed(upload):
        for body in packed:
            client.upload(values["dcr"], values["stream"], io.BytesIO(body))
    each = {
        "download": download,
        "parse": parse,
        "serialise": serialise,
        "gzip": pack,
        "upload": upload,
    }
    return {name: spent.processor / size for name, spent in each.items()}


def _written(body: bytes, parse: Spent, serialise: Spent) -> bytes:
    """Parse and write one body and release it, as the collector does: holding bodies costs more."""
    with timed(parse):
        parsed = orjson.loads(body)
    with timed(serialise):
        return b",".join([orjson.dumps(record) for record in parsed])


def _downloaded(settings: Settings) -> tuple[list[bytes], Spent]:
    """Return bodies and the cost of fetching them, with a bare pool of connections."""
    tenant, spent, bodies = settings.tenants[0], Spent(), list[bytes]()
    token = FeedTokens(lambda: credential(tenant, settings.cloud), settings.cloud.feed_audience)()
    parts = urlsplit(settings.cloud.feed)
    pool = urllib3.HTTPSConnectionPool(
        str(parts.hostname), parts.port or 443, ca_certs=settings.cloud.ca
    )
    paths = [urlsplit(blob.uri).path for blob in _blobs(settings)]
    headers = {"Authorization": f"Bearer {token}"}
    asked = f"?PublisherIdentifier={tenant.id}"
    pool.request("GET", paths[0] + asked, headers=headers)  # the connection is made
    with timed(spent):
        for path in paths:
            bodies.append(pool.request("GET", path + asked, headers=headers).data)
    return bodies, spent


def _blobs(settings: Settings) -> list[ContentBlob]:
    """Return every blob that the feed lists of the last day."""
    tenant = settings.tenants[0]
    feed = app.feed_of(
        tenant, settings, OpenGate(app.now, app.sleeper(Event())), app.service_clock()
    )
    end = hour_of(app.now()) + HOUR
    stream, window = Stream(tenant.id, tenant.content_types[0]), Window(end - DAY, end)
    page = feed.page(stream, window)
    blobs = [*page.blobs]
    while page.next:
        page = feed.page(stream, window, page.next)
        blobs += page.blobs
    return blobs


def _session(settings: Settings) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # REQUESTS_CA_BUNDLE would win over the given authorities
    session.verify = settings.cloud.ca
    return session


def _client(settings: Settings) -> LogsIngestionClient:
    cloud = settings.cloud
    return LogsIngestionClient(
        settings.sink.values["endpoint"],
        credential(settings.tenants[0], cloud),
        credential_scopes=[f"{cloud.ingestion_audience}/.default"],
        connection_verify=cloud.ca,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
