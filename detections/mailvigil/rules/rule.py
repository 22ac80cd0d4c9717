"""A rule of the pack, of either kind."""

from __future__ import annotations

from mailvigil.rules.kql_rule import KqlRule
from mailvigil.rules.sigma_rule import SigmaRule

Rule = SigmaRule | KqlRule
