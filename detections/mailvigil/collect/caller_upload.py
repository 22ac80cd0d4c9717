"""Send known callers to ``M365CallerBaseline_CL``, as the collector sends its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Event

from audit_feed import app
from audit_feed.columns import load_table
from audit_feed.delivery.deliver import Sink
from audit_feed.errors import AuditFeedError
from audit_feed.records.batches import MAX_FIELD_BYTES, Body, bodies
from audit_feed.records.shape import Row
from audit_feed.settings import Settings
from mailvigil.errors import InputError

TABLE = "M365CallerBaseline_CL"
AGAIN = "upload the file again: what is stated twice counts once"


def caller_sink(settings: Settings) -> Sink:
    """Return the sink of the table's stream, with the endpoint and rule that *settings* name.

    Raises:
        InputError: The settings name another sink than Log Analytics.

    """
    if settings.sink.kind != "loganalytics":
        todo = "set sink.kind to loganalytics, with endpoint and dcr"
        raise InputError("sink", "known callers are uploaded to Log Analytics alone", todo)
    return app.log_analytics(settings, Event(), f"Custom-{TABLE}")


def caller_bodies(rows: Sequence[Row], now: datetime, where: str) -> list[Body]:
    """Return request bodies with all *rows*, stated at *now* (aware UTC).

    A row without a last time has its first; other columns that it lacks are null.

    Raises:
        InputError: A row is larger than the service takes; it names *where* the rows are from.

    """
    names = [column.name for column in load_table(TABLE).columns]
    whole = ({**dict.fromkeys(names), "LastSeen": row["FirstSeen"], **row} for row in rows)
    stated = ({**row, "TimeGenerated": now} for row in whole)
    made = []
    for body in bodies(stated, field_limit=MAX_FIELD_BYTES):
        if not isinstance(body, Body):
            raise InputError(where, "a row is too large for the service", "make the file anew")
        made.append(body)
    return made


def upload(made: Sequence[Body], sink: Sink, on_accepted: Callable[[int], None]) -> None:
    """Send every body until it is acknowledged, and say how many rows it has.

    Raises:
        InputError: The service did not take one. It says how many rows it took before, and why it
            took no more.

    """
    accepted = 0
    for body in made:
        try:
            sink.send(body)
        except AuditFeedError as error:
            what = f"{accepted} of {sum(b.rows for b in made)} rows accepted: {error}"
            raise InputError("upload", what, f"then {AGAIN}") from None
        accepted += body.rows
        on_accepted(body.rows)
