"""Check a collector's environment, before and after deployment: what is wrong, how to fix it.

Nothing is changed and no row is written. Each check gives one line. A passing fault is not wrong:
a request that failed is repeated before it is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Event

import requests

from audit_feed import app
from audit_feed.blobs import DLP_ROLE, Stream
from audit_feed.delivery.clock_check import NO_TIME, ask_for_time
from audit_feed.errors import AuditFeedError
from audit_feed.feed.bounded_transport import bounded_session
from audit_feed.feed.client import ANSWER_SECONDS, Feed
from audit_feed.feed.credentials import FeedTokens, credential
from audit_feed.feed.rate_limit import RateLimiter
from audit_feed.feed.retry import retry
from audit_feed.feed.service_clock import ServiceClock
from audit_feed.feed.tokens import claims_of
from audit_feed.records.batches import Body
from audit_feed.settings import Settings, Tenant
from audit_feed.windows import Window
from mailvigil.collect.stored_rows import QUERY_HOSTS, differences, hour_counts
from mailvigil.printable import counted

MAX_SKEW = timedelta(minutes=5)
"""Entra refuses signed assertions of a clock that is further off."""

ROLE = "ActivityFeed.Read"
DLP = "DLP.All"

PATIENCE = timedelta(seconds=20)
"""How long the workspace may be busy before that is reported."""

MOST_PAGES = 10
"""A page may be empty and have a next one; so many are read."""

_ENABLED = "enabled"
_DAY = timedelta(hours=23, minutes=55)


@dataclass(frozen=True, slots=True)
class Examined:
    """The result of one check: what was checked, and what to do where it is not well."""

    what: str
    well: bool
    todo: str = ""

    def __str__(self) -> str:
        """Return the line."""
        return f"{'ok   ' if self.well else 'WRONG'} {self.what}" + (
            f": {self.todo}" if self.todo else ""
        )


def examine(
    settings: Settings, clock: Callable[[], datetime], workspace: str = ""
) -> Iterator[Examined]:
    """Yield the result of each check, one after the other.

    Args:
        settings: The collector's settings.
        clock: Gives the local time, aware UTC.
        workspace: The id of the workspace whose rows are to be counted, if any.

    """
    stop = Event()
    for tenant in settings.tenants:
        yield from _tenant(tenant, settings, clock, stop)
    if settings.sink.kind == "loganalytics":
        yield _guarded(
            "workspace: role on the data collection rule", partial(_probe, settings, stop)
        )
        yield _rows_in_the_table(settings, workspace, stop)


def _tenant(
    tenant: Tenant, settings: Settings, clock: Callable[[], datetime], stop: Event
) -> Iterator[Examined]:
    name, sleep = f"tenant {tenant.id}", app.sleeper(stop)
    cloud = settings.cloud
    tokens = FeedTokens(partial(credential, tenant, cloud), cloud.feed_audience)
    yield _clock(settings, clock, name)
    try:
        claims = claims_of(retry(tokens, sleep))
    except AuditFeedError as error:
        yield Examined(f"{name}: token", well=False, todo=str(error))
        return
    yield Examined(f"{name}: token", well=True)
    yield _same_tenant(name, tenant, claims)
    yield _role(name, ROLE, claims)
    if DLP in tenant.content_types:
        yield _role(name, DLP_ROLE, claims)
    service = ServiceClock(clock)
    feed = app.feed_of(tenant, settings, RateLimiter(clock, sleep), service)
    yield from _subscriptions(name, tenant, _Asking(feed, service, sleep))


@dataclass(frozen=True, slots=True)
class _Asking:
    """A tenant's feed, its time, and how to wait before asking again."""

    feed: Feed
    clock: ServiceClock
    sleep: Callable[[timedelta], None]


def _same_tenant(name: str, tenant: Tenant, claims: Mapping[str, object]) -> Examined:
    token_tenant = str(claims.get("tid", ""))
    well = token_tenant.lower() == tenant.id
    todo = (
        ""
        if well
        else f"the token is of tenant {token_tenant or '(none)'}; check id and credential"
    )
    return Examined(f"{name}: tenant of the token", well, todo)


def _role(name: str, role: str, claims: Mapping[str, object]) -> Examined:
    roles = claims.get("roles")
    granted = [str(role) for role in roles] if isinstance(roles, list) else []
    well = role in granted
    grant = f"grant {role} of Office 365 Management APIs, with admin consent"
    todo = "" if well else f"the token has {', '.join(granted) or 'no roles'}; {grant}"
    return Examined(f"{name}: role {role}", well, todo)


