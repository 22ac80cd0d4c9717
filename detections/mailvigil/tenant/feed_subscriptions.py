"""Subscriptions of the feed: start those that are missing, stop those that are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol, TypeVar
from urllib.parse import urlencode

import requests

from audit_feed.errors import AccessError, NoSubscriptionError, RetryError
from audit_feed.feed.client import Feed
from audit_feed.feed.refusals import error_of
from audit_feed.feed.retry import retry
from audit_feed.feed.tokens import Tokens, claims_of
from audit_feed.settings import GUID
from mailvigil.tenant.service import Service
from mailvigil.tenant.steps import (
    BadAnswer,
    SetupError,
    StepErrors,
    StepResult,
    change,
    failed,
    no_answer,
)

_NO_ANSWER = "no answer: "
"""How the feed's client begins to say that there was none."""

_CANNOT = "(StartSubscription)"
_TOO_SOON = "a quarter of an hour has to pass between two starts"
"""The feed says neither code nor reason where it does not start a subscription. Source: API's
reference, "Start a subscription"."""

_Asked = TypeVar("_Asked")


class StartingOneByOne(Protocol):
    """What is needed of a feed; see ``audit_feed.feed.client.Feed``."""

    def subscriptions(self) -> Mapping[str, str]:
        """Return content type to status."""

    def start(self, content_type: str) -> None:
        """Start the subscription; one that is started already is good."""


@dataclass(frozen=True, slots=True)
class SubscribedFeed:
    """The subscriptions of one *tenant* (a GUID): ``feed`` lists and starts, ``service`` stops.

    Every method raises AuditFeedError or SetupError; a passing fault of the feed's is asked again.
    """

    tenant: str
    feed: StartingOneByOne
    service: Service
    sleep: Callable[[timedelta], None]

    def statuses(self) -> Mapping[str, str]:
        """Return content type to status."""
        return self._asked(self.feed.subscriptions)

    def start(self, content_type: str) -> None:
        """Start a subscription; one that is started already is good."""
        try:
            self._asked(partial(self.feed.start, content_type))
        except AccessError as error:
            if _CANNOT not in error.what:
                raise
            raise SetupError(error.where, error.what, f"{error.todo}; {_TOO_SOON}") from None

    def stop(self, content_type: str) -> None:
        """Stop a subscription; one that is not there, or is stopped already, is good."""
        query = urlencode({"contentType": content_type, "PublisherIdentifier": self.tenant})
        path = f"/api/v1.0/{self.tenant}/activity/feed/subscriptions/stop?{query}"
        try:
            self.service.ask(f"stop {content_type}", "POST", path)
        except NoSubscriptionError:
            return

    def _asked(self, ask: Callable[[], _Asked]) -> _Asked:
        return retry(partial(_reached, ask), self.sleep)


def _reached(ask: Callable[[], _Asked]) -> _Asked:
    """Return what *ask* returns; that nothing answers is told at once, not after repetitions."""
    try:
        return ask()
    except RetryError as error:
        if not error.what.startswith(_NO_ANSWER):
            raise
        raise no_answer(error.where, error.what.removeprefix(_NO_ANSWER)) from None


def subscribed_feed(
    host: str,
    tenant: str,
    tokens: Tokens,
    session: requests.Session,
    sleep: Callable[[timedelta], None],
) -> SubscribedFeed:
    """Return the feed on *host* of *tenant*, ``""`` for the tenant that is signed in to.

    Raises:
        AuditFeedError, SetupError: There is no token, or it does not say its tenant.

    """
    tenant = tenant or _tenant_of(retry(tokens, sleep))
    feed = Feed(tenant, host, tokens, session, lambda: None)
    return SubscribedFeed(tenant, feed, Service(host, tokens, session, sleep, feed_judge), sleep)


def _tenant_of(token: str) -> str:
    """Return the id of the tenant that *token* is of."""
    tenant = str(claims_of(token).get("tid", ""))
    if not GUID.fullmatch(tenant):
        raise SetupError("sign-in", "the token does not name its tenant", "--tenant TENANT-ID does")
    return tenant.lower()


def feed_judge(where: str, bad: BadAnswer, _token: str) -> Exception:
    """Return what a bad answer of the feed means, by its code."""
    return error_of(bad.status, bad.code, bad.wait, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeRequest:
    """Which content *types* are to be started or, with *undo*, stopped.

    One that somebody stopped is started only with *restart*.
    """

    types: Sequence[str]
    restart: bool = False
    undo: bool = False
    what_if: bool = False


def subscribe(feed: SubscribedFeed, request: SubscribeRequest) -> Iterator[StepResult]:
    """Start or stop each subscription, and yield what became of it; one holds back no other."""
    try:
        statuses = feed.statuses()
    except StepErrors as error:
        yield failed(error)
        return
    for kind in request.types:
        try:
            yield _set_subscription(feed, request, kind, statuses.get(kind, ""))
        except StepErrors as error:
            yield failed(error)


def _set_subscription(
    feed: SubscribedFeed, request: SubscribeRequest, kind: str, status: str
) -> StepResult:
    what_if = request.what_if
    match status, request.undo:
        case ("enabled", False):
            return StepResult(f"as it should be: {kind} is started")
        case ("", False):
            return change(f"start {kind}", partial(feed.start, kind), what_if=what_if)
        case ("disabled", False) if request.restart:
            return change(f"start {kind} again", partial(feed.start, kind), what_if=what_if)
        case ("disabled", False):
            what = "the subscription is disabled: somebody stopped it"
            raise SetupError(kind, what, "ask who did; --restart starts it again")
        case ("enabled", True):
            return change(f"stop {kind}", partial(feed.stop, kind), what_if=what_if)
        case ("" | "disabled", True):
            return StepResult(f"as it should be: {kind} is not started")
        case _:
            what = "its status is not known here"
            raise SetupError(kind, what, "read the Management Activity API's documents")
