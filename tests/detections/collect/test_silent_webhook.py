"""A webhook that hears nothing of a stopped subscription: what exists is found by listing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from audit_feed.blobs import Stream
from audit_feed.windows import HOUR, hour_of
from detections.collect.conftest import TYPES, config, record, run
from detections.lab.server.clients import Feed
from detections.lab.server.test_notified import AUTH_ID, Hook, start
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions

STOPPED, OTHER = TYPES


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(LabOptions(rate=0)) as running:
        yield running


@pytest.fixture
def hook(lab: Lab) -> Iterator[Hook]:
    made = Hook([Stream(lab.tenants[0].id, kind) for kind in TYPES])
    yield made
    made.close()


def heard(hook: Hook) -> list[str]:
    """Return the content types of the notifications, in order."""
    return [stream.content_type for answer in hook.heard for stream in answer.streams]


def until_notified(lab: Lab, hook: Hook) -> None:
    """Wait for two notifications of the other subscription: all were looked at in between."""
    for number in range(2):
        count = heard(hook).count(OTHER)
        lab.publish(OTHER, lab.clock.now(), [record(900 + number)])
        end = time.monotonic() + 20
        while heard(hook).count(OTHER) == count:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_what_a_stopped_subscription_does_not_notify_of_is_found_by_listing(
    lab: Lab, hook: Hook, tmp_path: Path
) -> None:
    path, now = config(lab, tmp_path), lab.clock.now()
    with Feed(lab) as feed:
        assert [start(feed, hook, AUTH_ID, kind) for kind in TYPES] == ["enabled"] * 2
        assert run("collect", "--once", "--config", path).code == EXIT_OK
        lab.clock.move(2 * HOUR, keep_tokens=True)
        before = lab.clock.now() - HOUR
        lab.publish(STOPPED, before, [record(1)], available=before + 2 * HOUR)
        feed.post("subscriptions/stop", contentType=STOPPED)
        lab.clock.move(2 * HOUR, keep_tokens=True)
        lab.publish(STOPPED, lab.clock.now(), [record(2)])

        until_notified(lab, hook)
        silent = heard(hook)
        stopped = run("collect", "--once", "--config", path)
        lab.clock.move(2 * HOUR, keep_tokens=True)
        assert feed.post("subscriptions/start", contentType=STOPPED).ok
        lab.publish(STOPPED, lab.clock.now(), [record(3)])
        lab.clock.move(6 * HOUR, keep_tokens=True)
        done = run("collect", "--once", "--config", path)
        rows = lab.rows("SELECT DISTINCT RecordId FROM M365Activity_CL ORDER BY 1")
        told = run("ledger", "--config", path, "--format", "json")

    assert set(silent) == {OTHER}
    assert stopped.code == EXIT_FAILED
    assert "AF20022" in stopped.err
    assert done.code == EXIT_OK, done.err
    expected = ["record-1", "record-3", "record-900", "record-901"]
    assert [name for (name,) in rows] == expected
    states = {one["hour"]: one["state"] for one in json.loads(told.out)
              if one["content_type"] == STOPPED}  # fmt: skip
    first = hour_of(now) + 3 * HOUR
    off = [f"{first + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}" for n in range(4)]
    assert {states[hour] for hour in off} == {"not covered"}
