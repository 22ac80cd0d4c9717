"""Text as people see it: nothing in it steers a terminal or a spreadsheet. Pure."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 - full width on purpose
"""First characters that make a spreadsheet run a cell, blanks before them or not."""


def visible(text: str) -> str:
    r"""Return *text* with all that steers a terminal written as an escape such as ``\x1b``.

    Those are control characters, line ends among them, marks that turn the direction of
    writing, odd blanks, and what no encoding holds. Such characters come from logs and names.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def defused(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    shown = visible(value)
    return f"'{shown}" if value.lstrip().startswith(_FORMULA) else shown


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return *count* with *noun* or its *plural*, which without a word of its own ends in s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
