"""SQL that evaluates a query at many moments at once. Pure.

DuckDB takes longer to plan a rule than to run it over some thousand records, and plans it anew
each time, whether it was prepared or not. So one query evaluates it at every moment of a table,
by a lateral join.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

MOMENTS = "_moments"
"""Alias of the moments' table in what :func:`at_each_moment` returns."""

MOMENT = f'{MOMENTS}."_now"'
"""The moment of an evaluation, as the views of :mod:`.workspace` and the clock name it."""

NUMBER = f'{MOMENTS}."_number"'
"""Which evaluation it is, from 0 on."""

ROWS_AT_ONCE = 1_000_000
"""Most rows of tables times moments in one query, as each moment has its own rows in memory."""


def at_each_moment(sql: str, clock: str, views: Mapping[str, str], count: int) -> str:
    """Return SQL of *count* parameters, the moments; its first column is ``NUMBER``.

    Args:
        sql: The query.
        clock: How *sql* names the moment.
        views: Table of *sql* to the SQL of the rows that an evaluation sees of it, by ``MOMENT``
            and ``NUMBER``.
        count: How many moments.

    """
    shown = ", ".join(f'"{table}" AS NOT MATERIALIZED ({rows})' for table, rows in views.items())
    values = ", ".join(f"({number}, CAST(? AS TIMESTAMP))" for number in range(count))
    seen = f"WITH {shown} " if shown else ""
    query = sql.replace(clock, MOMENT)
    return (
        f'SELECT {NUMBER}, _rows.* FROM (VALUES {values}) AS {MOMENTS}("_number", "_now"), '
        f"LATERAL ({seen}SELECT * FROM ({query})) AS _rows"
    )


def batches(moments: Sequence[datetime], rows: int) -> list[Sequence[datetime]]:
    """Return *moments* in order, in parts that one query over so many *rows* may hold."""
    size = max(1, ROWS_AT_ONCE // max(1, rows))
    return [moments[start : start + size] for start in range(0, len(moments), size)]
