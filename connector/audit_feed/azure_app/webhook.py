"""Read a webhook's request, which says that some streams may have new content. Pure.

Notifications can be late, repeated, lost or made up, so all that follows from one is that a
stream is listed sooner. Source: Office 365 Management Activity API reference, "Webhooks".
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson

from audit_feed.blobs import Stream

MAX_BODY_BYTES = 1 << 20
"""Largest request that is read, in bytes: a notification of a blob has about 500."""

_AUTH_ID = "webhook-authid"
_VALIDATION = "webhook-validationcode"


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """The answer to send, and the streams to list soon.

    The feed repeats what is not answered with 200, and gives the webhook up after some failures.
    """

    status: HTTPStatus
    streams: frozenset[Stream] = frozenset()


def webhook_answer(
    headers: Mapping[str, str], body: bytes, auth_id: str, known: Collection[Stream]
) -> WebhookAnswer:
    """Return what to do about one POST request to the webhook.

    Args:
        headers: The request's headers; letter case of names does not count.
        body: Its body, at most ``MAX_BODY_BYTES``; a larger one is refused.
        auth_id: The secret that the subscription was started with. Without one every request
            is refused.
        known: The streams that are collected; others are answered and forgotten.

    """
    named = {name.lower(): value for name, value in headers.items()}
    if not _is_feed(named.get(_AUTH_ID, ""), auth_id):
        return WebhookAnswer(HTTPStatus.UNAUTHORIZED)
    if len(body) > MAX_BODY_BYTES:
        return WebhookAnswer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return WebhookAnswer(HTTPStatus.BAD_REQUEST)
    if code := named.get(_VALIDATION):
        return WebhookAnswer(_validated(message, code))
    if not isinstance(message, list):
        return WebhookAnswer(HTTPStatus.BAD_REQUEST)
    return WebhookAnswer(HTTPStatus.OK, frozenset(known) & {_stream(item) for item in message})


def _is_feed(given: str, auth_id: str) -> bool:
    """Compare the secrets in constant time."""
    return bool(auth_id) and hmac.compare_digest(given.encode(), auth_id.encode())


def _validated(message: object, code: str) -> HTTPStatus:
    same = isinstance(message, Mapping) and message.get("validationCode") == code
    return HTTPStatus.OK if same else HTTPStatus.BAD_REQUEST


def _stream(item: object) -> Stream:
    values = item if isinstance(item, Mapping) else {}
    return Stream(str(values.get("tenantId", "")).lower(), str(values.get("contentType", "")))
