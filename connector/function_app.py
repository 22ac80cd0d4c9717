"""The Function app's triggers. What each does is in ``audit_feed.azure_app.triggers``."""

from __future__ import annotations

import os

import azure.functions as func

from audit_feed.azure_app.context import app_context
from audit_feed.azure_app.invocation_log import InvocationLog
from audit_feed.azure_app.queues import BACKLOG, BACKLOG_POISON, BLOBS, HINTS, HINTS_POISON, POISON
from audit_feed.azure_app.settings import (
    DISCOVER,
    DISCOVER_SCHEDULE,
    STORAGE,
    SWEEP,
    SWEEP_SCHEDULE,
    schedule,
)
from audit_feed.azure_app.triggers import deliver as deliver_trigger
from audit_feed.azure_app.triggers import discover as discover_trigger
from audit_feed.azure_app.triggers import health as health_trigger
from audit_feed.azure_app.triggers import notify as notify_trigger
from audit_feed.azure_app.triggers import sweep as sweep_trigger

app = func.FunctionApp()


def _log(context: func.Context) -> InvocationLog:
    return InvocationLog(context.invocation_id, context.function_name)


@app.timer_trigger("timer", schedule(os.environ, DISCOVER, DISCOVER_SCHEDULE), use_monitor=True)
def discover(timer: func.TimerRequest, context: func.Context) -> None:  # noqa: ARG001 - the binding's
    """List what the feed has, and order the delivery of what is new."""
    discover_trigger.discover(app_context(), _log(context))


@app.queue_trigger("order", BLOBS, STORAGE)
def deliver(order: func.QueueMessage, context: func.Context) -> None:
    """Deliver the blobs of an order."""
    deliver_trigger.deliver(app_context(), order.get_body().decode(), BLOBS, _log(context))


@app.queue_trigger("order", BACKLOG, STORAGE)
def catch_up(order: func.QueueMessage, context: func.Context) -> None:
    """Deliver the blobs of an order that waits behind many of its tenant."""
    deliver_trigger.deliver(app_context(), order.get_body().decode(), BACKLOG, _log(context))


@app.queue_trigger("order", POISON, STORAGE)
def poison(order: func.QueueMessage, context: func.Context) -> None:
    """Record blobs as failed whose workers ended again and again."""
    deliver_trigger.poison(app_context(), order.get_body().decode(), BLOBS, _log(context))


@app.queue_trigger("order", BACKLOG_POISON, STORAGE)
def poison_backlog(order: func.QueueMessage, context: func.Context) -> None:
    """Do the same for orders of the backlog."""
    deliver_trigger.poison(app_context(), order.get_body().decode(), BACKLOG, _log(context))


@app.timer_trigger("timer", schedule(os.environ, SWEEP, SWEEP_SCHEDULE), use_monitor=True)
def sweep(timer: func.TimerRequest, context: func.Context) -> None:  # noqa: ARG001 - the binding's
    """Re-queue lost orders, state and close hours, write who reads mail."""
    sweep_trigger.sweep(app_context(), _log(context))


@app.queue_trigger("hint", HINTS, STORAGE)
def hint(hint: func.QueueMessage, context: func.Context) -> None:
    """List a stream sooner."""
    discover_trigger.hint(app_context(), hint.get_body().decode(), _log(context))


@app.queue_trigger("hint", HINTS_POISON, STORAGE)
def poison_hint(hint: func.QueueMessage, context: func.Context) -> None:  # noqa: ARG001 - the binding's
    """Drop a hint whose workers ended again and again."""
    discover_trigger.drop_hint(_log(context))


@app.route("notify", "request", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def notify(request: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer the feed's webhook, which signs with its own secret."""
    status = notify_trigger.notify(
        app_context(), request.headers, request.get_body(), _log(context)
    )
    return func.HttpResponse(status_code=int(status))


@app.route("health", "request", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def health(request: func.HttpRequest, context: func.Context) -> func.HttpResponse:  # noqa: ARG001 - the binding's
    """Return the last statement."""
    status, body = health_trigger.health(app_context())
    return func.HttpResponse(body, status_code=int(status), mimetype="application/json")
