"""The Logs Ingestion API with one data collection rule."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from mailvigil.lab.server.clock import LabClock
from mailvigil.lab.server.counts import Counts
from mailvigil.lab.server.directory import Directory
from mailvigil.lab.server.errors_by_code import ingestion_error, retry_after_header
from mailvigil.lab.server.landing import Landing
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.options import IngestionOptions
from mailvigil.lab.server.quota import MinuteQuota
from mailvigil.lab.server.streams import NoRowsError, Taken, tables_by_stream, take
from mailvigil.lab.server.tokens import Mint, TokenError

API_VERSION = "2023-01-01"
PATH = re.compile(r"/dataCollectionRules/([^/]+)/streams/([^/]+)")
MAX_UNPACKED_BYTES = 2**28
"""What a body may unpack to before the lab stops: a guard of its own memory."""


@dataclass(slots=True)
class IngestionApi:
    """The API in front of the workspace. Its options may be replaced at any time."""

    options: IngestionOptions
    directory: Directory
    mint: Mint
    clock: LabClock
    landing: Landing
    counts: Counts
    quota: MinuteQuota

    def answer(self, request: HttpRequest) -> Response:
        """Take an upload, or say why not: token first, then rule, right, stream, size."""
        route = PATH.fullmatch(request.path)
        if not route or request.method != "POST":
            return ingestion_error(404, request.path)
        rule, stream = route.groups()
        if refusal := self._refusal(request, rule) or self._no_stream(stream):
            return refusal
        body = _unpacked(request)
        if body is None:
            return ingestion_error(400)
        too_much = self._too_long(request, body) or self._too_fast(rule, len(body))
        return too_much or self._land(body, tables_by_stream().get(stream))

    def _no_stream(self, stream: str) -> Response | None:
        if stream in tables_by_stream() or self.options.swallow_unknown_streams:
            return None
        return ingestion_error(400, code="InvalidStream")

    def _too_long(self, request: HttpRequest, body: bytes) -> Response | None:
        size = len(body) if self.options.limit_unpacked else len(request.body)
        limit = self.options.max_body_bytes
        return ingestion_error(413, limit, size) if size > limit else None

    def _refusal(self, request: HttpRequest, rule: str) -> Response | None:
        if request.params.get("api-version") != API_VERSION:
            return ingestion_error(400, code="InvalidApiVersion")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = self.mint.read(token if scheme.lower() == "bearer" else "")
        except TokenError:
            return ingestion_error(401)
        if str(claims.get("aud")).rstrip("/") != self.options.audience:
            return ingestion_error(401)
        if rule != self.options.rule_id:
            return ingestion_error(404, rule)
        app = self.directory.app(str(claims.get("tid")), str(claims.get("appid")))
        known = app and app.may_send(self.clock.now(), self.options.grant_delay)
        return None if known else ingestion_error(403, rule)

    def _too_fast(self, rule: str, size: int) -> Response | None:
        now = self.clock.now()
        wait = self.quota.take(("requests", rule), self.options.requests_per_minute, now)
        wait = wait or self.quota.take(("bytes", rule), self.options.bytes_per_minute, now, size)
        if wait is None:
            return None
        seconds = self.clock.wall_seconds(wait)
        after = retry_after_header(seconds, self.options.retry_after, now)
        return ingestion_error(429, headers=(after,))

    def _land(self, body: bytes, table: str | None) -> Response:
        if table is None:
            self.counts.add("ingested", "bodies swallowed")
            return Response(status=204)
        now = self.clock.now()
        try:
            taken = take(body, table, now, back_dated=self.options.back_dated)
        except NoRowsError:
            return ingestion_error(400)
        stored = self._transformed(taken.lines)
        self.landing.put(table, stored)
        self._count(taken, len(body))
        if lost := len(taken.lines) - len(stored):
            self.counts.add("ingested", "rows lost after 204", lost)
        return Response(status=204)

    def _transformed(self, lines: Sequence[bytes]) -> Sequence[bytes]:
        """Return the rows that a transformation leaves over."""
        nth = self.options.drops_every
        return [line for place, line in enumerate(lines, 1) if place % nth] if nth else lines

    def _count(self, taken: Taken, size: int) -> None:
        self.counts.add("ingested", "bodies")
        self.counts.add("ingested", "bytes", size)
        self.counts.add("ingested", "rows", len(taken.lines))
        if taken.dropped_columns:
            self.counts.add("ingested", "columns dropped", taken.dropped_columns)
        if taken.cut_fields:
            self.counts.add("ingested", "fields cut", taken.cut_fields)


def _unpacked(request: HttpRequest) -> bytes | None:
    """Return the body without its gzip, or None when it is not what its header says."""
    if request.headers.get("content-encoding", "").lower() != "gzip":
        return request.body
    unpacker = zlib.decompressobj(wbits=31)
    try:
        body = unpacker.decompress(request.body, MAX_UNPACKED_BYTES)
    except zlib.error:
        return None
    return body if unpacker.eof and not unpacker.unused_data else None
