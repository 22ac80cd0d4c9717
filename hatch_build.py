"""Adds to the wheel what lies outside the packages: the content, and npm's files if present."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONTENT = ("sigma", "kql")
PARSER = Path("node_modules/@kusto/language-service-next")
PARSER_FILES = ("bridge.min.js", "Kusto.Language.Bridge.min.js")
CHARTS = Path("node_modules")
CHART_FILES = (
    "vega/build/vega.min.js",
    "vega-lite/build/vega-lite.min.js",
    "vega-embed/build/vega-embed.min.js",
)
FUNCTION = Path("connector")
FUNCTION_FILES = ("function_app.py", "host.json", "requirements.txt")
NOTICES = "THIRD_PARTY_NOTICES.txt"


def content(root: Path) -> dict[str, str]:
    """Map the content folders of the checkout ``root`` to their places in the wheel."""
    return {str(root / name): f"mailvigil/content/{name}" for name in CONTENT}


def parser(root: Path) -> dict[str, str]:
    """Map the KQL parser's files to their places, or nothing when ``npm ci`` has not run."""
    files = _all({root / PARSER / name: f"mailvigil/kusto/{name}" for name in PARSER_FILES})
    return files | {str(root / NOTICES): f"mailvigil/kusto/{NOTICES}"} if files else {}


def charts(root: Path) -> dict[str, str]:
    """Map the scripts of the reports' charts to their places, or nothing, as above."""
    return _all({root / CHARTS / name: f"mailvigil/vega/{Path(name).name}" for name in CHART_FILES})


def function_app(root: Path) -> dict[str, str]:
    """Map what the Function app has beside its package to their places."""
    return {str(root / FUNCTION / name): f"mailvigil/function/{name}" for name in FUNCTION_FILES}


def _all(files: dict[Path, str]) -> dict[str, str]:
    """Return the files, or nothing if one is missing."""
    there = all(path.is_file() for path in files)
    return {str(path): place for path, place in files.items()} if there else {}


class ContentHook(BuildHookInterface[Any]):
    """Called by hatchling. An editable install gets nothing: it reads the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files for a wheel of the kind ``version``: "standard" or "editable"."""
        if version == "editable":
            return
        root = Path(self.root)
        build_data["force_include"] |= (
            content(root) | function_app(root) | parser(root) | charts(root)
        )