def _subscriptions(name: str, tenant: Tenant, asking: _Asking) -> Iterator[Examined]:
    """Yield the state of each subscription, and whether the enabled ones have content."""
    try:
        statuses = retry(asking.feed.subscriptions, asking.sleep)
    except AuditFeedError as error:
        yield Examined(f"{name}: subscriptions", well=False, todo=str(error))
        return
    ask_for_time(asking.feed, lambda: asking.clock.offset)
    yield _feed_clock(name, asking.clock)
    for kind in tenant.content_types:
        status = statuses.get(kind, "missing")
        well = status == _ENABLED
        todo = "" if well else f"it is {status}; start it with mailvigil collect --start"
        yield Examined(f"{name}: subscription {kind}", well, todo)
    on = [kind for kind in tenant.content_types if statuses.get(kind) == _ENABLED]
    yield from _content(name, [Stream(tenant.id, kind) for kind in on], asking)


def _feed_clock(name: str, clock: ServiceClock) -> Examined:
    """Return how far the feed's clock is from ours; it decides what is complete and expired."""
    what = f"{name}: clock of the feed"
    if clock.offset is None:
        return Examined(what, well=False, todo=f"its answers do not give it: {NO_TIME}")
    seconds = round(clock.offset.total_seconds())
    word = f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} ours" if seconds else "ours"
    return Examined(f"{what}: {word}", well=True)


def _content(name: str, streams: Sequence[Stream], asking: _Asking) -> Iterator[Examined]:
    """Yield whether each content type had content in the last day; none at all is wrong."""
    listed, seen = 0, 0
    for stream in streams:
        now, kind = asking.clock.now(), stream.content_type
        try:
            blobs = _blobs(stream, Window(now - _DAY, now), asking)
        except AuditFeedError as error:
            yield Examined(f"{name}: {kind}", well=False, todo=str(error))
            continue
        listed, seen = listed + 1, seen + blobs
        word = "content" if blobs else "nothing"
        yield Examined(f"{name}: {kind}: {word} in the last day", well=True)
    if listed:
        todo = "nothing at all; turn unified auditing on (a new start takes up to 12 h)"
        yield Examined(f"{name}: auditing", bool(seen), "" if seen else todo)


def _blobs(stream: Stream, window: Window, asking: _Asking) -> int:
    """Return the number of blobs on the first page that is not empty."""
    address = ""
    for _ in range(MOST_PAGES):
        page = retry(partial(asking.feed.page, stream, window, address), asking.sleep)
        if page.blobs or not page.next:
            return len(page.blobs)
        address = page.next
    return 0


def _probe(settings: Settings, stop: Event) -> str:
    """Send an empty list: it needs the role and leaves no row."""
    app.log_analytics(settings, stop).send(Body(b"[]", 0), PATIENCE)
    return ""


def _rows_in_the_table(settings: Settings, workspace: str, stop: Event) -> Examined:
    """Return whether the table holds every row that the workspace has acknowledged."""
    what, cloud = "workspace: rows in the table", settings.cloud
    host = QUERY_HOSTS.get(cloud.ingestion_audience.rstrip("/"), "")
    if not workspace or not host:
        why = "name the workspace: --workspace ID" if host else "this cloud has no known query API"
        return Examined(what, well=True, todo=f"not counted ({why})")
    try:
        tokens = FeedTokens(partial(credential, settings.tenants[0], cloud), host)
        token = retry(tokens, app.sleeper(stop))
        with bounded_session(ANSWER_SECONDS) as session:
            post = partial(session.post, verify=cloud.ca or True)
            counts = hour_counts(host, workspace, token, post)
    except AuditFeedError as error:
        return Examined(what, well=False, todo=str(error))
    if lacking := "; ".join(differences(counts)):
        remedy = "look into DCRLogErrors and the data collection rule, then ledger redeliver"
        return Examined(what, well=False, todo=f"missing are {lacking}; {remedy}")
    rows = sum(count.sent for count in counts)
    return Examined(f"{what}: all {rows:,} sent in {counted(len(counts), 'hour')}", well=True)


def _clock(settings: Settings, clock: Callable[[], datetime], name: str) -> Examined:
    what = f"{name}: clock"
    try:
        with bounded_session(ANSWER_SECONDS) as session:
            answer = session.head(
                settings.cloud.login,
                timeout=10,
                verify=settings.cloud.ca or True,
                allow_redirects=False,
            )
        login_time = parsedate_to_datetime(answer.headers["Date"])
    except (requests.RequestException, KeyError, ValueError) as error:
        return Examined(
            what, well=False, todo=f"the login host gives no time: {type(error).__name__}"
        )
    ahead = clock() - login_time
    well = abs(ahead) <= MAX_SKEW
    word = "ahead of" if ahead > timedelta() else "behind"
    seconds = int(abs(ahead).total_seconds())
    todo = "" if well else f"it is {seconds} s {word} the login host's; set it (NTP)"
    return Examined(what, well, todo)


def _guarded(what: str, probe: Callable[[], str]) -> Examined:
    try:
        todo = probe()
    except AuditFeedError as error:
        todo = str(error)
    return Examined(what, not todo, todo)
