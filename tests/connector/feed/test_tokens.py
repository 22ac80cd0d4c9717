"""A refused token is really replaced: no cache answers with it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from azure.core.credentials import AccessToken

from audit_feed.errors import AccessError, ConfigError, RetryError
from audit_feed.feed.credentials import FeedTokens
from audit_feed.feed.tokens import REPLACE_SECONDS, CachedToken, roles_of
from audit_feed.windows import HOUR, Window, hour_of
from connector.feed.loopback import Answer, Loopback, TokenGiver, jwt, loopback
from connector.feed.test_client import failing
from connector.made import START, STREAM

WINDOW = Window(hour_of(START), hour_of(START) + HOUR)
READ, DLP = "ActivityFeed.Read", "ActivityFeed.ReadDlp"


@dataclass(slots=True)
class Seconds:
    """A clock that moves when it is told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


def sent(server: Loopback) -> list[str]:
    """Return the tokens of the requests that came in."""
    return [asked.headers["Authorization"].removeprefix("Bearer ") for asked in server.asked]


REFUSALS = [Answer(401, b""), Answer(403, b""), failing(403, "AF10001"), failing(403, "AF20010")]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["401", "403", "AF10001", "AF20010"])
def test_a_refused_token_is_replaced_and_the_request_repeated(
    server: Loopback, refusal: Answer
) -> None:
    server.answers = [refusal, Answer()]

    server.feed(tokens=TokenGiver(("old", "new"))).page(STREAM, WINDOW)

    assert sent(server) == ["old", "new"]


def test_a_refusal_that_lasts_signs_in_at_most_once_a_minute(server: Loopback) -> None:
    server.answers = [failing(403, "AF10001")]
    tokens, seconds = TokenGiver(("a", "b", "c", "d")), Seconds()
    feed = server.feed(tokens=tokens, seconds=seconds)
    for _ in range(30):
        with pytest.raises(AccessError):
            feed.page(STREAM, WINDOW)
        seconds.now += REPLACE_SECONDS / 10

    assert tokens.replaced == 3
    assert len(server.asked) == 33


def test_a_permission_granted_while_running_works_within_a_minute(server: Loopback) -> None:
    tokens, seconds = TokenGiver(("without", "without", "with the role")), Seconds()
    feed = server.feed(tokens=tokens, seconds=seconds)
    server.answers = [failing(403, "AF10001")]
    with pytest.raises(AccessError):
        feed.page(STREAM, WINDOW)

    seconds.now += REPLACE_SECONDS
    server.answers = [failing(403, "AF10001"), Answer()]
    feed.page(STREAM, WINDOW)

    assert sent(server)[-1] == "with the role"


def test_the_first_of_several_refused_requests_replaces_the_token_for_all() -> None:
    tokens = TokenGiver(("old", "new"))
    cached = CachedToken(tokens, Seconds())
    old = cached()

    replaced = [cached.replace(old), cached.replace(old)]
    new = cached()
    replaced.append(cached.replace(old))

    assert replaced == [True, True, True]
    assert not cached.replace(new)
    assert tokens.replaced == 1


@pytest.mark.parametrize("code", ["AF20022", "AF20011", "AF429", "AF20051", "AF20030"])
def test_a_refusal_that_no_token_can_overcome_replaces_none(server: Loopback, code: str) -> None:
    server.answers = [failing(403, code)]
    tokens = TokenGiver(("old", "new"))

    with pytest.raises(Exception, match="list Audit"):
        server.feed(tokens=tokens).page(STREAM, WINDOW)

    assert tokens.replaced == 0


class Caching:
    """A credential as the library's: it gives the token that it has cached, again and again."""

    made = 0

    def __init__(self) -> None:
        Caching.made += 1
        self.token = f"token-{Caching.made}"

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        return AccessToken(self.token, 2**31)


def test_a_replaced_credential_is_a_new_one_that_no_cache_answers_for() -> None:
    Caching.made = 0
    tokens = FeedTokens(Caching, "https://feed.example")
    first = [tokens(), tokens()]

    tokens.replace()

    assert first == ["token-1", "token-1"]
    assert tokens() == "token-2"


def test_a_credential_that_cannot_be_made_again_stays() -> None:
    made: list[Caching] = []

    def make() -> Caching:
        if made:
            raise ConfigError(["tenant: credential: FileNotFoundError"])
        made.append(Caching())
        return made[0]

    tokens = FeedTokens(make, "https://feed.example")
    tokens.replace()

    assert tokens() == made[0].token


@pytest.mark.parametrize(
    ("token", "roles"),
    [
        (jwt(roles=[READ, DLP]), {READ, DLP}),
        (jwt(roles=[READ]), {READ}),
        (jwt(tid="x"), set()),
        (jwt(roles="all"), None),
        ("opaque", None),
        ("a.b.c", None),
        ("", None),
    ],
)
def test_roles_that_cannot_be_read_are_not_taken_for_none(
    token: str, roles: set[str] | None
) -> None:
    assert roles_of(token) == roles


def test_the_dlp_role_granted_while_running_is_seen_within_a_minute(server: Loopback) -> None:
    seconds = Seconds()
    tokens = TokenGiver((jwt(roles=[READ]), jwt(roles=[READ]), jwt(roles=[READ, DLP])))
    feed = server.feed(tokens=tokens, seconds=seconds)

    before = [feed.roles(), feed.roles()]
    seconds.now += REPLACE_SECONDS

    assert before == [frozenset({READ})] * 2
    assert feed.roles() == frozenset({READ, DLP})


def test_a_token_that_is_refused_twice_says_what_to_do(server: Loopback) -> None:
    server.answers = [Answer(401, b"")]

    with pytest.raises(RetryError, match=r"HTTP 401 \(the token is refused; check the cred"):
        server.feed().page(STREAM, WINDOW)
