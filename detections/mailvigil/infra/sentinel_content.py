"""The content as parts of the deployment: functions, rules, queries, watchlist and workbook."""

from __future__ import annotations

from collections.abc import Iterator

from mailvigil.infra.connector_page import page
from mailvigil.infra.names import NEW_WORKSPACE_ID
from mailvigil.infra.nested import deployment_id, nested
from mailvigil.infra.resources import Json, parameter, variable
from mailvigil.infra.tables import SENTINEL, TABLES
from mailvigil.sentinel import arm
from mailvigil.sentinel.compiled_content import Pack

FUNCTIONS = "functions"
_READY = (NEW_WORKSPACE_ID, deployment_id(TABLES), deployment_id(SENTINEL))


def content(pack: Pack) -> Iterator[Json]:
    """Yield the parts. Rules come after tables and functions: the service checks their queries."""
    yield nested(
        FUNCTIONS,
        [arm.function_search(parser) for parser in pack.parsers],
        given={},
        after=[NEW_WORKSPACE_ID, deployment_id(TABLES)],
    )
    later = (*_READY, deployment_id(FUNCTIONS))
    yield nested(
        "watchlist",
        [arm.watchlist(watchlist) for watchlist in pack.watchlists],
        given={},
        after=_READY,
        condition=parameter("deployWatchlist"),
    )
    yield nested(
        "rules",
        [arm.alert_rule(analytic) for analytic in pack.analytics],
        given={},
        after=later,
        condition=variable("withRules"),
    )
    yield nested(
        "hunting",
        [arm.hunting_search(query) for query in pack.hunting],
        given={},
        after=later,
        condition=parameter("deployHuntingQueries"),
    )
    yield nested(
        "workbook",
        [arm.workbook(workbook) for workbook in pack.workbooks],
        given={"location": {"type": "string", "from": parameter("location")}},
        after=later,
        condition=parameter("deployWorkbook"),
    )
    yield nested(
        "page",
        [page(pack)],
        given={},
        after=_READY,
        condition=parameter("deployConnectorPage"),
    )
