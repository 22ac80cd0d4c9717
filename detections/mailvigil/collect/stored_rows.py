"""Compare the rows that a workspace acknowledged with those in its table, by hour and feed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import requests

from audit_feed.errors import AccessError, RetryError
from mailvigil.printable import counted

QUERY_HOSTS: Mapping[str, str] = {
    "https://monitor.azure.com": "https://api.loganalytics.io",
    "https://monitor.azure.us": "https://api.loganalytics.us",
    "https://monitor.azure.cn": "https://api.loganalytics.azure.cn",
}
"""Audience of a cloud's ingestion to its host for queries, which is the audience of those too.
Source: Azure Monitor, "Access the API"."""

TIMEOUT_SECONDS = (10, 200)
"""To connect, and for the answer; a query is given three minutes."""

SPAN = "P14D"
"""What of ``TimeGenerated`` is looked at: a late record keeps its own time for two days."""

MOST_HOURS = 5
"""Hours that a line names."""

QUERY = """
let arrival = 2h;
let memory = 8d;
let sent = M365FeedHealth_CL
    | where isnotnull(Hour) and Hour > ago(memory) and TimeGenerated <= ago(arrival)
    | summarize Sent = max(Sent) by OrganizationId, ContentType, Hour
    | where Sent > 0
    | extend StreamKey = substring(hash_sha256(strcat(OrganizationId, '|', ContentType)), 0, 8);
let stored = M365Activity_CL
    | where ContentCreated > ago(memory)
    | extend Hour = bin(ContentCreated, 1h)
    | distinct Hour, ContentKey, RecordId
    | summarize Stored = count() by StreamKey = substring(ContentKey, 0, 8), Hour;
sent
| join kind=leftouter stored on StreamKey, Hour
| project OrganizationId, ContentType, Hour, Sent, Stored = coalesce(Stored, long(0))
| order by OrganizationId asc, ContentType asc, Hour asc
"""
"""What the rule ``audit_feed_rows_missing`` compares, for every hour of the last days."""

_REFUSALS: Mapping[int, tuple[str, str]] = {
    400: ("the query is refused", "deploy the template: the tables lack columns or are not there"),
    401: ("the token is refused", "give the identity Log Analytics Reader on the workspace"),
    403: (
        "not allowed to read",
        "give the identity Log Analytics Reader on the workspace; a new role takes some minutes",
    ),
    404: ("no such workspace", "give --workspace its Workspace ID, from its page in the portal"),
}
"""Status to what it means and what to do."""


@dataclass(frozen=True, slots=True)
class HourCount:
    """One hour of one feed: rows sent, and rows in the table, repeats dropped."""

    tenant: str
    content_type: str
    hour: str
    sent: int
    stored: int


def hour_counts(
    host: str, workspace: str, token: str, post: Callable[..., requests.Response]
) -> list[HourCount]:
    """Return the counts of every hour that was stated two hours ago or earlier.

    Args:
        host: One of ``QUERY_HOSTS``.
        workspace: The workspace's id, a GUID.
        token: A bearer token for *host*.
        post: Sends a request; ``requests.post`` or a session's.

    Raises:
        AccessError: The identity may not read the workspace, or there is none.
        RetryError: No answer, or not a whole one.

    """
    try:
        answer = post(
            f"{host}/v1/workspaces/{workspace}/query",
            json={"query": QUERY, "timespan": SPAN},
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
        )
        if answer.status_code in _REFUSALS:
            raise AccessError("workspace", *_REFUSALS[answer.status_code])
        if answer.status_code != requests.codes.ok:
            raise RetryError("workspace", f"HTTP {answer.status_code}")
        return _counts(answer.json())
    except (requests.RequestException, KeyError, TypeError, ValueError, IndexError) as error:
        raise RetryError("workspace", f"no answer: {type(error).__name__}") from None


def _counts(answer: Mapping[str, Any]) -> list[HourCount]:  # JSON of the service
    """Read the answer; one that was cut short counts fewer rows, so it is none."""
    if "error" in answer:
        raise RetryError("workspace", "answered in part")
    [table] = answer["tables"]
    names = [column["name"] for column in table["columns"]]
    rows = [dict(zip(names, row, strict=True)) for row in table["rows"]]
    return [
        HourCount(
            str(row["OrganizationId"]),
            str(row["ContentType"]),
            str(row["Hour"]),
            int(row["Sent"]),
            int(row["Stored"]),
        )
        for row in rows
    ]


def differences(counts: Sequence[HourCount]) -> Iterator[str]:
    """Yield a sentence for each feed of which rows are missing in the table."""
    lacking = sorted(
        (count for count in counts if count.stored < count.sent),
        key=lambda count: (count.tenant, count.content_type, count.hour),
    )
    for (tenant, kind), group in groupby(lacking, lambda count: (count.tenant, count.content_type)):
        hours = list(group)
        missing = sum(hour.sent - hour.stored for hour in hours)
        named = ", ".join(
            f"{hour.hour[:13]} lacks {hour.sent - hour.stored:,} of {hour.sent:,}"
            for hour in hours[:MOST_HOURS]
        )
        more = ", …" if len(hours) > MOST_HOURS else ""
        where = f"{counted(missing, 'row')} in {counted(len(hours), 'hour')}"
        yield f"tenant {tenant}: {kind}: {where} ({named}{more})"
