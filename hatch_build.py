"""Adds to the wheel what lies outside the packages: the content and Microsoft's KQL parser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONTENT = ("sigma", "kql")
PARSER = Path("node_modules/@kusto/language-service-next")
PARSER_FILES = ("bridge.min.js", "Kusto.Language.Bridge.min.js")
WITHOUT_PARSER = "MAILVIGIL_WITHOUT_PARSER"
"""Set to 1, it allows a wheel in which the commands of the extra ``workbench`` do not work."""

FUNCTION = Path("connector")
FUNCTION_FILES = ("function_app.py", "host.json", "requirements.txt")
NOTICES = "THIRD_PARTY_NOTICES.txt"


def content(root: Path) -> dict[str, str]:
    """Map the content folders of the checkout ``root`` to their places in the wheel."""
    return {str(root / name): f"mailvigil/content/{name}" for name in CONTENT}


def parser(root: Path) -> dict[str, str]:
    """Map the KQL parser's files to their places.

    Raises:
        SystemExit: npm did not install them; the message alone is printed.

    """
    files = {root / PARSER / name: f"mailvigil/kusto/{name}" for name in PARSER_FILES}
    if not all(path.is_file() for path in files):
        raise SystemExit(
            "Microsoft's KQL parser is not in node_modules: run `npm ci --omit=dev` or "
            f"`make wheel` in a checkout, or set {WITHOUT_PARSER}=1 for a wheel that cannot check "
            "queries."
        )
    files[root / NOTICES] = f"mailvigil/kusto/{NOTICES}"
    return {str(path): place for path, place in files.items()}


def function_app(root: Path) -> dict[str, str]:
    """Map what the Function app has beside its package to their places."""
    return {str(root / FUNCTION / name): f"mailvigil/function/{name}" for name in FUNCTION_FILES}


class ContentHook(BuildHookInterface[Any]):
    """Called by hatchling. An editable install gets nothing: it reads the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files for a wheel of the kind ``version``: "standard" or "editable"."""
        if version == "editable":
            return
        root = Path(self.root)
        build_data["force_include"] |= content(root) | function_app(root)
        if os.environ.get(WITHOUT_PARSER) != "1":
            build_data["force_include"] |= parser(root)
