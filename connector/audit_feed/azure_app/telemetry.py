"""The app's metrics, sent to Azure Monitor where the settings name an Application Insights."""

from __future__ import annotations

from typing import Protocol

from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

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
    """Metrics where no Application Insights is named: they go nowhere."""

    def count(self, name: str, number: int, tenant: str) -> None:
        """Do nothing."""

    def set_gauge(self, name: str, number: float, tenant: str) -> None:
        """Do nothing."""


class OpenTelemetryMetrics:
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
    return OpenTelemetryMetrics(
        PeriodicExportingMetricReader(exporter, export_interval_millis=EXPORT_MILLISECONDS)
    )
