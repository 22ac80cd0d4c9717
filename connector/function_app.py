"""The Function app: triggers alone. Their steps are in ``audit_feed.azure_app.steps``."""

from __future__ import annotations

import os

import azure.functions as func

from audit_feed.azure_app import steps
from audit_feed.azure_app.queues import BACKLOG, BACKLOG_POISON, BLOBS, HINTS, POISON
from audit_feed.azure_app.settings import (
    DISCOVER,
    DISCOVER_SCHEDULE,
    STORAGE,
    SWEEP,
    SWEEP_SCHEDULE,
    schedule,
)
from audit_feed.azure_app.telemetry import InvocationLog

app = func.FunctionApp()


def _run(context: func.Context) -> InvocationLog:
    return InvocationLog(context.invocation_id, context.function_name)


@app.timer_trigger("timer", schedule(os.environ, DISCOVER, DISCOVER_SCHEDULE), use_monitor=True)
def discover(timer: func.TimerRequest, context: func.Context) -> None:  # noqa: ARG001 - the binding's
    """List what the feed has, and order what is new."""
    steps.discover(_run(context))


@app.queue_trigger("order", BLOBS, STORAGE)
def deliver(order: func.QueueMessage, context: func.Context) -> None:
    """Deliver the blobs of an order."""
    steps.deliver(order.get_body().decode(), BLOBS, _run(context))


@app.queue_trigger("order", BACKLOG, STORAGE)
def catch_up(order: func.QueueMessage, context: func.Context) -> None:
    """Deliver the blobs of an order that waits behind many of its tenant."""
    steps.deliver(order.get_body().decode(), BACKLOG, _run(context))


@app.queue_trigger("order", POISON, STORAGE)
def poison(order: func.QueueMessage, context: func.Context) -> None:
    """Put on record what no worker got done."""
    steps.poison(order.get_body().decode(), BLOBS, _run(context))


@app.queue_trigger("order", BACKLOG_POISON, STORAGE)
def poison_backlog(order: func.QueueMessage, context: func.Context) -> None:
    """Do the same for what waited behind many."""
    steps.poison(order.get_body().decode(), BACKLOG, _run(context))


@app.timer_trigger("timer", schedule(os.environ, SWEEP, SWEEP_SCHEDULE), use_monitor=True)
def sweep(timer: func.TimerRequest, context: func.Context) -> None:  # noqa: ARG001 - the binding's
    """Find what got lost, state what is known, write who reads mail."""
    steps.sweep_all(_run(context))


@app.queue_trigger("hint", HINTS, STORAGE)
def hint(hint: func.QueueMessage, context: func.Context) -> None:
    """List a stream sooner."""
    steps.hint(hint.get_body().decode(), _run(context))


@app.route("notify", "request", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def notify(request: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer the feed's webhook, which signs with its own secret."""
    status = steps.notify(request.headers, request.get_body(), _run(context))
    return func.HttpResponse(status_code=int(status))


@app.route("health", "request", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def health(request: func.HttpRequest, context: func.Context) -> func.HttpResponse:  # noqa: ARG001 - the binding's
    """Return the last statement."""
    status, body = steps.health(_run(context))
    return func.HttpResponse(body, status_code=int(status), mimetype="application/json")
