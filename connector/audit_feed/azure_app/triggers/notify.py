"""Answer the feed's webhook. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

from audit_feed.azure_app.invocation_log import InvocationLog
from audit_feed.azure_app.webhook import webhook_answer

if TYPE_CHECKING:
    from audit_feed.azure_app.context import AppContext


def notify(
    context: AppContext, headers: Mapping[str, str], body: bytes, log: InvocationLog
) -> HTTPStatus:
    """Return the answer to a webhook's request, after its hints are in the queue."""
    answer = webhook_answer(headers, body, context.settings.auth_id, context.streams())
    for stream in answer.streams:
        hint = {"tenant": stream.tenant, "content_type": stream.content_type}
        context.hints.send_text(orjson.dumps(hint).decode())
    log.info("notified", status=int(answer.status), streams=len(answer.streams))
    return answer.status
