"""Make HTML in which every text is escaped unless this module made it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from mailvigil.printable import visible

_VOID = frozenset({"meta", "input", "br"})
_IN_SCRIPT = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""What could end a script element or a line of JavaScript, as JSON escapes."""


class Markup(str):
    """HTML made by :func:`element` or :func:`joined`."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Return *value* as HTML text, with control characters and direction marks made visible."""
    return Markup(escape(visible(value)))


def element(tag: str, /, *children: str, **attributes: str | None) -> Markup:
    """Return one element. Children that are not :class:`Markup` are escaped, None is left out.

    Attribute names lose an underscore at their end and have hyphens for others: ``class_``,
    ``aria_label``. An attribute without value is the empty text.
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{pairs}>")
    return Markup(f"<{tag}{pairs}>{joined(children)}</{tag}>")


def joined(children: Sequence[str], between: str = "") -> Markup:
    """Return *children* one after the other, those that are not :class:`Markup` escaped."""
    parts = [c if isinstance(c, Markup) else text(c) for c in children]
    return Markup(between.join(parts))


def in_script(value: object) -> Markup:
    """Return *value* as JSON for a script element: ASCII, and nothing that could end it."""
    return Markup(json.dumps(value, separators=(",", ":")).translate(_IN_SCRIPT))
