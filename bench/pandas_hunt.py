"""The hunt's job as an analyst would write it in pandas: what the benchmark compares with.

    python bench/pandas_hunt.py AuditLog.csv > findings.json

It reads a Purview export, replays the four rules day by day with the windows of
``mailvigil hunt`` and prints the same findings: rule, key, first and last access, records and
operations. It knows this one form of export and no watchlist, baseline or late record.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

DAY = pd.Timedelta(days=1)
MINIMUM_HISTORY = pd.Timedelta(days=7)
RARE_AT_MOST = 5
"""Mailboxes that may have had a caller before it counts as known to the tenant."""

CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""Tenant of personal Microsoft accounts."""

FIELDS = [
    "Id", "CreationTime", "Operation", "OrganizationId", "UserId", "ClientIP", "ClientIPAddress",
    "ClientInfoString", "AppId", "ClientAppId", "SessionId", "TokenTenantId", "MailboxGuid",
    "MailboxOwnerUPN", "OperationCount", "OperationProperties",
]  # fmt: skip

TENANT_KEY = ["OrganizationId", "Caller", "Protocol"]
MAILBOX_KEY = [*TENANT_KEY, "MailboxId"]
THROTTLED_KEY = ["OrganizationId", "MailboxId"]
TOKEN_KEY = ["OrganizationId", "TokenTenantId", "Caller", "Protocol"]

Frame = Any  # pandas brings no types
Rule = Callable[[Frame, Frame, Any], Frame]
"""Makes alerts from the events up to a run, those of the day before it, and the time of the run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause that a rule alerted on; times are ISO 8601, UTC."""

    rule: str
    key: dict[str, str]
    first: str
    last: str
    records: int
    operations: int


def read_events(path: str) -> Frame:
    """Return the MailItemsAccessed records of the export at *path*, each once."""
    rows = pd.read_csv(path, usecols=["AuditData"])
    records = [json.loads(text) for text in rows["AuditData"]]
    every = pd.DataFrame(records).reindex(columns=FIELDS)
    events = every[every["Operation"] == "MailItemsAccessed"].drop_duplicates("Id").copy()
    events["EventTime"] = pd.to_datetime(events["CreationTime"])
    return with_caller(with_mailbox(events))


def with_caller(events: Frame) -> Frame:
    """Add Caller, Protocol and what the token says."""
    client = events["ClientInfoString"].fillna("")
    inside = client.str.extract(r"\[AppId=([0-9A-Za-z-]+)")[0]
    caller = filled(events["ClientAppId"], events["AppId"], inside)
    events["Caller"] = caller.where(caller != "", "none").str.lower()
    events["Protocol"] = client.str.extract(r"Client=([A-Za-z0-9]+)")[0].fillna("")
    token = events["TokenTenantId"] = events["TokenTenantId"].fillna("")
    organization = events["OrganizationId"] = events["OrganizationId"].fillna("")
    foreign = (organization != "") & (token.str.lower() != organization.str.lower())
    events["OtherToken"] = (token != "") & (foreign | (token.str.lower() == CONSUMERS))
    return events


def with_mailbox(events: Frame) -> Frame:
    """Add the mailbox, the address, the counts and whether the mailbox was throttled."""
    events["MailboxId"] = filled(events["MailboxGuid"], events["MailboxOwnerUPN"]).str.lower()
    events["Mailbox"] = filled(events["MailboxOwnerUPN"], events["MailboxGuid"]).str.lower()
    events["Address"] = filled(events["ClientIPAddress"], events["ClientIP"]).str.lower()
    events["SessionId"] = events["SessionId"].fillna("")
    events["OperationCount"] = events["OperationCount"].fillna(1).astype("int64")
    events["IsThrottled"] = events["OperationProperties"].map(is_throttled)
    return events


def filled(first: Frame, *others: Frame) -> Frame:
    """Return the first value of each row that is neither missing nor empty, else ``""``."""
    series = first.fillna("")
    for other in others:
        series = series.where(series != "", other.fillna(""))
    return series


def is_throttled(properties: object) -> bool:
    """Tell whether a record's OperationProperties say so."""
    pairs = properties if isinstance(properties, list) else []
    return any(p["Name"] == "IsThrottled" and p["Value"] == "True" for p in pairs)


