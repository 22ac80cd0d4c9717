"""The content as two deployments into the workspace's group: what rules read, then the rules.

Sentinel runs the query of a rule when the rule is made, and refuses one whose functions it does
not know yet. A function is known some minutes after it was made, and a template cannot wait: so
rules are deployed by a command of their own. Neither is a part of the collector's deployment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from audit_feed.columns import load_table
from mailvigil.infra.connector_page import page
from mailvigil.infra.data_collection import streams_into
from mailvigil.infra.resources import (
    ONBOARDING,
    RULE,
    TABLE,
    WORKSPACE,
    Json,
    formula,
    parameter,
    resource,
    resource_id,
)
from mailvigil.infra.tables import CALLERS, table_schema
from mailvigil.sentinel import arm
from mailvigil.sentinel.compiled_content import Pack

_ON: Mapping[str, str] = {
    "enableSentinel": "Turn Microsoft Sentinel on for the workspace; where it is on, nothing"
    " changes. Watchlist, connector page and rules need it: false leaves out the first two, and"
    " rules.json is refused where it is not on.",
    "deployHuntingQueries": "Create the hunting queries.",
    "deployWatchlist": "Create the watchlist of approved callers with its example row. Deployed"
    " again, the row is added again: choose false when it is there.",
    "deployWorkbook": "Create the workbook.",
    "deployConnectorPage": "Create the page among Sentinel's data connectors that shows the feed's"
    " state.",
}
_OFF: Mapping[str, str] = {
    "createCallerTable": "Create the table M365CallerBaseline_CL and a data collection rule for it,"
    " mailvigil-callers. Choose true where the collector is not deployed: it makes its own.",
    "summarizeOfficeActivity": "Create the summary rules that remember callers from OfficeActivity"
    " for longer than 14 days. The table must exist. Public cloud only.",
    "summarizeCloudAppEvents": "Create the summary rules that remember callers from CloudAppEvents"
    " for longer than 14 days. The table must exist. Public cloud only.",
}
_SUMMARIZED: Mapping[str, str] = {
    "OfficeActivity": parameter("summarizeOfficeActivity"),
    "CloudAppEvents": parameter("summarizeCloudAppEvents"),
    CALLERS: f"or({parameter('summarizeOfficeActivity')}, {parameter('summarizeCloudAppEvents')})",
}
"""The table that a summary rule reads, to when the rule is wanted."""

CALLER_RULE = "mailvigil-callers"
"""Name of the data collection rule for known callers alone."""

_WORKSPACE_ID = f"resourceId('{WORKSPACE}', {parameter('workspace')})"
_CALLERS_ID = resource_id(TABLE, parameter("workspace"), f"'{CALLERS}'")
_SENTINEL_ID = f"extensionResourceId({_WORKSPACE_ID}, '{ONBOARDING}', 'default')"


def content_template(pack: Pack) -> Json:
    """Return ``content.json``: all that is not an analytics rule."""
    made = arm.template(*_content(pack), location=True)
    switches = {
        name: {"type": "bool", "defaultValue": on, "metadata": {"description": text}}
        for on, group in ((True, _ON), (False, _OFF))
        for name, text in group.items()
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
    yield from _when("deployWatchlist", map(arm.watchlist, pack.watchlists), sentinel=True)
    yield from _when("deployWorkbook", map(arm.workbook, pack.workbooks))
    yield from _when("deployConnectorPage", [page(pack)], sentinel=True)
    yield from _when("createCallerTable", [_caller_table(), _caller_rule()])
    for rule in pack.summary_rules:
        wanted = formula(_SUMMARIZED[rule.table])
        yield {**arm.summary_rule(rule), "condition": wanted, "dependsOn": [formula(_CALLERS_ID)]}


def _caller_table() -> Json:
    """Return the table of known callers, where no collector has made it."""
    return resource(
        TABLE,
        arm.in_workspace(CALLERS),
        properties={"plan": "Analytics", "schema": table_schema(load_table(CALLERS))},
    )


def _caller_rule() -> Json:
    """Return the data collection rule by which known callers are uploaded."""
    return resource(
        RULE,
        CALLER_RULE,
        location=formula(parameter("location")),
        kind="Direct",
        dependsOn=[formula(_CALLERS_ID)],
        properties={
            "description": "Known callers that mailvigil baseline upload sends.",
            **streams_into(formula(_WORKSPACE_ID), [load_table(CALLERS)]),
        },
    )


def _onboarding() -> Json:
    """Return what turns Sentinel on."""
    return resource(
        ONBOARDING,
        "default",
        condition=formula(parameter("enableSentinel")),
        scope=formula(_WORKSPACE_ID),
        properties={},
    )


def _when(switch: str, resources: Iterable[Json], *, sentinel: bool = False) -> Iterator[Json]:
    """Yield *resources* under a switch; what needs Sentinel waits until it is on."""
    wanted = parameter(switch)
    needs: Json = {"condition": formula(wanted)}
    if sentinel:
        needs["condition"] = formula(f"and({parameter('enableSentinel')}, {wanted})")
        needs["dependsOn"] = [formula(_SENTINEL_ID)]
    yield from ({**switched, **needs} for switched in resources)
