"""``docs/function-app.md`` names every setting, function and metric that there is, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from audit_feed import environment
from audit_feed.azure_app import settings
from audit_feed.azure_app.settings import DISCOVER_SCHEDULE, SWEEP_SCHEDULE, FunctionSettings
from audit_feed.azure_app.telemetry import COUNTERS, GAUGES
from audit_feed.errors import ConfigError
from connector.azure_app.test_settings import GIVEN
from mailvigil.commands.arguments.function import NAME

CHECKOUT = Path(__file__).parents[3]
PAGE = (CHECKOUT / "docs" / "function-app.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below *heading*, without its own heading."""
    below = PAGE.partition(f"## {heading}\n")[2]
    table = below[below.index("|") :].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in table.splitlines()][
        2:
    ]


def names(heading: str) -> list[str]:
    return [cells[0].strip("` ") for cells in rows(heading)]


def test_the_table_has_every_setting_and_no_other() -> None:
    assert sorted(names("Settings")) == sorted(settings.NAMES)


def test_settings_of_the_command_alone_are_not_the_apps() -> None:
    elsewhere = set(environment.NAMES) - set(settings.NAMES)

    assert elsewhere == {
        "AUDIT_FEED_LEDGER", "AUDIT_FEED_SINK_KIND", "AUDIT_FEED_SINK_FILE",
        "AUDIT_FEED_SINK_FOLDER",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="AUDIT_FEED_KEPT: unknown"):
        FunctionSettings.load({**GIVEN, "AUDIT_FEED_KEPT": "30d"})


def test_the_defaults_of_the_table_are_those_of_the_code() -> None:
    said = {cells[0].strip("`"): cells[1].strip("`") for cells in rows("Settings")}
    given = FunctionSettings.load(GIVEN)
    written = FunctionSettings.load(
        {
            **GIVEN,
            **{n: said[n] for n in ("AUDIT_FEED_SINCE", "AUDIT_FEED_KEEP", "AUDIT_FEED_PROFILE",
               "AUDIT_FEED_WORKERS", "AUDIT_FEED_CONTENT_TYPES", "AUDIT_FEED_SINK_STREAM",
               "AUDIT_FEED_CREDENTIAL_KIND", "AUDIT_FEED_CLOUD",
               "AUDIT_FEED_START_SUBSCRIPTIONS")},
        }
    )  # fmt: skip

    assert written == given
    assert said[settings.DISCOVER] == DISCOVER_SCHEDULE
    assert said[settings.SWEEP] == SWEEP_SCHEDULE


def test_the_table_has_every_function() -> None:
    tree = ast.parse((CHECKOUT / "connector" / "function_app.py").read_text(encoding="utf-8"))
    there = [f.name for f in tree.body if isinstance(f, ast.FunctionDef) and f.decorator_list]

    assert sorted(names("What each function does")) == sorted(there)


def test_every_metric_is_named() -> None:
    below = PAGE.partition("## Logs and metrics\n")[2]

    assert set(re.findall(r"`(?:mailvigil)?\.(\w+)`", below)) == {*COUNTERS, *GAUGES}


def test_the_workflow_deploys_the_package() -> None:
    [text] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    steps = yaml.safe_load(text)["jobs"]["deploy"]["steps"]

    make, deploy = [step["run"] for step in steps if "run" in step]
    assert make == "make package"
    assert f"--out dist/{NAME}" in (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    assert f"--src dist/{NAME} " in deploy


def test_the_costs_of_the_page_are_those_of_the_simulation() -> None:
    results = (CHECKOUT / "bench" / "results.md").read_text(encoding="utf-8")
    measured = dict(re.findall(r"\| 100 tenants: a month: ([^|]+?) +\| +\| ([\d.,]+) \$ ", results))
    size = next(name for name in measured if name.startswith("Log Analytics, "))
    said = dict(cells for cells in rows("What it costs") if len(cells) == 2)

    assert said == {
        "operations on tables": measured["table operations"],
        "operations on queues": measured["queue operations"],
        "the ledger's rows": measured["the ledger's rows"],
        "execution time": measured["execution time"],
        "executions": measured["executions"],
        f"{size} at 50 KB a blob": f"{measured[size]}, or {measured['or with Sentinel']} "
        "with Sentinel",
    }
