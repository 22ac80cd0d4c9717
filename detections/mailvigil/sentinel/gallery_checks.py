"""What Microsoft's review of the gallery asks of a rule's and a hunting query's words.

Source: Azure-Sentinel's wiki, "Query Style Guide", and its guide for solutions.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailvigil.sentinel.query_content import MAX_DESCRIPTION, QueryContent

MAX_NAME = 50
"""Characters of a name."""

RULE_BEGINS, HUNTING_BEGINS = "Identifies ", "This query searches for "


def wording_problems(content: QueryContent, begins: str) -> Iterator[str]:
    """Return what the review would say of the name and description of *content*."""
    if len(content.title) > MAX_NAME:
        yield (
            f"the name has {len(content.title)} characters (Content Hub takes {MAX_NAME}: "
            "shorten it)"
        )
    if not content.description.startswith(begins):
        yield f"the description does not begin with '{begins.strip()}' (Content Hub asks for it)"
    if len(content.description) > MAX_DESCRIPTION:
        yield (
            f"the description has {len(content.description)} characters (Content Hub takes "
            f"{MAX_DESCRIPTION}: shorten its first sentence)"
        )
