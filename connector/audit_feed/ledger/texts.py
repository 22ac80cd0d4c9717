"""Texts as every store can hold them. Pure."""

from __future__ import annotations


def storable(text: str) -> str:
    """Return *text* with what is not Unicode, such as half of a surrogate pair, as ``?``.

    Messages can quote what the feed sent. No store takes it, and none may fail over it.
    """
    return text.encode("utf-8", "replace").decode()
