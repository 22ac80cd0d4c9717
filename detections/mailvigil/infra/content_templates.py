"""The content as two deployments into the workspace's group: what rules read, then the rules.

Sentinel runs the query of a rule when the rule is made, and refuses one whose functions it does
not know yet. A function is known some minutes after it was made, and a template cannot wait: so
rules are deployed by a command of their own. Neither is a part of the collector's deployment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mailvigil.infra.connector_page import page
from mailvigil.infra.resources import ONBOARDING, WORKSPACE, Json, formula, parameter, resource
from mailvigil.sentinel import arm
from mailvigil.sentinel.compiled_content import Pack

_SWITCHES: Mapping[str, str] = {
    "enableSentinel": "Turn Microsoft Sentinel on for the workspace. Watchlist, connector page and"
    " rules need it; where it is on already, nothing changes.",
    "deployHuntingQueries": "Create the hunting queries.",
    "deployWatchlist": "Create the watchlist of approved callers with its example row. Deployed"
    " again, the row is added again: choose false when it is there.",
    "deployWorkbook": "Create the workbook.",
    "deployConnectorPage": "Create the page among Sentinel's data connectors that shows the feed's"
    " state.",
}
_WORKSPACE_ID = f"resourceId('{WORKSPACE}', {parameter('workspace')})"
_SENTINEL_ID = f"extensionResourceId({_WORKSPACE_ID}, '{ONBOARDING}', 'default')"


def content_template(pack: Pack) -> Json:
    """Return ``content.json``: functions, hunting queries, watchlist, workbook and page."""
    made = arm.template(*_content(pack), location=True)
    switches = {
        name: {"type": "bool", "defaultValue": True, "metadata": {"description": text}}
        for name, text in _SWITCHES.items()
    }
    return {**made, "parameters": {**made["parameters"], **switches}}


def rules_template(pack: Pack) -> Json:
    """Return ``rules.json``: the analytics rules, enabled."""
    return arm.template(*(arm.alert_rule(analytic) for analytic in pack.analytics))


def _content(pack: Pack) -> Iterator[Json]:
    functions = [arm.function_search(parser) for parser in pack.parsers]
    yield _onboarding()
    yield from functions
    yield from _when("deployHuntingQueries", map(arm.hunting_search, pack.hunting))
    in_sentinel = [formula(_SENTINEL_ID)]
    yield from _when("deployWatchlist", map(arm.watchlist, pack.watchlists), after=in_sentinel)
    yield from _when("deployWorkbook", map(arm.workbook, pack.workbooks))
    yield from _when("deployConnectorPage", [page(pack)], after=in_sentinel)


def _onboarding() -> Json:
    """Return what turns Sentinel on."""
    return resource(
        ONBOARDING,
        "default",
        condition=formula(parameter("enableSentinel")),
        scope=formula(_WORKSPACE_ID),
        properties={},
    )


def _when(switch: str, resources: Iterable[Json], after: list[str] | None = None) -> Iterator[Json]:
    for switched in resources:
        waits = {"dependsOn": after} if after else {}
        yield {**switched, "condition": formula(parameter(switch)), **waits}
