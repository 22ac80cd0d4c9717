"""The lab as one thing: started, asked, filled, and closed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Self
from uuid import uuid4

from mailvigil.errors import InputError
from mailvigil.lab.server.activity import ActivityApi, auditing_of, authenticate_by
from mailvigil.lab.server.certificates import make_authority, write_client_certificate
from mailvigil.lab.server.clock import LabClock
from mailvigil.lab.server.contents import Blob, Contents, content_id
from mailvigil.lab.server.control import PREFIX, Control
from mailvigil.lab.server.counts import CountedResource, Counts
from mailvigil.lab.server.directory import Directory
from mailvigil.lab.server.entra import FEDERATION_AUDIENCE, Entra
from mailvigil.lab.server.faults import Faults
from mailvigil.lab.server.feed_model import FeedModel
from mailvigil.lab.server.feed_request import feed_resource
from mailvigil.lab.server.graph import GraphApi
from mailvigil.lab.server.graph_request import VERSION as GRAPH_PATH
from mailvigil.lab.server.graph_request import graph_resource
from mailvigil.lab.server.hostile_blobs import hostile
from mailvigil.lab.server.ingestion import IngestionApi
from mailvigil.lab.server.landing import Landing
from mailvigil.lab.server.managed_identity import PATH as IDENTITY_PATH
from mailvigil.lab.server.managed_identity import ManagedIdentity
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.misbehaving import FEED_KINDS, Services, struck
from mailvigil.lab.server.options import CONTENT_TYPES, LabOptions, TenantOptions
from mailvigil.lab.server.publishing import LabRecord, Publication, body_of
from mailvigil.lab.server.quota import MinuteQuota
from mailvigil.lab.server.streams import PREFIX as STREAM_PREFIX
from mailvigil.lab.server.subscriptions import Subscriptions
from mailvigil.lab.server.tokens import Mint
from mailvigil.lab.server.webhooks import Webhooks
from mailvigil.lab.server.wire import Listener

STREAM = STREAM_PREFIX + "M365Activity_CL"
WEEK_SECONDS = 7 * 86_400


@dataclass(frozen=True, slots=True)
class LabTenant:
    """What a client of one tenant is given.

    ``object_id`` is the service principal's of ``client_id``; ``admin_id`` and ``admin_secret``
    are of the application that administers the tenant.
    """

    id: str
    client_id: str
    secret: str
    object_id: str
    admin_id: str
    admin_secret: str


def wall() -> datetime:
    """Return the time outside of the lab, aware."""
    return datetime.now(UTC)


class Lab:
    """One lab. It listens from ``__enter__`` to ``__exit__``; its folder is made at once.

    Attributes:
        url: Scheme, host and port of Entra ID, Graph, the feed and the ingestion alike.
        ca: File with the CA that clients must trust.
        tenants: Ids and secrets.
        identity_endpoint: Value of IDENTITY_ENDPOINT for a managed identity…
        identity_header: …and of IDENTITY_HEADER. The identity is the first tenant's app.
        rule_id: Immutable id of the data collection rule.
        stream: Its stream for activity records.
        clock: The lab's clock.
        counts: How often everything was asked for.
        feed: The model of the Management Activity API; its options may be replaced.
        graph: Microsoft Graph; its options may be replaced.
        workspace: The file in which rows land.

    """

    def __init__(self, options: LabOptions | None = None) -> None:
        """Make a lab that does not listen yet."""
        self.options = options or LabOptions()
        self._stack = ExitStack()
        self.folder = self._folder()
        self.clock = LabClock(self.options.start, self.options.rate)
        self.counts = Counts()
        self.rule_id, self.stream = self.options.ingestion.rule_id, STREAM
        self.directory = Directory(self.options.tenants)
        self.tenants = tuple(self._given(tenant) for tenant in self.options.tenants)
        self.contents = Contents()
        self.subscriptions = Subscriptions()
        for tenant in self.options.tenants:
            self.subscriptions.always_on(tenant.id.lower(), tenant.subscribed)
        self.faults = Faults(self.options.scripted, self.options.chaos)
        self._mint = Mint(
            self.clock, self.options.token_seconds, lambda: self.feed.options.clock_offset
        )
        self._numbers = count(1)
        self._date = (0, "")
        self.workspace = self.options.workspace or self.folder / "workspace.duckdb"
        self.identity_header = uuid4().hex
        self._listen()

    def _given(self, tenant: TenantOptions) -> LabTenant:
        known = self.directory.tenants[tenant.id.lower()]
        app = known.apps[tenant.client_id.lower()]
        admin_id = known.admin.client_id
        return LabTenant(
            known.id, app.client_id, tenant.secret, app.object_id, admin_id, tenant.admin_secret
        )

    def _folder(self) -> Path:
        if self.options.folder is None:
            made = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mailvigil-lab"))
            return Path(made)
        self.options.folder.mkdir(parents=True, exist_ok=True)
        return self.options.folder

    def _listen(self) -> None:
        """Build the services, and bind their ports."""
        authority = make_authority(self.folder)
        self.ca = authority.file
        feed, graph = self.options.feed, self.options.graph
        self._webhooks = Webhooks(self._service_now, self.subscriptions, self.ca)
        self._entra = Entra(
            self.directory,
            self._mint,
            (feed.audience, self.options.ingestion.audience, graph.audience),
            {feed.audience: attrgetter("roles"), graph.audience: attrgetter("graph_roles")},
            wall,
            feed.audience,
        )
        self.graph = GraphApi(graph, self.directory, self._mint, self.clock)
        self.feed = FeedModel(
            authenticate=authenticate_by(self._mint, feed.audience),
            auditing=auditing_of(self.directory),
            options=feed,
            contents=self.contents,
            subscriptions=self.subscriptions,
            faults=self.faults,
            counts=self.counts,
            validate=self._webhooks.validate,
            attempts=self._webhooks.attempts,
            seconds_outside=self.clock.wall_seconds,
        )
        self._activity = ActivityApi(
            self.feed, self.directory, self._mint, self.clock, self._webhooks
        )
        self._https = Listener(self._handle, self._http_date, authority.context, self.options.port)
        self._http = Listener(self._identity, self._http_date)
        self.url = f"https://127.0.0.1:{self._https.port}"
        self.identity_endpoint = f"http://127.0.0.1:{self._http.port}{IDENTITY_PATH}"
        self._hosts = {f"{name}:{self._https.port}" for name in ("127.0.0.1", "localhost")}
        first = self.tenants[0]
        app = self.directory.tenants[first.id].apps[first.client_id]
        self._msi = ManagedIdentity(
            self._entra, app, first.id, self.identity_header, wall, self.options.identity_caches
        )

    def __enter__(self) -> Self:
        self._landing = Landing(
            self.workspace,
            self.folder / "landing",
            at_close=self.options.ingestion.land_at_close,
        )
        self._ingestion = IngestionApi(
            self.options.ingestion,
            self.directory,
            self._mint,
            self.clock,
            self._landing,
            self.counts,
            MinuteQuota(),
        )
        self._control = Control(
            self._activity, self._ingestion, self.faults, self._landing, self._publish_now
        )
        self._https.start()
        self._http.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self._webhooks.close()
            self._https.close()
            self._http.close()
            self._landing.close()

    def publish(
        self,
        content_type: str,
        created: datetime,
        records: Iterable[LabRecord] | bytes | Path,
        *,
        available: datetime | None = None,
        tenant: str = "",
    ) -> str:
        """Put one blob into the feed and return its contentId.

        Args:
            content_type: One of the feed's.
            created: Its contentCreated (aware).
            records: Its records, or the whole body as bytes or as a file that stays.
            available: From when on it is listed (aware), None for *created*.
            tenant: Whose it is, the first one's when empty.

        Raises:
            InputError: The content type or the tenant is not known.

        """
        blob = self._blob(
            Publication(content_type, created, available or created, ()), records, tenant
        )
        self.feed.publish(blob)
        return blob.id

    def _blob(
        self, publication: Publication, records: Iterable[LabRecord] | bytes | Path, tenant: str
    ) -> Blob:
        content_type, created = publication.content_type, publication.created
        owner = (tenant or self.tenants[0].id).lower()
        if content_type not in CONTENT_TYPES or owner not in self.directory.tenants:
            raise InputError("publish", f"no {content_type} of tenant {owner}")
        ids: tuple[str, ...] | None = None
        if not isinstance(records, bytes | Path):
            listed = list(records)
            ids = tuple(str(record.get("Id")) for record in listed)
            records = body_of(listed)
        return Blob(
            id=content_id(owner, content_type, created, next(self._numbers)),
            tenant=owner,
            content_type=content_type,
            created=created,
            available=publication.available,
            body=records,
            record_ids=ids,
        )

    def publish_all(self, blobs: Iterable[Publication], *, tenant: str = "") -> list[str]:
        """Publish what :func:`mailvigil.lab.server.publishing.cut` yields; return the ids."""
        made = [self._blob(publication, publication.records, tenant) for publication in blobs]
        seed = self.options.hostile
        for blob in made if seed is None else hostile(made, seed, self.clock.now()):
            self.feed.publish(blob)
        return [blob.id for blob in made]

    def rows(self, sql: str) -> Sequence[tuple[object, ...]]:
        """Return what *sql* gives of the workspace, with all rows that were accepted."""
        return self._landing.rows(sql)

    def checkpoint(self) -> Path:
        """Bring every accepted row into the workspace file, and return it."""
        self._landing.checkpoint()
        return self.workspace

    def certificate(self, tenant: str = "") -> Path:
        """Make a key and certificate for a tenant's app, register it, and return the PEM."""
        owner = self._tenant(tenant)
        file = self.folder / f"{owner.client_id}.pem"
        made = write_client_certificate(file, owner.client_id)
        self.directory.tenants[owner.id].apps[owner.client_id].register(made)
        return file

    def federated_token(self, tenant: str = "", subject: str = "repo:contoso/lab") -> Path:
        """Write a workload's token for *subject*, which the tenant's app trusts from now on."""
        owner = self._tenant(tenant)
        self.directory.tenants[owner.id].apps[owner.client_id].subjects.add(subject)
        now = int(wall().timestamp())
        times = {"iat": now, "nbf": now, "exp": now + WEEK_SECONDS}
        claims = {"iss": f"{self.url}/workload", "sub": subject, "aud": FEDERATION_AUDIENCE}
        file = self.folder / f"{owner.client_id}.jwt"
        file.touch(mode=0o600)
        file.write_text(self._mint.signed({**claims, **times}), encoding="utf-8")
        return file

    def _tenant(self, tenant: str) -> LabTenant:
        wanted = (tenant or self.tenants[0].id).lower()
        return next(lab_tenant for lab_tenant in self.tenants if lab_tenant.id == wanted)

    def _publish_now(
        self,
        content_type: str,
        created: datetime,
        available: datetime,
        records: list[LabRecord],
        tenant: str,
    ) -> str:
        return self.publish(content_type, created, records, available=available, tenant=tenant)

    def _handle(self, request: HttpRequest) -> Response:
        if request.path.startswith(PREFIX):
            return self._own(request)
        resource = resource_of(request)
        turn = self.counts.ask(resource)
        target = f"{request.path}?{request.query}" if request.query else request.path
        fault = self.faults.of(request.method, target, resource, turn)
        if fault is None:
            response = self._honest(request)
        else:
            response = struck(fault, request, resource, self._services(request))
            if fault.revoke:
                self._mint.revoke(request.headers.get("authorization", "").partition(" ")[2])
        self.counts.answer(
            resource, response.status, whole=response.whole, fault=fault.kind if fault else ""
        )
        return self._activity.dated(response) if resource.kind in FEED_KINDS else response

    def _services(self, request: HttpRequest) -> Services:
        feed = self._activity.at_present(self._base(request))
        return Services(self._honest, feed, self._service_now())

    def _own(self, request: HttpRequest) -> Response:
        """Answer the lab's own endpoint, but no page of a browser that was led here."""
        if request.headers.get("host", "") not in self._hosts or "origin" in request.headers:
            return Response(status=403)
        return self._control.answer(request)

    def _honest(self, request: HttpRequest) -> Response:
        if request.path.startswith("/api/"):
            return self._activity.answer(request, self._base(request))
        if request.path.startswith("/dataCollectionRules/"):
            return self._ingestion.answer(request)
        if request.path.startswith(GRAPH_PATH):
            return self.graph.answer(request, self._base(request))
        return self._entra.answer(request, self._base(request))

    def _base(self, request: HttpRequest) -> str:
        """Return scheme and host as the client wrote them, so that it meets no strange host."""
        host = request.headers.get("host", "")
        return f"https://{host}" if host in self._hosts else self.url

    def _identity(self, request: HttpRequest) -> Response:
        resource = CountedResource("identity", request.query)
        self.counts.ask(resource)
        response = self._msi.answer(request)
        self.counts.answer(resource, response.status, whole=True, fault="")
        return response

    def _service_now(self) -> datetime:
        return self.feed.now(self.clock.now())

    def _http_date(self) -> str:
        now = self.clock.now()
        second, text = self._date
        if int(now.timestamp()) != second:
            text = format_datetime(now, usegmt=True)
            self._date = (int(now.timestamp()), text)
        return text


def resource_of(request: HttpRequest) -> CountedResource:
    """Return what *request* is for."""
    path = request.path
    if "/activity/feed/" in path:
        return feed_resource(request)
    if path.startswith("/dataCollectionRules/"):
        return CountedResource("upload", sha256(request.body).hexdigest()[:32])
    if path.endswith("/token"):
        return CountedResource("token", f"{path} {request.form.get('client_id', '')}")
    if path.startswith(GRAPH_PATH):
        return graph_resource(request)
    return CountedResource("other", path)


def tenants_of(number: int) -> tuple[TenantOptions, ...]:
    """Return options for that many tenants (at most 4,096) with ids of their own."""
    first = TenantOptions()
    return tuple(
        TenantOptions(
            id=f"{first.id[:-3]}{place:03x}",
            client_id=f"{first.client_id[:-3]}{place:03x}",
            secret=f"{first.secret}-{place}",
        )
        for place in range(1, number + 1)
    )
