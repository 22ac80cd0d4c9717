"""Everything that mailvigil raises on purpose.

Each type answers what the caller can do; messages read ``where: what (what to do)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from signal import Signals


class MailvigilError(Exception):
    """Base of every error raised on purpose. Never raised itself."""


class InputError(MailvigilError):
    """A file or an argument that the user gave cannot be used. Correct it and run again."""

    def __init__(self, where: str, what: str, todo: str = "") -> None:
        self.where = where
        self.what = what
        self.todo = todo
        super().__init__(f"{where}: {what}{f' ({todo})' if todo else ''}")


class SettingsFileError(InputError):
    """The collector's settings cannot be used: no further run helps before they are corrected."""


class SettingsError(SettingsFileError):
    """Settings are wrong: all problems at once, a line each below the one that says where."""

    def __init__(self, where: str, problems: Sequence[str], todo: str) -> None:
        self.lines = (f"{where}: wrong settings ({todo}):", *(f"  {text}" for text in problems))
        super().__init__(where, f"wrong settings: {'; '.join(problems)}", todo)


class EndedBySignalError(MailvigilError):
    """A signal ended the command before all was done. Run it again: it goes on where it was."""

    def __init__(self, number: int, what: str) -> None:
        self.number = number
        super().__init__(f"ended by {Signals(number).name} {what}")


class RuleError(MailvigilError):
    """A rule, its tests or a function of the content is wrong: all problems at once.

    ``problems`` are complete lines, each ``file[:line[:column]]: what (what to do)``.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class UnfitError(RuleError):
    """A rule is right, and cannot run at the target asked for. Leave it out there."""
