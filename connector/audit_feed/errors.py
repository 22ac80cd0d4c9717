"""Everything the connector raises on purpose, by what to do: retry, skip the blob, or stop.

Messages hold no query string, no body and no token: all of them can hold tenant data.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from traceback import extract_tb


class AuditFeedError(Exception):
    """Base of every error the connector raises. Never raised itself."""


class ConfigError(AuditFeedError):
    """Settings are missing or wrong. Stop: a retry cannot help."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class AccessError(AuditFeedError):
    """No token, or one that is not allowed to do this. Stop this tenant and say what to change."""

    def __init__(self, where: str, what: str, todo: str) -> None:
        self.where = where
        self.what = what
        self.todo = todo
        super().__init__(f"{where}: {what} ({todo})")


class NoSubscriptionError(AccessError):
    """The feed says that there is no subscription, or that it is disabled."""


class SignInError(AccessError):
    """No token can be got. Nothing of this tenant can be asked for."""


class RetryError(AuditFeedError):
    """A passing fault: the same request may work later. Spends an attempt."""

    def __init__(self, where: str, what: str, todo: str = "") -> None:
        self.where = where
        self.what = what
        super().__init__(f"{where}: {what} ({todo})" if todo else f"{where}: {what}")


class SinkThrottledError(RetryError):
    """The sink asks to send nothing for ``wait``. No attempt is spent."""

    def __init__(self, where: str, what: str, wait: timedelta) -> None:
        self.wait = wait
        super().__init__(where, f"{what}: asks to wait {wait.total_seconds():.0f} s")


class BodyRefusedError(AuditFeedError):
    """This body will not be taken as it is; others may be. ``cause`` is the error of its blob."""

    def __init__(self, cause: AuditFeedError) -> None:
        self.cause = cause
        super().__init__(str(cause))


class ThrottledError(AuditFeedError):
    """Too many requests. Everything of this tenant waits ``wait``; no attempt is spent."""

    def __init__(self, where: str, wait: timedelta | None) -> None:
        self.where = where
        self.wait = wait
        super().__init__(f"{where}: throttled")


class BlobExpiredError(AuditFeedError):
    """The blob is past its 7 days. Its records are lost: count and report."""


class BlobRejectedError(AuditFeedError):
    """The service says that this blob does not exist, or its content is not a list of records.

    Skip it for now: it stays on record, and is tried again on request until it expires.
    """


class WindowError(AuditFeedError):
    """A listing cannot go on as it is: build the window anew and list from page 1."""


class StoppedError(AuditFeedError):
    """The program was asked to stop. What is in hand goes back as it was; no attempt is spent."""


class LedgerError(AuditFeedError):
    """The ledger cannot be read or is of another version. Stop: it is never taken for empty."""


class LedgerConflictError(LedgerError):
    """Another run changed this row first. Read it again; what was just sent may be sent twice."""


class LeaseHeldError(LedgerError):
    """Another collector works with this ledger. Stop."""


_FREE_ROOM = "free some room; what was not written is done again"
_MAY_WRITE = "let this user write there, or name another place"
_REMEDIES = {
    errno.ENOSPC: _FREE_ROOM,
    getattr(errno, "EDQUOT", -1): _FREE_ROOM,
    errno.EFBIG: "raise the limit of a file's size; what was not written is done again",
    errno.EACCES: _MAY_WRITE,
    errno.EPERM: _MAY_WRITE,
    errno.EROFS: _MAY_WRITE,
    errno.EIO: "look at the disk",
    errno.ENOENT: "make the folder, or name another place",
    errno.EEXIST: "name another place",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOTDIR: "a part of its path is a file; name another place",
    errno.ELOOP: "correct the link, or name another place",
    errno.ENAMETOOLONG: "name another place",
}
"""What to do about a file or folder that cannot be used, by the system's number of the error."""

DISK_FULL = (os.strerror(errno.ENOSPC), _FREE_ROOM)
"""What is wrong where a disk is full, and what to do."""


def file_fault(error: OSError) -> tuple[str, str]:
    """Return what is wrong with a file or folder, in the system's words, and what to do.

    The error's own text can name any file.
    """
    what = os.strerror(error.errno) if error.errno else type(error).__name__
    return what, _REMEDIES.get(error.errno or 0, "look at the disk, and at who may write there")


def system_fault(text: str) -> tuple[str, str] | None:
    """Return the fault that a library's message gives in the system's words, and what to do."""
    codes = (code for code in _REMEDIES if code > 0 and os.strerror(code) in text)
    return next((file_fault(OSError(code, "")) for code in codes), None)


def folder_fault(folder: Path, *, made: bool = False) -> tuple[str, str] | None:
    """Return why *folder* cannot be used, and what to do; None where nothing is seen against it.

    Args:
        folder: What has to be a folder.
        made: Whether it is made where it is missing, with the folders above it.

    """
    there = next((part for part in (folder, *folder.parents) if os.path.lexists(part)), folder)
    if not there.is_dir():
        kind = "a link to nothing" if there.is_symlink() else "a file"
        return f"{there} is {kind}, not a folder", "name another folder"
    if not os.access(there, os.X_OK):
        return f"this user may not open the folder {there}", _MAY_WRITE
    if there != folder and not made:
        return f"there is no folder {folder}", "make it, or name another one"
    return None


def fault_of(error: Exception) -> str:
    """Return type and place of a fault of ours; its text may hold what was being read."""
    frames = extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{place}"
