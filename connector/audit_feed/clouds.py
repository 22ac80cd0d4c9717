"""The clouds of Microsoft 365: login, feed and audiences belong together. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Hosts and audiences of one cloud. ``ca`` is a file of authorities to trust, or ``""``."""

    login: str
    feed: str
    feed_audience: str
    ingestion_audience: str
    ca: str = ""


CLOUDS: Mapping[str, Cloud] = {
    "worldwide": Cloud(
        login="https://login.microsoftonline.com",
        feed="https://manage.office.com",
        feed_audience="https://manage.office.com",
        ingestion_audience="https://monitor.azure.com",
    ),
    "gcc": Cloud(
        login="https://login.microsoftonline.com",
        feed="https://manage-gcc.office.com",
        feed_audience="https://manage-gcc.office.com",
        ingestion_audience="https://monitor.azure.com",
    ),
    "gcc-high": Cloud(
        login="https://login.microsoftonline.us",
        feed="https://manage.office365.us",
        feed_audience="https://manage.office365.us",
        ingestion_audience="https://monitor.azure.us",
    ),
    "dod": Cloud(
        login="https://login.microsoftonline.us",
        feed="https://manage.protection.apps.mil",
        feed_audience="https://manage.protection.apps.mil",
        ingestion_audience="https://monitor.azure.us",
    ),
}
"""Source: Management Activity API reference, "Endpoint", and the national clouds' login pages."""
