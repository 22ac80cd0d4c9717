"""A lab whose services do all that their documents allow or leave open. The chance has a seed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from mailvigil.lab.server.options import (
    FIRST_BLOB_DELAY,
    FeedOptions,
    GraphOptions,
    IngestionOptions,
    LabOptions,
)
from mailvigil.lab.tenant.dice import Dice

CLOCK_WRONG: Final = timedelta(minutes=10)
GRANT_DELAY: Final = timedelta(minutes=30)
"""How long a new role may be unknown to the ingestion."""

HALF: Final = 0.5


def made_hostile(options: LabOptions, seed: int) -> LabOptions:
    """Return *options* with what the documents allow or leave open decided by *seed*.

    A chaos of its own seed stays.
    """
    dice = Dice(seed, "hostile options")
    return replace(
        options,
        feed=_feed(options.feed, dice),
        ingestion=_ingestion(options.ingestion, dice),
        graph=_graph(options.graph, dice),
        chaos=seed if options.chaos is None else options.chaos,
        hostile=seed,
        identity_caches=True,
    )


def _feed(options: FeedOptions, dice: Dice) -> FeedOptions:
    return replace(
        options,
        throttle_status=dice.pick((403, 429)),
        retry_after=dice.pick(("", "seconds", "date")),
        clock_offset=dice.pick((-CLOCK_WRONG, timedelta(), CLOCK_WRONG)),
        first_blob_delay=FIRST_BLOB_DELAY,
        forgets_on_restart=dice.chance(HALF),
        refuses_long_windows=dice.chance(HALF),
        lists_sizes=dice.chance(HALF),
    )


def _ingestion(options: IngestionOptions, dice: Dice) -> IngestionOptions:
    return replace(
        options,
        retry_after=dice.pick(("seconds", "date")),
        limit_unpacked=dice.chance(HALF),
        grant_delay=GRANT_DELAY,
    )


def _graph(options: GraphOptions, dice: Dice) -> GraphOptions:
    return replace(options, empty_first_page=dice.chance(HALF))
