"""A rule of the pack, of either kind, and what is computed alike for both."""

from __future__ import annotations

from datetime import timedelta

from mailvigil.rules.durations import duration
from mailvigil.rules.kql_rule import KqlRule
from mailvigil.rules.sigma_rule import SigmaRule

Rule = SigmaRule | KqlRule


def allowed_lateness(rule: Rule) -> timedelta:
    """Return how long after its event a record may come so that some run of *rule* judges it."""
    return duration(rule.within) - rule.schedule.between_runs
