"""A made-up tenant as the feed of a lab: its id, its dates, and its records as content blobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from mailvigil.lab.server.options import TenantOptions
from mailvigil.lab.server.publishing import Cut, LabRecord, Publication, cut, happened
from mailvigil.lab.tenant.people import tenant_of
from mailvigil.lab.tenant.profile import Profile
from mailvigil.lab.tenant.records import records

OLDEST = timedelta(days=6, hours=12)
"""What happened longer ago is published as if it were that old: the feed keeps 7 days."""

RECENT = timedelta(minutes=5)
"""What is younger is left out: nothing new appears while a collector works."""

WEEK = timedelta(weeks=1)

REPEATED_BY = timedelta(days=3)
"""How much later a record comes again, with a seed."""


def lab_tenant(profile: Profile | None) -> TenantOptions:
    """Return the tenant that the profile's records name, or a lab's own for None."""
    tenant = TenantOptions()
    return replace(tenant, id=tenant_of(profile).organization_id) if profile else tenant


def until_today(profile: Profile, now: datetime) -> Profile:
    """Return *profile* with today (of *now*, aware) as its last day."""
    today = from_today(profile, now)
    return replace(today, start=today.start - timedelta(days=profile.days - 1))


def in_the_past(profile: Profile, now: datetime) -> Profile:
    """Return *profile* by whole weeks earlier if it would end after *now* (aware).

    So its weekdays stay, and with them what is found. One that is over stays as it is.
    """
    ahead = profile.start + timedelta(days=profile.days) - now
    weeks = max(-(-ahead // WEEK), 0)
    return replace(profile, start=profile.start - weeks * WEEK)


def from_today(profile: Profile, now: datetime) -> Profile:
    """Return *profile* with today (of *now*, aware) as its first day."""
    return replace(profile, start=datetime.combine(now.astimezone(UTC).date(), time(), UTC))


def blobs(profile: Profile, now: datetime, chaos: int | None = None) -> list[Publication]:
    """Return what has happened by *now* (aware) as blobs.

    With *chaos*, the seed, some are late, some are mixed and some hold repeats.
    """
    how = replace(_cut(chaos), earliest=now - OLDEST, latest=now - RECENT)
    return list(cut(_until(profile, now - RECENT), how))


def blobs_to_come(profile: Profile, now: datetime, chaos: int | None = None) -> list[Publication]:
    """Return what happens from *now* (aware) on as blobs; each is listed when its time has come."""
    return [blob for blob in cut(records(profile), _cut(chaos)) if blob.created > now]


def _cut(chaos: int | None) -> Cut:
    part = 0.0 if chaos is None else 0.05
    return Cut(
        seed=chaos or 0,
        records_per_blob=500,
        span=timedelta(hours=2),
        repeated=part,
        repeated_by=REPEATED_BY,
        tied=part,
        straggling=part,
        late=part,
    )


def spread(blobs: Sequence[Publication], now: datetime) -> list[Publication]:
    """Return *blobs* as if they had been created evenly over what the feed keeps at *now*.

    A profile that was long over would else come within one hour. The first of each content type
    is of the beginning of the first hour: so it shows that the subscription existed in all of it.
    """
    first = beginning(now)
    step = (now - RECENT - first) / max(len(blobs), 1)
    seen, made = set[str](), []
    for number, blob in enumerate(blobs):
        at = first + number * step if blob.content_type in seen else first
        seen.add(blob.content_type)
        made.append(replace(blob, created=at, available=at))
    return made


def beginning(now: datetime) -> datetime:
    """Return the first hour of what is published by :func:`spread`."""
    return (now - OLDEST).replace(minute=0, second=0, microsecond=0)


def _until(profile: Profile, end: datetime) -> Iterator[LabRecord]:
    return (record for record in records(profile) if happened(record) < end)
