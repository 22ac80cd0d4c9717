"""Metrics and log lines of the Function app."""

from __future__ import annotations

import json
import logging

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from audit_feed.azure_app.invocation_log import InvocationLog
from audit_feed.azure_app.telemetry import NoMetrics, OpenTelemetryMetrics, metrics
from connector.made import STREAM, TENANT


def test_metrics_are_off_without_a_connection_string() -> None:
    assert isinstance(metrics(""), NoMetrics)


def test_every_number_is_exported_with_its_tenant() -> None:
    reader = InMemoryMetricReader()
    told = OpenTelemetryMetrics(reader)
    told.count("delivered", 2, TENANT)
    told.count("delivered", 3, TENANT)
    told.set_gauge("pending", 7, TENANT)

    data = reader.get_metrics_data()
    told.provider.shutdown()

    assert data
    [scope] = data.resource_metrics[0].scope_metrics
    points = {metric.name: metric.data.data_points[0] for metric in scope.metrics}
    assert {name: getattr(point, "value", None) for name, point in points.items()} == {
        "mailvigil.delivered": 5,
        "mailvigil.pending": 7,
    }
    assert points["mailvigil.pending"].attributes == {"tenant": TENANT}


def test_a_log_line_names_its_invocation(caplog: pytest.LogCaptureFixture) -> None:
    log = InvocationLog("run-1", "deliver")

    with caplog.at_level(logging.INFO, "mailvigil"):
        log.info("delivered", records=3)
        log.warning("not swept", stream=STREAM)

    lines = [json.loads(message) for message in caplog.messages]
    assert lines[0] == {"event": "delivered", "run": "run-1", "function": "deliver", "records": 3}
    assert lines[1]["stream"] == {"tenant": TENANT, "content_type": STREAM.content_type}
    assert [one.levelname for one in caplog.records] == ["INFO", "WARNING"]
