"""Read an export of ``infra/scripts/mailboxes.ps1``, one line at a time.

What is damaged, cut off or empty is refused. A mailbox of which something is missing is read as one
whose property is None; the judgement names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import orjson

from audit_feed.errors import file_fault
from mailvigil.errors import InputError

VERSION = 1
"""Of the export and of the plan; ``mailboxes.ps1`` writes and reads the same number."""

MAX_LINE_BYTES = 1024 * 1024
"""No mailbox has a longer line: names and three lists of some twenty actions."""

LISTS: Mapping[str, str] = {
    "Owner": "AuditOwner",
    "Delegate": "AuditDelegate",
    "Admin": "AuditAdmin",
}
"""Sign-in type to the property that lists its actions. Source: "Manage mailbox auditing"."""

_AGAIN = "export again, and use the file as it is"
_ROLE = "export again as one who sees all mailboxes, such as an Exchange Administrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedOrganisation:
    """The first line: whose export it is, and what holds for all mailboxes."""

    name: str
    audit_disabled: bool
    unified_log: bool

    @property
    def logs(self) -> bool:
        """Whether records of any mailbox can reach the feed."""
        return self.unified_log and not self.audit_disabled


@dataclass(frozen=True, slots=True)
class BypassedAccount:
    """An account with audit bypass: what it does in any mailbox is not logged."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxState:
    """The audit settings of a mailbox; None is what the export does not say.

    ``enabled_set`` is AuditEnabled as the server's filter knows it: False also where it was never
    set, which ``enabled`` shows as True. ``actions`` are by sign-in type, ``managed`` the sign-in
    types whose list Microsoft manages (DefaultAuditSet).
    """

    enabled: bool | None
    enabled_set: bool | None
    actions: Mapping[str, frozenset[str] | None]
    managed: frozenset[str] | None
    exported: Mapping[str, object]
    """As it was exported, for the plan: ``mailboxes.ps1`` compares with it before it changes."""

    @classmethod
    def load(cls, data: Mapping[str, object]) -> MailboxState:
        """Return the state of an export's line; what has another type counts as missing."""
        return cls(
            enabled=_flag(data.get("AuditEnabled")),
            enabled_set=_flag(data.get("AuditEnabledSet")),
            actions={kind: _words(data.get(name)) for kind, name in LISTS.items()},
            managed=_words(data.get("DefaultAuditSet")),
            exported=data,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedMailbox:
    """A mailbox of the export. ``id`` is its ExternalDirectoryObjectId, ``""`` if it has none."""

    id: str
    name: str
    type: str
    bypassed: bool | None
    state: MailboxState


ExportEntry = BypassedAccount | ExportedMailbox


def lines_of(file: BinaryIO, where: str, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the lines of *file*, and tell *on_bytes* how many bytes were read so far.

    Raises:
        InputError: A line is longer than :data:`MAX_LINE_BYTES`, or the file cannot be read.

    """
    done = 0
    while line := _line(file, where):
        done += len(line)
        if len(line) > MAX_LINE_BYTES:
            raise InputError(where, f"has a line of over {MAX_LINE_BYTES:,} bytes", _AGAIN)
        on_bytes(done)
        yield line


def _line(file: BinaryIO, where: str) -> bytes:
    try:
        return file.readline(MAX_LINE_BYTES + 1)
    except OSError as error:
        raise InputError(where, *file_fault(error)) from None


def read_export(
    lines: Iterable[bytes], where: str
) -> tuple[ExportedOrganisation, Iterator[ExportEntry]]:
    """Return the organisation, and its bypassed accounts and mailboxes as they come.

    No entry may be relied on before the last one was taken: only then it is known that the export
    is whole.

    Args:
        lines: Of the file, in order.
        where: What messages call it.

    Raises:
        InputError: It is not an export of this version. The entries raise it too: a line cannot be
            read, the export is cut off, it holds two exports, or no mailbox.

    """
    rows = _rows(lines, where)
    _, first = next(rows, (1, {}))
    organisation = _organisation(first, where)
    return organisation, _entries(rows, organisation, where)


def _entries(
    rows: Iterator[tuple[int, Mapping[str, object]]], organisation: ExportedOrganisation, where: str
) -> Iterator[ExportEntry]:
    count, ended = 0, False
    for number, row in rows:
        if ended:
            raise InputError(where, f"goes on after its end, at line {number}", _AGAIN)
        match row.get("Line"):
            case "mailbox":
                count += 1
                yield _mailbox(row)
            case "bypass":
                yield BypassedAccount(_text(row.get("Name")) or _text(row.get("Id")))
            case "end":
                _check_end(row, organisation, count, where)
                ended = True
            case _:
                _refuse(where, number)
    if not ended:
        raise InputError(where, f"is cut off after {count:,} mailboxes", _AGAIN)


def _rows(lines: Iterable[bytes], where: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not text.strip():
            continue
        try:
            row = orjson.loads(text)
        except orjson.JSONDecodeError:
            _refuse(where, number)
        if not isinstance(row, dict):
            _refuse(where, number)
        yield number, row


def _refuse(where: str, number: int) -> NoReturn:
    raise InputError(where, f"line {number} is not one of an export", _AGAIN)


def _organisation(row: Mapping[str, object], where: str) -> ExportedOrganisation:
    if row.get("Line") != "export":
        how = "make one: infra/scripts/mailboxes.ps1 -Export FILE"
        raise InputError(where, "is not an export of mailboxes", how)
    if row.get("Version") != VERSION or isinstance(row["Version"], bool):
        how = f"use the mailboxes.ps1 of this version, which writes version {VERSION}"
        raise InputError(where, "is an export of another version", how)
    name = _text(row.get("Organisation"))
    disabled = _flag(row.get("AuditDisabled"))
    unified = _flag(row.get("UnifiedAuditLogIngestionEnabled"))
    if not name or disabled is None or unified is None:
        what = "does not say of which organisation it is, or whether that one logs"
        raise InputError(where, what, _AGAIN)
    return ExportedOrganisation(name=name, audit_disabled=disabled, unified_log=unified)


def _check_end(
    row: Mapping[str, object], organisation: ExportedOrganisation, count: int, where: str
) -> None:
    if row.get("Organisation") != organisation.name:
        raise InputError(where, "begins with one organisation and ends with another", _AGAIN)
    if row.get("Mailboxes") != count:
        raise InputError(where, f"has {count:,} mailboxes, and says it has others", _AGAIN)
    if not count:
        raise InputError(where, "holds no mailbox", _ROLE)


def _mailbox(row: Mapping[str, object]) -> ExportedMailbox:
    state = row.get("State")
    return ExportedMailbox(
        id=_text(row.get("Id")),
        name=_text(row.get("Name")),
        type=_text(row.get("Type")),
        bypassed=_flag(row.get("Bypass")),
        state=MailboxState.load(state if isinstance(state, dict) else {}),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _words(value: object) -> frozenset[str] | None:
    """Return a list of words as a set, None for what is not one."""
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return frozenset(value)