def summed_up(events: Frame, key: Sequence[str]) -> Frame:
    """Return one row for each *key*, with what an alert shows."""
    return (
        events.groupby(list(key))
        .agg(
            FirstSeen=("EventTime", "min"),
            LastSeen=("EventTime", "max"),
            Records=("Id", "count"),
            Operations=("OperationCount", "sum"),
            Mailboxes=("Mailbox", "unique"),
            Users=("UserId", "unique"),
            Addresses=("Address", "unique"),
            Sessions=("SessionId", "unique"),
        )
        .reset_index()
    )


def first_seen(events: Frame, recent: Frame, run_at: Any, key: list[str]) -> Frame:  # noqa: ANN401 - pandas brings no types
    """Return the alerts on keys that *recent* has and no event before it, with enough history."""
    seen = events.groupby(key)["EventTime"].min().reset_index()
    known = seen[seen["EventTime"] <= run_at - DAY]
    marked = recent.merge(known[key], on=key, how="left", indicator=True)
    alerts = summed_up(marked[marked["_merge"] == "left_only"], key)
    start = seen.groupby("OrganizationId")["EventTime"].min().rename("HistoryStart")
    alerts = alerts.merge(start.reset_index(), on="OrganizationId")
    if key == MAILBOX_KEY:
        before = known.groupby(TENANT_KEY)["MailboxId"].nunique().rename("Before").reset_index()
        alerts = alerts.merge(before[before["Before"] <= RARE_AT_MOST], on=TENANT_KEY)
    return alerts[alerts["FirstSeen"] - alerts["HistoryStart"] >= MINIMUM_HISTORY]


def throttled(_events: Frame, recent: Frame, _tick: object) -> Frame:
    """Return the alerts on throttled mailboxes."""
    return summed_up(recent[recent["IsThrottled"]], THROTTLED_KEY)


def other_token(_events: Frame, recent: Frame, _tick: object) -> Frame:
    """Return the alerts on tokens of other tenants."""
    return summed_up(recent[recent["OtherToken"]], TOKEN_KEY)


RULES: dict[str, tuple[Rule, list[str], str]] = {
    "caller_new_to_mailbox": (partial(first_seen, key=MAILBOX_KEY), MAILBOX_KEY, ""),
    "caller_new_to_tenant": (partial(first_seen, key=TENANT_KEY), TENANT_KEY, ""),
    "foreign_token_tenant": (other_token, TOKEN_KEY, "OtherToken"),
    "mailbox_throttled": (throttled, THROTTLED_KEY, "IsThrottled"),
}
"""Name to the rule, its key and the column that an event must have for it."""


def hunt(events: Frame) -> Iterator[Finding]:
    """Yield what the rules find at the end of each day, alerts of one key as one finding."""
    first_alert: dict[tuple[str, tuple[str, ...]], Any] = {}
    run_at = events["EventTime"].min().ceil("D")
    while run_at < events["EventTime"].max() + DAY:
        visible = events[events["EventTime"] <= run_at]
        recent = visible[visible["EventTime"] > run_at - DAY]
        for name, (rule, key, _) in RULES.items():
            for row in rule(visible, recent, run_at).to_dict("records"):
                cause = name, tuple(str(row[column]) for column in key)
                first_alert.setdefault(cause, row["FirstSeen"])
        run_at += DAY
    for (name, values), since in first_alert.items():
        yield whole(events, name, values, since)


def whole(events: Frame, name: str, values: Sequence[str], since: object) -> Finding:
    """Return the finding of one cause: all of its events from its first alert's first on."""
    _, key, needed = RULES[name]
    chosen = (events["EventTime"] >= since) & (events[needed] if needed else True)
    for column, value in zip(key, values, strict=True):
        chosen &= events[column] == value
    row = summed_up(events[chosen], key).iloc[0]
    return Finding(
        rule=name,
        key=dict(zip(key, values, strict=True)),
        first=f"{row['FirstSeen']:%Y-%m-%dT%H:%M:%SZ}",
        last=f"{row['LastSeen']:%Y-%m-%dT%H:%M:%SZ}",
        records=int(row["Records"]),
        operations=int(row["Operations"]),
    )


def main(path: str) -> None:
    """Hunt in the export at *path* and print the findings as JSON."""
    findings = [
        {
            "rule": f.rule,
            "key": f.key,
            "first": f.first,
            "last": f.last,
            "records": f.records,
            "operation_count": f.operations,
        }
        for f in hunt(read_events(path))
    ]
    json.dump({"findings": findings}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
