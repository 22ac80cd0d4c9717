"""What Microsoft's review of the gallery asks of a rule's and a hunting query's words.

Source: Azure-Sentinel's wiki, "Query Style Guide", and its guide for solutions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from mailvigil.rules.durations import duration
from mailvigil.sentinel.analytics import Analytic
from mailvigil.sentinel.query_content import MAX_DESCRIPTION, QueryContent

MAX_NAME = 50
"""Characters of a name."""

MAX_TACTICS, MAX_TECHNIQUES = 5, 10

MAX_RATIO = 168
"""queryPeriod by queryFrequency: reviewers ask why a rule reads each record more often."""

WHY_OFTEN = (
    "The long window is what a run compares new records with; it judges only what arrived since "
    "the run before, so no record is judged twice. Run less often, its alerts come later; with a "
    "shorter window, it forgets what is known."
)
"""Our reason for a ratio above ``MAX_RATIO``, on the page of each such rule."""

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
    if content.title.endswith("."):
        yield "the name ends with a full stop (Content Hub asks for none)"
    if content.description == content.title:
        yield "the description is the name again (say what the query does)"
    if len(content.tactics) > MAX_TACTICS or not content.tactics:
        yield f"{len(content.tactics)} tactics (Content Hub takes 1 to {MAX_TACTICS})"
    if len(content.techniques) > MAX_TECHNIQUES or not content.techniques:
        yield f"{len(content.techniques)} techniques (Content Hub takes 1 to {MAX_TECHNIQUES})"
    if not content.entities:
        yield "no entity mapping (Content Hub asks for one)"


def reads_often(analytic: Analytic) -> bool:
    """Return whether the review asks why the rule looks back so far so often."""
    return ratio(analytic) > MAX_RATIO


def ratio(analytic: Analytic) -> int:
    """Return how many runs read a record: queryPeriod by queryFrequency; 0 of an NRT rule."""
    if analytic.kind != "Scheduled" or not duration(analytic.frequency) > timedelta(0):
        return 0
    return duration(analytic.period) // duration(analytic.frequency)


def questions(analytics: Iterable[Analytic]) -> Iterator[str]:
    """Yield what the review will ask of the rules, each with our answer."""
    often = [analytic.name for analytic in analytics if reads_often(analytic)]
    if often:
        names = ", ".join(often)
        yield f"why queryPeriod is over {MAX_RATIO} times queryFrequency ({names}): {WHY_OFTEN}"
