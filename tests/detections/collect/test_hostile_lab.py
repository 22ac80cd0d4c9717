"""The real command against a lab that does all that the documents allow, day after day."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from detections.collect.conftest import TYPES, config, record, run
from mailvigil.lab.server.contents import RETENTION, Blob
from mailvigil.lab.server.hostile_options import made_hostile
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions, TenantOptions
from mailvigil.lab.server.publishing import Publication

HALF_DAY = timedelta(hours=12)
HALF_DAYS = 8
RELISTED = timedelta(hours=36)
"""An hour of these days is listed again within that time, so a late blob is found by then."""


def hostile_lab(seed: int) -> Lab:
    """Return a fresh lab without random faults: with them, each run takes a minute."""
    fresh = replace(TenantOptions(), subscribed=())
    made = made_hostile(LabOptions(tenants=(fresh,)), seed)
    return Lab(replace(made, chaos=None))


def publish_half_day(lab: Lab, first: int) -> None:
    """Publish a blob of two records for each hour to come."""
    now = lab.clock.now() + lab.feed.options.clock_offset
    times = [now + timedelta(hours=n, minutes=5) for n in range(12)]
    lab.publish_all(
        Publication(TYPES[n % 2], at, at, (record(first + 2 * n), record(first + 2 * n + 1)))
        for n, at in enumerate(times)
    )


def ids_of(blob: Blob) -> set[str]:
    """Return the ids of a blob's own records, where they can be fetched under its address.

    The lab's odd records are not among them: some have no id that a row could hold.
    """
    if blob.element is not None or blob.refusal or not isinstance(blob.body, bytes):
        return set()
    named = [part.partition(b'"')[0].decode() for part in blob.body.split(b'"Id":"')[1:]]
    return {name for name in named if name.startswith("record-")}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_every_record_that_a_hostile_feed_has_listed_arrives(seed: int, tmp_path: Path) -> None:
    with hostile_lab(seed) as lab:
        path = config(lab, tmp_path)
        run("collect", "--once", "--start", "--patience", "2s", "--config", path)
        for number in range(HALF_DAYS):
            publish_half_day(lab, 24 * number)
            lab.clock.move(HALF_DAY)
            run("collect", "--once", "--patience", "2s", "--config", path)
        tenant, now = lab.tenants[0].id, lab.clock.now()
        due = {
            name
            for kind in TYPES
            for blob in lab.feed.listed(tenant, kind, now - RETENTION, now + HALF_DAY, now)
            if blob.available <= now - RELISTED
            for name in ids_of(blob)
        }
        arrived = {name for (name,) in lab.rows("SELECT DISTINCT RecordId FROM M365Activity_CL")}

    assert len(due) > 12 * (HALF_DAYS - 3)
    assert due - arrived == set()
