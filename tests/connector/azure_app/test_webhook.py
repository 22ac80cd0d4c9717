"""Notifications: only the feed is believed, and what it says is no more than a hint."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.azure_app.webhook import MAX_BODY_BYTES, WebhookAnswer, webhook_answer
from connector.made import OTHER_STREAM, STREAM, TENANT

AUTH_ID = "known-to-both-and-nobody-else"
KNOWN = (STREAM, OTHER_STREAM)
TOLD: dict[str, object] = {
    "tenantId": TENANT,
    "contentType": "Audit.Exchange",
    "contentId": "1",
    "contentUri": "https://feed.example/1",
}


def ask(told: object, **headers: str) -> WebhookAnswer:
    sent = {"Webhook-AuthID": AUTH_ID, **{k.replace("_", "-"): v for k, v in headers.items()}}
    return webhook_answer(sent, json.dumps(told).encode(), AUTH_ID, KNOWN)


def test_a_notification_names_the_stream_to_list() -> None:
    assert ask([TOLD, TOLD]) == WebhookAnswer(HTTPStatus.OK, frozenset({STREAM}))


def test_a_tenant_in_capitals_is_the_same_tenant() -> None:
    assert ask([TOLD | {"tenantId": TENANT.upper()}]).streams == {STREAM}


@pytest.mark.parametrize(
    "item",
    [TOLD | {"tenantId": "other"}, TOLD | {"contentType": "audit.exchange"}, {}, 7, None, [TOLD]],
)
def test_a_stream_that_is_not_collected_is_answered_and_not_listed(item: object) -> None:
    assert ask([item]) == WebhookAnswer(HTTPStatus.OK)


@pytest.mark.parametrize("auth_id", ["", "known", AUTH_ID.upper(), AUTH_ID + " ", "é"])
def test_a_request_with_another_secret_is_refused(auth_id: str) -> None:
    found = webhook_answer({"Webhook-AuthID": auth_id}, json.dumps([TOLD]).encode(), AUTH_ID, KNOWN)

    assert found == WebhookAnswer(HTTPStatus.UNAUTHORIZED)


def test_without_a_secret_every_request_is_refused() -> None:
    for headers in ({}, {"Webhook-AuthID": ""}):
        assert webhook_answer(headers, b"[]", "", KNOWN).status == HTTPStatus.UNAUTHORIZED


def test_a_body_that_is_too_large_is_refused() -> None:
    body = json.dumps([TOLD | {"x": "x" * MAX_BODY_BYTES}]).encode()

    found = webhook_answer({"webhook-authid": AUTH_ID}, body, AUTH_ID, KNOWN)

    assert found == WebhookAnswer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


@pytest.mark.parametrize("told", [{}, {"validationCode": "other"}, [], "code", None])
def test_a_validation_that_does_not_fit_is_refused(told: object) -> None:
    assert ask(told, Webhook_ValidationCode="code").status == HTTPStatus.BAD_REQUEST


@given(st.binary(max_size=200))
def test_any_body_gets_an_answer(body: bytes) -> None:
    found = webhook_answer({"webhook-authid": AUTH_ID}, body, AUTH_ID, KNOWN)

    assert found.status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST}
    assert found.streams == frozenset()
