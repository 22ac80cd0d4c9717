"""``infra/scripts/tenant.ps1`` as a parser sees it. It is not run: that needs a tenant."""

from __future__ import annotations

import re

import pytest

from audit_feed.blobs import CONTENT_TYPES
from audit_feed.clouds import CLOUDS
from infra.conftest import SCRIPTS
from infra.powershell import commands, functions, parse, text_of, unguarded

TEXT = (SCRIPTS / "tenant.ps1").read_text(encoding="utf-8")
ROOT = parse(TEXT)
DO = "if ($PSCmdlet.ShouldProcess("

NEEDED = {
    "Connect-MgGraph", "Invoke-MgGraphRequest", "Get-AzAccessToken", "Invoke-RestMethod",
    "Connect-ExchangeOnline", "Get-OrganizationConfig", "Get-Mailbox", "Set-Mailbox",
}  # fmt: skip
"""What comes from a module or is the script's whole point."""

LANGUAGE = {
    "Set-StrictMode", "Where-Object", "Out-Null", "Write-Output", "Write-Warning", "ForEach-Object",
    "Import-Csv", "Export-Csv",
}  # fmt: skip


def test_every_command_of_the_script_is_a_known_one() -> None:
    known = NEEDED | LANGUAGE | {*functions(ROOT)}

    assert {command.name for command in commands(ROOT)} <= known
    assert {command.name for command in commands(ROOT)} >= NEEDED


def test_what_if_changes_nothing() -> None:
    assert "[CmdletBinding(SupportsShouldProcess)]" in TEXT
    assert unguarded(ROOT) == []
    assert TEXT.count(DO) == 5


@pytest.mark.parametrize("number", range(5))
def test_a_change_outside_of_a_guard_is_found(number: int) -> None:
    parts = TEXT.split(DO)
    other = "if ($Nothing.ShouldProcess("
    broken = other.join([DO.join(parts[: number + 1]), DO.join(parts[number + 1 :])])

    assert unguarded(parse(broken)) != []


def test_a_script_that_does_not_parse_is_an_error() -> None:
    with pytest.raises(SyntaxError, match="line "):
        parse(TEXT.replace("function Set-Grant {", "function Set-Grant {{", 1))


def test_mailboxes_are_changed_only_with_apply_or_undo() -> None:
    block = text_of(functions(ROOT)["Set-Mailboxes"])
    callers = [c for c in commands(functions(ROOT)["Set-Mailboxes"]) if c.name == "Set-Audit"]

    assert len(callers) == 2
    assert re.search(r"if \(\$Apply\) \{\s+foreach \(\$signIn in \$missing\) \{ Set-Audit", block)
    assert re.search(r"if \(\$Undo\) \{\s+Import-Csv .*Set-Audit .*'Remove' \}\s+return", block)


def test_what_is_added_is_written_down_before_it_is_added() -> None:
    block = text_of(functions(ROOT)["Set-Audit"])

    assert 0 < block.index("Export-Csv") < block.index("Set-Mailbox @change")


def test_the_script_knows_the_clouds_and_types_of_the_collector() -> None:
    listed = ", ".join(f"'{kind}'" for kind in CONTENT_TYPES)
    assert f"[ValidateSet({listed})]" in TEXT
    for name, cloud in CLOUDS.items():
        assert re.search(rf"'{name}' += @{{ Graph = .* Feed = '{cloud.feed}'", TEXT), name
        assert cloud.feed == cloud.feed_audience


def test_a_token_is_kept_as_a_secure_string() -> None:
    asks = [command for command in commands(ROOT) if command.name == "Get-AzAccessToken"]

    assert ["-AsSecureString" in ask.words for ask in asks] == [True]
    assert "ConvertFrom-SecureString" not in TEXT
