"""``infra/scripts/mailboxes.ps1`` as a parser sees it. It is not run: that needs a tenant."""

from __future__ import annotations

import re

import pytest

from infra.conftest import SCRIPTS
from infra.powershell import Command, commands, functions, parse, text_of, unguarded
from mailvigil.tenant.mailbox_export import LISTS, VERSION
from mailvigil.tenant.mailbox_judgement import OPERATION, TYPES

TEXT = (SCRIPTS / "mailboxes.ps1").read_text(encoding="utf-8")
ROOT = parse(TEXT)
GUARD = "if ($PSCmdlet.ShouldProcess("

EXCHANGE = {
    "Get-ConnectionInformation", "Connect-ExchangeOnline", "Disconnect-ExchangeOnline",
    "Get-OrganizationConfig", "Get-AdminAuditLogConfig", "Get-MailboxAuditBypassAssociation",
    "Get-EXOMailbox", "Set-Mailbox",
}  # fmt: skip
"""What the module brings, as functions or as compiled cmdlets."""

LANGUAGE = {
    "Set-StrictMode", "Where-Object", "ForEach-Object", "Sort-Object", "Out-Null", "Write-Warning",
    "Write-Progress", "ConvertTo-Json", "ConvertFrom-Json", "Get-Content", "Set-Content",
    "Add-Content", "New-Item",
}  # fmt: skip
FILES = {"Set-Content", "Add-Content", "Add-Line"}
"""What writes a file alone, and not into the tenant."""


def in_function(name: str) -> list[Command]:
    return commands(functions(ROOT)[name])


def test_every_command_of_the_script_is_a_known_one() -> None:
    names = {command.name for command in commands(ROOT)}

    assert names <= EXCHANGE | LANGUAGE | {*functions(ROOT)}
    assert names >= EXCHANGE


def test_every_cmdlet_of_exchange_stops_at_an_error_also_in_an_open_session() -> None:
    asked = [command for command in commands(ROOT) if command.name in EXCHANGE]

    assert [c for c in asked if "-ErrorAction Stop" not in " ".join(c.words)] == []
    assert len(asked) == 16


def test_what_if_changes_nothing_in_the_tenant() -> None:
    assert "[CmdletBinding(SupportsShouldProcess)]" in TEXT
    assert [line for line in unguarded(ROOT) if line.split(": ")[1] not in FILES] == []
    assert {command.guarded for command in commands(ROOT) if command.name == "Set-Mailbox"} == {
        True
    }
    assert TEXT.count(GUARD) == 3


@pytest.mark.parametrize("number", range(3))
def test_a_change_outside_of_a_guard_is_found(number: int) -> None:
    parts = TEXT.split(GUARD)
    broken = "if ($Nothing.ShouldProcess(".join(
        [GUARD.join(parts[: number + 1]), GUARD.join(parts[number + 1 :])]
    )

    found = {line.split(": ")[1] for line in unguarded(parse(broken))} - FILES
    assert found in ({"Set-Mailbox"}, {"New-Item"})


def test_a_script_that_does_not_parse_is_an_error() -> None:
    with pytest.raises(SyntaxError, match="line "):
        parse(TEXT.replace("function Set-Audit(", "function Set-Audit((", 1))


def test_no_bypass_is_changed_and_nothing_but_mailboxes_is() -> None:
    changed = {c.name for c in commands(ROOT) if c.name in EXCHANGE and c.name.startswith("Set-")}

    assert changed == {"Set-Mailbox"}


def test_a_mailbox_is_found_by_its_object_id_and_never_by_its_name() -> None:
    changes = [" ".join(c.words) for c in commands(ROOT) if c.name == "Set-Mailbox"]

    assert [words.startswith("-Identity $Row.Id ") for words in changes] == [True] * 3
    assert TEXT.count("-ExternalDirectoryObjectId $Row.Id") == 3


def test_the_record_is_written_before_the_change_and_the_state_after_it() -> None:
    block = text_of(functions(ROOT)["Set-Audit"])

    places = [block.index(text) for text in (
        "-cne (ConvertTo-Line $Row.Before)", "Add-Line $Record $Row", "-AuditEnabled $false",
        "Set-Mailbox -Identity $Row.Id @change", "Line = 'refused'", "Line = 'done'",
    )]  # fmt: skip
    assert places == sorted(places)
    undone = text_of(functions(ROOT)["Undo-Audit"])
    assert 0 < undone.index("Set-Mailbox -Identity $Row.Id @back") < undone.index("'undone'")


def test_a_change_counts_as_refused_only_if_the_mailbox_is_seen_to_be_as_it_was() -> None:
    block = text_of(functions(ROOT)["Set-Audit"])

    assert "if (-not $offFirst -and (ConvertTo-Line $after) -ceq (ConvertTo-Line $now)) {" in block
    assert block.count("Line = 'refused'") == 1


def test_undo_gives_back_to_microsoft_what_it_managed_before() -> None:
    block = text_of(functions(ROOT)["Undo-Audit"])

    assert "if ($Row.Before.DefaultAuditSet -contains $type) { $types += $type }" in block
    assert "if ($types) { $back.DefaultAuditSet = $types }" in block


def test_a_mailbox_that_refuses_is_named_and_the_end_is_an_error() -> None:
    named = '{ Write-Failure "$($row.Name): $_" }'

    assert TEXT.count(f"catch {named}") == 2
    assert re.search(r"\nif \(\$Failed\) \{ throw [^\n]*\}\n$", TEXT)


def test_the_export_streams_and_ends_with_a_line_that_says_so() -> None:
    lines = in_function("Get-Export")

    assert "Get-Export $organisation | Set-Content" in TEXT
    assert " ".join(lines[-1].words).startswith("([ordered] @{ Line = 'end';")
    assert [c.name for c in lines].count("Get-EXOMailbox") == 1
    assert re.search(r"\| ConvertFrom-Json\b", text_of(functions(ROOT)["Get-Changes"])) is None


def test_only_a_connection_that_the_script_opened_is_closed() -> None:
    [close] = [c for c in commands(ROOT) if c.name == "Disconnect-ExchangeOnline"]

    assert close.words[:2] == ("-ConnectionId", "$opened")
    assert "finally { if ($opened) { Disconnect-ExchangeOnline" in TEXT


def test_the_server_is_asked_in_both_ways_who_has_audit_enabled_set() -> None:
    block = text_of(functions(ROOT)["Get-AuditEnabledSet"])

    assert "'AuditEnabled -eq $true'" in block
    assert "'AuditEnabled -ne $true'" in block


def test_script_and_judgement_have_the_same_names() -> None:
    assert f"$Operation = '{OPERATION}'" in TEXT
    assert "$Lists = " + ", ".join(f"'{name}'" for name in LISTS.values()) in TEXT
    assert {*re.findall(r"'(\w+Mailbox)'", TEXT)} == TYPES
    assert {*re.findall(r"Version = (\d+)", TEXT)} == {str(VERSION)}
    assert f".Version -ne {VERSION})" in TEXT
