"""One event in a mailbox, and what all records of events have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mailvigil.lab.tenant.clients import OWA_BEFORE, Client
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.people import MadeUpTenant, Mailbox

AuditRecord = dict[str, object]

ODD_ADDRESS, WITH_PORT = 0.09, 0.06
"""The parts of all addresses that are not written bare, and that have a port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """Somebody does something in one mailbox.

    ``at`` is UTC. ``actor`` is the mailbox's owner, a delegate, or None for a program that acts
    without a user. ``items`` are how many messages are read, the newest of them ``newest_age``
    days old; a synchronised folder ignores both. ``aad_session`` and ``token_tenant`` are left
    out of the record when empty.
    """

    at: datetime
    mailbox: Mailbox
    actor: Mailbox | None
    client: Client = OWA_BEFORE
    address: str
    items: int = 1
    newest_age: int = 0
    session: str = ""
    aad_session: str = ""
    token_tenant: str = ""
    throttled: bool = False


Writer = Callable[[MadeUpTenant, AuditEvent, Dice], AuditRecord]
"""Returns the record of an event; the dice settle its small print."""


def written(address: str, dice: Dice) -> str:
    """Return *address* as one of the ways records write it: bare, with port, in brackets."""
    luck = dice.fraction()
    if luck >= ODD_ADDRESS or not address:
        return address
    six = ":" in address
    if luck < WITH_PORT:
        port = 1_024 + dice.below(60_000)
        return f"[{address}]:{port}" if six else f"{address}:{port}"
    if six:
        return f"[{address}]"
    return f"::ffff:{address}"


def message_id(mailbox: Mailbox, day: int, number: int) -> str:
    """Return the Internet message id of one message: the same for the same arguments."""
    mixed = ((mailbox.number << 24) + ((day & 0xFFFF) << 8) + number + 1) * _MIXER % (1 << 96)
    return f"<{mailbox.server}{mixed:024X}@{mailbox.server}.eurprd04.prod.outlook.com>"


_MIXER = 0x9E3779B97F4A7C15F39CC061
"""Odd, so that multiplying modulo 2**96 never makes two messages one."""
