"""The charts' JavaScript, which the package holds: a report has its charts wherever it is made."""

from __future__ import annotations

from importlib.resources import files

SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
"""In the order in which they must be loaded. vega-embed holds the interpreter that makes charts
work without eval. ``vega_scripts/sources.json`` says where each is from."""


def scripts() -> tuple[str, ...]:
    """Return the scripts' texts."""
    folder = files("mailvigil.reports") / "vega_scripts"
    return tuple((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
