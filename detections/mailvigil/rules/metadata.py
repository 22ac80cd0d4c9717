"""What every analytic rule of the pack says about itself, whatever its query is written in."""

from __future__ import annotations

SEVERITIES = ("Informational", "Low", "Medium", "High")
"""Sentinel's severities, the lowest first."""
