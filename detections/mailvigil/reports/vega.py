"""Where the charts' JavaScript is: in the wheel, else where ``npm ci`` put it."""

from __future__ import annotations

from pathlib import Path

from mailvigil.rules.content import PACKAGE

SCRIPTS = (
    ("vega", "vega.min.js"),
    ("vega-lite", "vega-lite.min.js"),
    ("vega-embed", "vega-embed.min.js"),
)
"""Package and file, in the order in which they must be loaded. vega-embed holds the interpreter
that makes charts work without eval."""


def scripts() -> tuple[str, ...]:
    """Return the scripts' texts, or nothing when they are not installed."""
    paths = _in_wheel(PACKAGE / "vega") or _in_checkout(PACKAGE.parents[1] / "node_modules")
    return tuple(path.read_text(encoding="utf-8") for path in paths)


def _in_wheel(folder: Path) -> tuple[Path, ...]:
    return _all(tuple(folder / name for _, name in SCRIPTS))


def _in_checkout(folder: Path) -> tuple[Path, ...]:
    return _all(tuple(folder / package / "build" / name for package, name in SCRIPTS))


def _all(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    return paths if all(path.is_file() for path in paths) else ()
