"""Which records a run of a rule judges, as KQL: in Sentinel those that came since the run before.

A record is judged by the one run in whose window it *arrived*, however old it is, so a late record
is judged once and no record twice. What was there before is a matter of the records' own times,
but a record does not make its caller known before a run could have alerted on it: only what came
``recent`` ago or earlier does.

The service runs a scheduled rule five minutes late, hides what is dated in those minutes, and
evaluates ``now()`` at that later time. ``delay`` moves the window back by as much: else a record
that is dated when it comes would be in no run. Source:
https://learn.microsoft.com/azure/sentinel/scheduled-rules-overview and
https://learn.microsoft.com/azure/sentinel/ingestion-delay.

``late`` is how far back the tables are read for it: a record's ``TimeGenerated`` lies at most two
days before its arrival, or else is set to the arrival. Source:
https://learn.microsoft.com/azure/azure-monitor/logs/logs-ingestion-api-overview.

Defender gives a custom detection the events of a fixed time before its run, by their ``Timestamp``,
and takes no other bound: https://learn.microsoft.com/defender-xdr/custom-detection-rules. There a
run judges what happened within ``recent``.
"""

from __future__ import annotations

from datetime import timedelta

from mailvigil.rules.durations import kql_duration

DELAY = timedelta(minutes=5)
"""How late the service runs a scheduled rule, so that records can come."""

DATED_BACK = timedelta(days=2)
"""The most that a row's ``TimeGenerated`` lies before its arrival."""

LATE = DATED_BACK + timedelta(days=1)
"""How far back a rule reads that runs at least once a day, for what arrives since its last run."""

NOT_YET = "Arrived <= ago(delay)"
NEW = "Arrived > ago(frequency + delay)"
JUDGED = f"| where {NEW} and {NOT_YET}"
"""KQL that keeps what arrived since the run before."""

SETTLED = "Arrived <= ago(recent + delay)"
"""KQL condition: it came so long ago that it may count as what was there before."""


WINDOWS_OF_RUN = ("frequency", "delay", "late")
"""The names by which a query declares what a run judges."""


def declared_windows(frequency: timedelta, late: timedelta = LATE) -> list[str]:
    """Return the statements that declare what a run judges."""
    values = (frequency, DELAY, late)
    return [
        f"let {name} = {kql_duration(value)};"
        for name, value in zip(WINDOWS_OF_RUN, values, strict=True)
    ]
