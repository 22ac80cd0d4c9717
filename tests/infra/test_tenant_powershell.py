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

EXCHANGE = {"Connect-ExchangeOnline", "Get-OrganizationConfig", "Get-Mailbox", "Set-Mailbox"}
LANGUAGE = {
    "Set-StrictMode", "Where-Object", "Out-Null", "Write-Output", "Write-Warning", "ForEach-Object",
    "Import-Csv", "Export-Csv", "Sort-Object",
}  # fmt: skip


def test_every_command_of_the_script_is_a_known_one() -> None:
    known = NEEDED | LANGUAGE | {*functions(ROOT)}

    assert {command.name for command in commands(ROOT)} <= known
    assert {command.name for command in commands(ROOT)} >= NEEDED


def test_what_if_changes_nothing() -> None:
    assert "[CmdletBinding(SupportsShouldProcess)]" in TEXT
    assert unguarded(ROOT) == []
    assert TEXT.count(DO) == 6


@pytest.mark.parametrize("number", range(6))
def test_a_change_outside_of_a_guard_is_found(number: int) -> None:
    parts = TEXT.split(DO)
    other = "if ($Nothing.ShouldProcess("
    broken = other.join([DO.join(parts[: number + 1]), DO.join(parts[number + 1 :])])

    assert unguarded(parse(broken)) != []


def test_a_script_that_does_not_parse_is_an_error() -> None:
    with pytest.raises(SyntaxError, match="line "):
        parse(TEXT.replace("function Set-Grant {", "function Set-Grant {{", 1))


def test_mailboxes_are_changed_only_with_apply_or_undo() -> None:
    callers = {
        name: [command.name for command in commands(block)]
        for name, block in functions(ROOT).items()
    }

    for change, caller in (("Set-Audit", "Set-Found"), ("Undo-Audit", "Undo-Mailboxes")):
        assert [name for name, called in callers.items() if change in called] == [caller]
        assert callers[caller].count(change) == 1
    found = text_of(functions(ROOT)["Set-Found"])
    assert re.search(r"if \(\$Apply\) \{\s+foreach \(\$signIn in \$missing\) \{ Set-Audit", found)
    chosen = text_of(functions(ROOT)["Set-Mailboxes"])
    assert "if ($Undo) { Undo-Mailboxes } else { Set-Found }" in chosen
    assert [name for name, called in callers.items() if "Set-Mailbox" in called] == [
        "Set-Audit", "Undo-Audit",
    ]  # fmt: skip


def test_undo_gives_back_to_microsoft_what_it_managed_before() -> None:
    recorded = text_of(functions(ROOT)["Set-Audit"])
    undone = text_of(functions(ROOT)["Undo-Audit"])

    assert "DefaultAuditSet = $Mailbox.DefaultAuditSet -join ','" in recorded
    assert re.search(
        r"if \(\$known -and \(\(\$Change\.DefaultAuditSet -split ','\) -contains \$type\)\) \{\s+"
        r"\$back = @\{ Identity = \$id; DefaultAuditSet = \$type \}",
        undone,
    )
    assert undone.index("DefaultAuditSet = $type }") < undone.index("Set-Mailbox @back")


def test_what_microsoft_manages_is_not_taken_out_of_its_hands() -> None:
    missing = text_of(functions(ROOT)["Get-Missing"])

    assert "-and $Mailbox.DefaultAuditSet -notcontains ($_ -replace '^Audit')" in missing


def test_a_mailbox_is_known_by_its_id_and_not_by_its_name() -> None:
    recorded = text_of(functions(ROOT)["Set-Audit"])

    assert "Identity = $Mailbox.ExternalDirectoryObjectId" in recorded
    assert "Id = $Mailbox.ExternalDirectoryObjectId" in recorded


def test_what_exchange_refuses_is_an_error_also_in_an_open_session() -> None:
    asked = [c for c in commands(ROOT) if c.name in EXCHANGE]

    assert {command.name for command in asked} == EXCHANGE
    assert [c.name for c in asked if not {"-ErrorAction", "Stop"} <= {*c.words}] == []
    assert "if ($Refused) { throw" in text_of(functions(ROOT)["Set-Mailboxes"])


def test_every_subscription_of_the_list_is_looked_at() -> None:
    block = text_of(functions(ROOT)["Set-Subscriptions"])

    assert re.search(r"\$answer = Invoke-Feed GET list \$token\s+\$all = @\(\$answer \|", block)


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
