"""What the app tells of itself: log lines as JSON, and metrics for Azure Monitor if asked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import orjson
from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

log = logging.getLogger("mailvigil")

COUNTERS = ("listed", "delivered", "records", "throttled", "lost", "failed")
GAUGES = ("pending", "lag_seconds")
EXPORT_MILLISECONDS = 60_000


class Metrics(Protocol):
    """Where numbers go."""

    def count(self, name: str, number: int, tenant: str) -> None:
        """Add *number* to one of ``COUNTERS``."""

    def set_gauge(self, name: str, number: float, tenant: str) -> None:
        """Set one of ``GAUGES``."""


class NoMetrics:
    """Metrics that nobody asked for."""

    def count(self, name: str, number: int, tenant: str) -> None:
        """Do nothing."""

    def set_gauge(self, name: str, number: float, tenant: str) -> None:
        """Do nothing."""


class OpenTelemetry:
    """Metrics by OpenTelemetry. Names begin with ``mailvigil.``."""

    def __init__(self, reader: MetricReader) -> None:
        resource = Resource({"service.name": "mailvigil"})
        self.provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        meter: Meter = self.provider.get_meter("mailvigil")
        self._counters = {name: meter.create_counter(f"mailvigil.{name}") for name in COUNTERS}
        self._gauges = {name: meter.create_gauge(f"mailvigil.{name}") for name in GAUGES}

    def count(self, name: str, number: int, tenant: str) -> None:
        """Add to a counter; see ``Metrics.count``."""
        self._counters[name].add(number, {"tenant": tenant})

    def set_gauge(self, name: str, number: float, tenant: str) -> None:
        """Set a gauge; see ``Metrics.set_gauge``."""
        self._gauges[name].set(number, {"tenant": tenant})


def metrics(connection: str) -> Metrics:
    """Return where metrics go: nowhere without a connection string of Application Insights."""
    if not connection:
        return NoMetrics()
    exporter = AzureMonitorMetricExporter(connection_string=connection)
    return OpenTelemetry(
        PeriodicExportingMetricReader(exporter, export_interval_millis=EXPORT_MILLISECONDS)
    )


@dataclass(frozen=True, slots=True)
class InvocationLog:
    """One invocation. ``id`` is the host's, the same as in its own traces."""

    id: str
    function: str
    told: Mapping[str, object] = field(default_factory=dict)

    def info(self, event: str, **values: object) -> None:
        """Write one line of JSON: the event, what it was, and which invocation it was in."""
        self._write(logging.INFO, event, values)

    def warning(self, event: str, **values: object) -> None:
        """Write a line that somebody should see."""
        self._write(logging.WARNING, event, values)

    def _write(self, level: int, event: str, values: Mapping[str, object]) -> None:
        line = {"event": event, "run": self.id, "function": self.function, **self.told, **values}
        log.log(level, "%s", orjson.dumps(line, default=str).decode())
