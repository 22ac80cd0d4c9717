"""Two tenants followed by one real collector: the trouble of one is not the other's."""

from __future__ import annotations

import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest

from audit_feed.blobs import CONTENT_TYPES
from detections.collect.conftest import record
from detections.collect.crash import children
from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.faults import Fault, Scripted
from mailvigil.lab.server.lab import Lab, tenants_of
from mailvigil.lab.server.options import LabOptions

WAIT_SECONDS = 60
KIND = CONTENT_TYPES[0]


def has_row(lab: Lab, name: str) -> bool:
    """Wait for a row; tell whether it came."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if lab.rows(f"SELECT 1 FROM \"M365Activity_CL\" WHERE RecordId = '{name}'"):  # noqa: S608 - ours
            return True
        time.sleep(0.1)
    return False


@pytest.mark.posix
@pytest.mark.slow
def test_a_tenant_that_is_throttled_for_ten_minutes_delays_no_other(tmp_path: Path) -> None:
    with Lab(LabOptions(folder=tmp_path / "lab", tenants=tenants_of(2))) as lab:
        throttled, free = lab.tenants
        lab.faults.script(
            [
                Scripted(
                    fault=Fault(kind="throttle", retry_after=600),
                    path=f"*{throttled.id}*",
                    kind="page",
                )
            ]
        )
        config = write_collect_config(lab, tmp_path / "collect.yaml", content_types=(KIND,))
        child = children.start(tmp_path / "run", "collect", "--follow", "--poll", "1s",
                               "--config", config)  # fmt: skip
        ago = lab.clock.now() - timedelta(hours=2)
        lab.publish(KIND, ago, [{**record(1), "Id": "first"}], tenant=free.id)
        assert has_row(lab, "first"), child.printed()

        lab.publish(KIND, ago, [{**record(2), "Id": "held"}], tenant=throttled.id)
        lab.publish(KIND, lab.clock.now(), [{**record(3), "Id": "second"}], tenant=free.id)

        assert has_row(lab, "second"), child.printed()
        assert not lab.rows("SELECT 1 FROM \"M365Activity_CL\" WHERE RecordId = 'held'")
        assert child.ended(0) is None
        assert child.kill() == -signal.SIGKILL
