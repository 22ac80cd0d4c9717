"""``mailvigil backtest`` on a tenant of the least size: its forms, its refusals, its exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detections.commands.command import Ran, run
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK
from mailvigil.workbench.backtest import Backtest
from mailvigil.workbench.other_queries import load_others
from mailvigil.workbench.run_backtest import run_backtest

SMALL = ("--mailboxes", "100", "--attack", "bypass-then-read")
QUERY = """\
title: Anything read
severity: Low
queryFrequency: 1h
by: [OrganizationId]
query: |
  AuditChanges() | where EventTime > ago(1d) and UserType == 2 | summarize by OrganizationId
"""


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("others")
    (folder / "anything.yaml").write_text(QUERY, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def measured() -> list[Backtest]:
    """Return what :func:`ran` measured, which takes most of the time of a backtest."""
    return []


@pytest.fixture(scope="module")
def ran(others: Path, measured: list[Backtest]) -> Ran:
    def measuring(*given: Any) -> Backtest:  # noqa: ANN401 - what the command gives
        measured.append(run_backtest(*given))
        return measured[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mailvigil.commands.backtest.run_backtest", measuring)
        return run("backtest", *SMALL, "--with", others, "--format", "json")


def attacks(ran: Ran) -> list[dict[str, Any]]:  # JSON
    found = ran.json["attacks"]
    assert isinstance(found, list)
    return found


def test_an_attack_alone_is_judged(ran: Ran) -> None:
    (attack,) = attacks(ran)

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert (attack["attack"], attack["verdict"]) == ("bypass-then-read", "caught")
    assert ran.json["noise"] == []
    assert ran.json["month"] is None


def test_an_nrt_rule_and_a_scheduled_query_have_delays_of_their_own(ran: Ran) -> None:
    (attack,) = attacks(ran)
    delays = {fired["rule"]: fired["delay"] for fired in attack["fired"]}

    assert delays.keys() == {"mailbox_audit_bypass", "anything"}
    assert 30 * 60 < delays["mailbox_audit_bypass"] <= 93 * 60
    assert delays["anything"] in {3600, 7200}


@pytest.mark.usefixtures("ran")
def test_another_query_does_not_count_as_one_of_the_pack(
    others: Path, measured: list[Backtest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailvigil.commands.backtest.run_backtest", lambda *_: measured[0])

    page = run("backtest", *SMALL, "--with", others, "--format", "markdown").out

    (row,) = [line for line in page.splitlines() if line.startswith("| bypass-then-read")]
    assert [cell.split(" (")[0].strip() for cell in row.split("|")[4:6]] == [
        "mailbox_audit_bypass",
        "anything",
    ]
    assert "- The pack catches 1 of 1 attack." in page
    assert "$" not in page


def test_the_public_approaches_are_read(checkout: Path) -> None:
    found = load_others(checkout / "bench" / "public_rules")

    assert len(found) == 5
    assert not any(one.of_pack for one in found)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--attack", "nothing"], "--attack: no attack 'nothing' (there are storm-0558, "),
        (["--mailboxes", "5"], "backtest: 5 mailboxes (100 or more)"),
        (["--days", "3"], "backtest: 3 days (14 or more)"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_measured_is_refused(argv: list[str], message: str) -> None:
    ran = run("backtest", *argv)

    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert message in ran.err


@pytest.mark.parametrize(
    "text",
    ["", "- 1\n", QUERY.replace("Low", "Bad"), QUERY.replace("1h", "1 hour"), QUERY + "more: 1\n"],
    ids=["empty", "list", "severity", "frequency", "key"],
)
def test_a_query_that_is_not_one_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    ran = run("backtest", *SMALL, "--with", tmp_path)

    assert ran.code == EXIT_INPUT
    assert "bad.yaml: " in ran.err


def test_a_folder_without_queries_is_refused(tmp_path: Path) -> None:
    assert run("backtest", *SMALL, "--with", tmp_path).code == EXIT_INPUT
