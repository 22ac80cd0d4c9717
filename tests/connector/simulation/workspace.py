"""The Logs Ingestion API in the simulation, and the workspace behind it.

Written from "Logs Ingestion API" and its limits: 204 acknowledges a call, which may be followed by
nothing at all; 413 refuses what is too large, 400 what it does not understand, 429 and 503 with
Retry-After ask to wait, and an answer can be lost after the rows were taken.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from io import BytesIO

import orjson
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from connector.simulation.world import World, demand

MOST_BYTES = 1_048_576
"""Of one call."""

RECORDS, HEALTH = "Custom-M365Activity_CL", "Custom-M365FeedHealth_CL"

RULE, OTHER_RULE = "dcr-1", "dcr-2"
"""The rule that the ledger is filled for, and one that nothing may be sent to."""

Values = Mapping[str, object]


@dataclass(slots=True)
class Workspace:
    """What arrived.

    ``acknowledged`` counts, by blob (``ContentKey``) and record, rows of calls that were answered
    with 204, ``taken`` all that the service has taken, whether its answer arrived or not;
    ``dropped`` were acknowledged and are not in the table. ``poisoned`` are ids of records that
    are refused with 400 wherever they are, ``most_bytes`` is the largest call that is taken.
    """

    world: World
    most_bytes: int = MOST_BYTES
    poisoned: frozenset[str] = frozenset()
    acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: set[tuple[str, str]] = field(default_factory=set)
    rows: dict[tuple[str, str], Values] = field(default_factory=dict)
    health: list[Values] = field(default_factory=list)
    held_until: datetime | None = None
    busy: int = 0

    def post(self, rule: str, stream: str, data: bytes) -> None:
        """Take a call, or raise what the client library raises."""
        world = self.world
        world.step(f"ingest {len(data)} bytes into {stream}")
        weather = world.weather
        if world.happens(weather.sink_refused / 4, "ingestion refuses the token"):
            raise _refused(world.dice.choice((401, 403)))
        if world.happens(weather.sink_fault / 2, "no answer of the ingestion, nothing taken"):
            raise ServiceRequestError("no connection")
        self._throttle()
        rows = orjson.loads(gzip.decompress(data))
        demand(isinstance(rows, list), "a body that is not a list")
        if rule != RULE:
            complete = any(row.get("Complete") for row in rows)
            demand(stream == HEALTH and not complete, f"{rule} is sent what it was not filled for")
            return
        if stream == RECORDS:
            self._check(rows, data)
        keys = [self._take(stream, row) for row in rows]
        world.step(f"taken {len(keys)}")
        if world.happens(weather.lost_ack, "an acknowledgement is lost"):
            raise ServiceResponseError("no answer")
        self.acknowledged.update(key for key in keys if key)
        world.counts["rows"] += len(keys)

    def _throttle(self) -> None:
        """Answer 429 or 503 for a while; a call before that is over is counted."""
        world = self.world
        if self.held_until and world.now < self.held_until:
            world.counts["calls of the ingestion before Retry-After"] += 1
            raise _busy(world, 429, self.held_until - world.now)
        if world.happens(world.weather.sink_throttle / 2, "the ingestion asks to wait"):
            wait = timedelta(seconds=world.dice.choice((1, 5, 90, 1_500)))
            self.held_until = world.now + wait
            raise _busy(world, world.dice.choice((429, 503)), wait)
        if world.happens(world.weather.sink_fault / 2, "HTTP 5xx of the ingestion"):
            raise _http(world.dice.choice((500, 502, 503, 504)), {})

    def _check(self, rows: list[Values], data: bytes) -> None:
        size = len(gzip.decompress(data))
        if size > self.most_bytes:
            self.world.counts["413"] += 1
            raise _http(413, {})
        if any(row.get("RecordId") in self.poisoned for row in rows):
            self.world.counts["400"] += 1
            raise _http(400, {})

    def _take(self, stream: str, row: Values) -> tuple[str, str] | None:
        if stream == HEALTH:
            self.health.append({**row, "at": self.world.now})
            return None
        if stream != RECORDS:
            return None
        key = str(row.get("ContentKey", "")), str(row["RecordId"])
        self.taken[key] += 1
        if self.world.happens(self.world.weather.dropped / 10, "a row is dropped after the 204"):
            self.dropped.add(key)
        else:
            self.dropped.discard(key)
            self.rows[key] = row
        return key


class IngestionClient:
    """A ``LogsIngestionClient`` of a workspace, seen from the connector."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def upload(self, rule_id: str, stream_name: str, logs: BytesIO, **_options: object) -> None:
        """Send a body; raise the errors of ``azure.core``."""
        data = logs.read()
        demand(data[:2] == b"\x1f\x8b", "a body that is not gzip")
        self._workspace.post(rule_id, stream_name, data)

    def close(self) -> None:
        """Do nothing: there is no connection."""


class _Response:
    """What an error of ``azure.core`` holds of the answer."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status_code = status
        self.headers = headers
        self.reason = "refused"

    def text(self) -> str:
        return ""

    def body(self) -> bytes:
        return b""


def _busy(world: World, status: int, wait: timedelta) -> HttpResponseError:
    """Return an answer that asks to wait, in seconds or until a date of the service."""
    seconds = -(-wait // timedelta(seconds=1))
    until = (world.now + timedelta(seconds=seconds)).replace(microsecond=0)
    text = world.dice.choice((str(seconds), format_datetime(until, usegmt=True)))
    return _http(status, {"Retry-After": text, "Date": format_datetime(world.now, usegmt=True)})


def _http(status: int, headers: Mapping[str, str]) -> HttpResponseError:
    error = HttpResponseError(message=f"HTTP {status}")
    error.status_code = status
    error.response = _Response(status, headers)  # type: ignore[assignment]  # what is read of it
    return error


def _refused(status: int) -> HttpResponseError:
    kind = ClientAuthenticationError if status == 401 else HttpResponseError
    error = kind(message="refused")
    error.status_code = status
    error.response = _Response(status, {})  # type: ignore[assignment]  # what is read of it
    return error
