"""Exchange Online's mailbox auditing, as Microsoft's "Manage mailbox auditing" describes it.

What holds here is taken from that page and from what is known of its filters; nothing is taken from
how mailvigil reads an export.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ACTION = "MailItemsAccessed"
TYPES = ("Owner", "Delegate", "Admin")
USUAL = ("HardDelete", "SoftDelete", "Update")
DEFAULT = (*USUAL, ACTION)


class RefusedError(Exception):
    """Exchange refuses a change."""


@dataclass(kw_only=True)
class Mailbox:
    """A mailbox. ``stored`` is AuditEnabled as somebody set it, None if nobody ever did.

    ``licensed`` tells whether the user may have MailItemsAccessed.
    """

    name: str
    id: str
    type: str = "UserMailbox"
    licensed: bool = True
    bypassed: bool = False
    stored: bool | None = True
    managed: set[str] = field(default_factory=lambda: set(TYPES))
    lists: dict[str, list[str]] = field(default_factory=lambda: {t: [*DEFAULT] for t in TYPES})

    @property
    def shown(self) -> bool:
        """AuditEnabled as Get-Mailbox shows it; "on by default" does not reach rooms."""
        if self.stored is None:
            return self.type in {"UserMailbox", "SharedMailbox"}
        return self.stored

    def default(self) -> list[str]:
        """Return the default actions of this mailbox, which depend on its licence."""
        return [*(DEFAULT if self.licensed else USUAL)]

    def set_mailbox(self, changes: Mapping[str, object]) -> None:
        """Do what Set-Mailbox does: all of it, or nothing."""
        adds = [change.get("Add") for change in changes.values() if isinstance(change, dict)]
        if ACTION in adds and not self.licensed:
            raise RefusedError("only available for users with appropriate license")
        for name, change in changes.items():
            match name, change:
                case "AuditEnabled", bool():
                    self.stored = change
                case "DefaultAuditSet", list():
                    for kind in change:
                        self.lists[kind] = self.default()
                    self.managed |= {*change}
                case _, {"Add": str() as action}:
                    self._change(name, [*self.lists[name.removeprefix("Audit")], action])
                case _, {"Remove": str() as action}:
                    old = self.lists[name.removeprefix("Audit")]
                    self._change(name, [word for word in old if word != action])
                case _:
                    raise AssertionError(name)

    def _change(self, name: str, actions: list[str]) -> None:
        kind = name.removeprefix("Audit")
        self.managed -= {kind}
        self.lists[kind] = [*dict.fromkeys(actions)]

    def state(self) -> dict[str, object]:
        """Return the settings as mailboxes.ps1 reads them."""
        lists = {f"Audit{kind}": sorted(self.lists[kind]) for kind in TYPES}
        return {
            "AuditEnabled": self.shown,
            "AuditEnabledSet": self.stored is True,
            **lists,
            "DefaultAuditSet": sorted(self.managed),
        }

    def line(self) -> dict[str, object]:
        """Return the mailbox's line of an export."""
        return {
            "Line": "mailbox",
            "Id": self.id,
            "Name": self.name,
            "Type": self.type,
            "Bypass": self.bypassed,
            "State": self.state(),
        }


def export(
    mailboxes: Sequence[Mailbox],
    *,
    audit_disabled: bool = False,
    unified_log: bool = True,
    name: str = "contoso.onmicrosoft.com",
) -> bytes:
    """Return what ``mailboxes.ps1 -Export`` writes."""
    head = {
        "Line": "export",
        "Version": 1,
        "Organisation": name,
        "AuditDisabled": audit_disabled,
        "UnifiedAuditLogIngestionEnabled": unified_log,
    }
    bypassed = [
        {"Line": "bypass", "Id": box.id, "Name": box.name} for box in mailboxes if box.bypassed
    ]
    end = {"Line": "end", "Organisation": name, "Mailboxes": len(mailboxes)}
    return written([head, *bypassed, *(box.line() for box in mailboxes), end])


def written(lines: Sequence[object]) -> bytes:
    """Return JSON lines as PowerShell writes them."""
    return "".join(json.dumps(line) + "\r\n" for line in lines).encode()
