"""Times as the connector reads them: without a zone they are UTC. Pure."""

from __future__ import annotations

from audit_feed.times import as_utc, parse_utc

__all__ = ["as_utc", "parse_utc"]
