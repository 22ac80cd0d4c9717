"""What a lab is asked to be. Frozen: what changes while it runs is not here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar

from mailvigil.errors import InputError
from mailvigil.lab.server.faults import RetryAfterForm, Scripted

CONTENT_TYPES = (
    "Audit.AzureActiveDirectory",
    "Audit.Exchange",
    "Audit.SharePoint",
    "Audit.General",
    "DLP.All",
)
"""Every content type that the feed knows. The spelling counts."""

FEED_ROLES = ("ActivityFeed.Read", "ActivityFeed.ReadDlp")

ADMIN_ROLES = ("Application.Read.All", "AppRoleAssignment.ReadWrite.All")
"""Roles of Microsoft Graph with which an application may give others theirs."""

TENANT_ID = "0ce50a11-7ab5-4f00-8000-c0470501ab01"
FIRST_BLOB_DELAY = timedelta(hours=12)
"""How long it may take from a start to the first blob."""

CLIENT_ID = "c011ec70-4000-4a00-8000-c0470501ab01"
ADMIN_ID = "ad814157-4000-4a00-8000-c0470501ab01"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantOptions:
    """One tenant, with an application that collects, and one that administers the tenant.

    ``subscribed`` are the content types whose subscription has always been on. ``auditing``
    False is a tenant whose unified audit log is off. ``granted`` is whether the application
    may send to the data collection rule. ``graph_roles`` are the collecting application's in
    Microsoft Graph, ``admin_roles`` those of the other one. ``feed_api`` False is a tenant
    without a service principal of the Office 365 Management APIs.
    """

    id: str = TENANT_ID
    client_id: str = CLIENT_ID
    secret: str = "lab-secret-of-no-worth"  # noqa: S105 - opens nothing but the lab
    roles: tuple[str, ...] = FEED_ROLES
    subscribed: tuple[str, ...] = CONTENT_TYPES
    auditing: bool = True
    granted: bool = True
    graph_roles: tuple[str, ...] = ()
    admin_id: str = ADMIN_ID
    admin_secret: str = "lab-secret-of-the-administration"  # noqa: S105 - opens nothing but the lab
    admin_roles: tuple[str, ...] = ADMIN_ROLES
    feed_api: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """The Management Activity API. Quotas are requests a minute of the service's clock.

    Attributes:
        audience: What a token must be made for.
        page_size: Blobs a page of a listing.
        quota: That of a tenant and publisher.
        shared_quota: The one that all requests without a PublisherIdentifier share.
        throttle_status: HTTP status of AF429; both 403 and 429 were seen.
        retry_after: Form of the header that AF429 has by quota; "" for none, which is allowed.
        clock_offset: What the service's clock shows more than the given time. It decides
            windows, expiry and quota, and is the header Date.
        first_blob_delay: How long after a start nothing is listed; up to 12 hours.
        start_interval: How long after a start request the next one is refused.
        forgets_on_restart: A subscription that was stopped and started again shows nothing
            from before the restart. The documents leave it open.
        refuses_long_windows: A window over 24 hours is an error; without it, the answer is
            partial: both are described.
        lists_sizes: Listings have a contentSize.
        content_base: Scheme and host of every contentUri, "" for those that the client used.
        page_base: The same for NextPageUri.

    """

    audience: str = "https://manage.office.com"
    page_size: int = 200
    quota: int = 2_000
    shared_quota: int = 2_000
    throttle_status: int = 403
    retry_after: RetryAfterForm | Literal[""] = ""
    clock_offset: timedelta = timedelta()
    first_blob_delay: timedelta = timedelta()
    start_interval: timedelta = timedelta(minutes=15)
    forgets_on_restart: bool = False
    refuses_long_windows: bool = True
    lists_sizes: bool = False
    content_base: str = ""
    page_base: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestionOptions:
    """The Logs Ingestion API and its data collection rule.

    ``limit_unpacked`` says whether ``max_body_bytes`` counts after decompression (True) or
    on the wire: the documents do not settle it. Limits a minute are by the lab's clock.
    ``retry_after`` is the form of that header.
    ``swallow_unknown_streams`` answers 204 and stores nothing, as the service does; without
    it an unknown stream is refused. ``drops_every`` loses each n-th row after the 204, as a
    transformation may; 0 loses none. ``grant_delay`` is how long a new role is not yet known.
    ``back_dated`` lets a row arrive at its own event's time, as in a loaded export, instead
    of the time of receipt: for a month that is collected in one pass.
    ``land_at_close`` writes the workspace only when asked or at the end, for benchmarks.
    """

    audience: str = "https://monitor.azure.com"
    rule_id: str = "dcr-1ab0000000000000000000000000c047"
    max_body_bytes: int = 1_048_576
    limit_unpacked: bool = True
    requests_per_minute: int = 12_000
    bytes_per_minute: int = 2 * 10**9
    retry_after: RetryAfterForm = "seconds"
    swallow_unknown_streams: bool = True
    drops_every: int = 0
    grant_delay: timedelta = timedelta()
    back_dated: bool = False
    land_at_close: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOptions:
    """Microsoft Graph.

    ``page_size`` is small, so that all who list are led to a next page; ``$top`` makes no page
    larger, which the documents allow. ``empty_first_page`` has no object on the first of several
    pages, which they allow too.
    """

    audience: str = "https://graph.microsoft.com"
    page_size: int = 1
    empty_first_page: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """A whole lab.

    Attributes:
        folder: Where the CA, keys and the workspace go. It is made; None is a temporary one.
        workspace: File of the workspace, ``workspace.duckdb`` in the folder when None.
        port: 0 takes a free one.
        start: What the lab's clock shows at the start (aware), None for the time it is.
        rate: Seconds that pass in the lab for one outside; 0 stops the clock.
        token_seconds: How long an access token lasts, by the lab's clock.
        scripted: Faults by rule; the first that matches a request wins.
        chaos: Seed of random faults, None for none.
        hostile: Seed by which blobs are published in every way that the documents allow:
            grown, odd, under second and encoded addresses. None publishes plain ones.
        identity_caches: The managed identity endpoint gives the same token until it is about
            to expire, whatever was granted in between.

    """

    tenants: tuple[TenantOptions, ...] = (TenantOptions(),)
    feed: FeedOptions = field(default_factory=FeedOptions)
    ingestion: IngestionOptions = field(default_factory=IngestionOptions)
    graph: GraphOptions = field(default_factory=GraphOptions)
    folder: Path | None = None
    workspace: Path | None = None
    port: int = 0
    start: datetime | None = None
    rate: float = 1.0
    token_seconds: int = 3_599
    scripted: tuple[Scripted, ...] = ()
    chaos: int | None = None
    hostile: int | None = None
    identity_caches: bool = False


Options = TypeVar("Options", FeedOptions, IngestionOptions)
_CHOICES: Mapping[str, tuple[object, ...]] = {
    "throttle_status": (403, 429),
    "retry_after": ("", "seconds", "date"),
}
_LEAST = {"page_size": 1, "max_body_bytes": 1}
"""The least value of a number; of another one it is 0."""


def changed(options: Options, asked: Mapping[str, object]) -> Options:
    """Return *options* with the fields in *asked*; a span of time is given in seconds.

    Raises:
        InputError: A field is unknown, or its value is none that it can have.

    """
    known = {field.name: getattr(options, field.name) for field in fields(options)}
    if unknown := sorted(asked.keys() - known.keys()):
        raise InputError("options", f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    values = {name: _value(name, known[name], asked[name]) for name in asked}
    return replace(options, **values)  # type: ignore[arg-type]  # each has its field's type


def _value(name: str, present: object, asked: object) -> object:
    if isinstance(present, timedelta) and type(asked) in {int, float}:
        return timedelta(seconds=float(str(asked)))
    if type(asked) is int and asked < _LEAST.get(name, 0):
        raise InputError("options", f"`{name}` is too small")
    if type(asked) is not type(present) or asked not in _CHOICES.get(name, (asked,)):
        raise InputError("options", f"`{name}` has a value of another kind")
    return asked


def plain(options: FeedOptions | IngestionOptions) -> dict[str, object]:
    """Return *options* as JSON can hold them; a span of time in seconds."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    return {k: v.total_seconds() if isinstance(v, timedelta) else v for k, v in values.items()}
