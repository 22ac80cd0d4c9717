"""Judge from its audit settings whether a mailbox can send MailItemsAccessed to the feed. Pure.

Settings are not records: a mailbox that is judged :attr:`MailboxVerdict.CONFIGURED` is set as it
should be, and whether its records come is for the feed to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from mailvigil.tenant.mailbox_export import (
    LISTS,
    ExportedMailbox,
    ExportedOrganisation,
    MailboxState,
)

OPERATION = "MailItemsAccessed"

TYPES = frozenset({"UserMailbox", "SharedMailbox", "RoomMailbox", "EquipmentMailbox"})
"""What ``mailboxes.ps1`` exports, and whose settings are documented."""

BYPASS = "Set-MailboxAuditBypassAssociation -AuditBypassEnabled $false takes it off"


class MailboxVerdict(Enum):
    """What is to be done about a mailbox."""

    MEND = "to mend"
    LEFT = "left"
    """It does not log, or not all, and a change of its settings is not the remedy."""
    NOT_JUDGED = "not judged"
    HELD_BACK = "held back"
    """It is set as it should be, and logs nothing as long as the organisation does not."""
    CONFIGURED = "configured"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxJudgement:
    """A verdict with its reasons, and what a plan changes: nothing unless it is to mend.

    ``add`` are the properties (AuditOwner, …) whose list gets MailItemsAccessed.
    """

    mailbox: ExportedMailbox
    verdict: MailboxVerdict
    reasons: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    set_audit_enabled: bool = False


def judge(mailbox: ExportedMailbox, organisation: ExportedOrganisation) -> MailboxJudgement:
    """Return what is to be done about *mailbox* of *organisation*."""
    doubts = tuple(_doubts(mailbox))
    if doubts:
        return MailboxJudgement(mailbox=mailbox, verdict=MailboxVerdict.NOT_JUDGED, reasons=doubts)
    state = mailbox.state
    cut = tuple(LISTS[kind] for kind in _lacking(state, managed=False))
    reasons = (*_faults(state, cut), *_left(mailbox))
    return MailboxJudgement(
        mailbox=mailbox,
        verdict=_verdict(mailbox, organisation, cut),
        reasons=reasons,
        add=cut,
        set_audit_enabled=not state.enabled_set,
    )


def organisation_faults(organisation: ExportedOrganisation) -> Iterator[str]:
    """Yield what keeps every mailbox of *organisation* from logging, with what to do."""
    if organisation.audit_disabled:
        yield (
            "mailbox auditing is off for the whole organisation, and settings of mailboxes are "
            "ignored (Set-OrganizationConfig -AuditDisabled $false, then export again)"
        )
    if not organisation.unified_log:
        yield (
            "the unified audit log is off: nothing reaches the feed "
            "(Set-AdminAuditLogConfig -UnifiedAuditLogIngestionEnabled $true; a new tenant needs "
            "Enable-OrganizationCustomization first)"
        )


def _verdict(
    mailbox: ExportedMailbox, organisation: ExportedOrganisation, cut: tuple[str, ...]
) -> MailboxVerdict:
    if cut or not mailbox.state.enabled_set:
        return MailboxVerdict.MEND
    if any(_left(mailbox)):
        return MailboxVerdict.LEFT
    return MailboxVerdict.CONFIGURED if organisation.logs else MailboxVerdict.HELD_BACK


def _doubts(mailbox: ExportedMailbox) -> Iterator[str]:
    """Yield why nothing can be said of a mailbox."""
    missing = [name for name, is_missing in _missing(mailbox) if is_missing]
    if missing:
        yield f"the export lacks {', '.join(missing)}"
    elif mailbox.type not in TYPES:
        yield "mailboxes of its type are not known here"
    elif mailbox.state.enabled is False and mailbox.state.enabled_set:
        yield "AuditEnabled is False in the list and True in the server's filter (export again)"


def _missing(mailbox: ExportedMailbox) -> Iterator[tuple[str, bool]]:
    state = mailbox.state
    yield "ExternalDirectoryObjectId", not mailbox.id
    yield "UserPrincipalName", not mailbox.name
    yield "RecipientTypeDetails", not mailbox.type
    yield "the audit bypass", mailbox.bypassed is None
    yield "AuditEnabled", state.enabled is None
    yield "AuditEnabled by the server's filter", state.enabled_set is None
    for kind, name in LISTS.items():
        yield name, state.actions[kind] is None
    yield "DefaultAuditSet", state.managed is None


def _lacking(state: MailboxState, *, managed: bool) -> Iterator[str]:
    """Yield the sign-in types whose list lacks the operation, *managed* by Microsoft or not."""
    for kind in LISTS:
        is_managed = kind in (state.managed or ())
        if is_managed is managed and OPERATION not in (state.actions[kind] or ()):
            yield kind


def _faults(state: MailboxState, cut: tuple[str, ...]) -> Iterator[str]:
    if cut:
        yield f"{OPERATION} is not in {', '.join(cut)}, which Microsoft does not manage"
    if not state.enabled_set:
        never = ", though it shows True" if state.enabled else ""
        yield f"AuditEnabled is not set{never}: without Audit (Premium) nothing reaches the feed"


def _left(mailbox: ExportedMailbox) -> Iterator[str]:
    """Yield what is named and not changed."""
    managed = [LISTS[kind] for kind in _lacking(mailbox.state, managed=True)]
    if managed:
        yield (
            f"Microsoft manages {', '.join(managed)} and has not put {OPERATION} there: "
            "licence or roll-out, left as it is"
        )
    if mailbox.bypassed:
        yield f"its account bypasses auditing, left as it is ({BYPASS})"
