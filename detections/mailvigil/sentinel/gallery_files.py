"""What a pull request to the Azure-Sentinel repository needs beside the solution's folder.

Its checks parse queries with the schemas in ``.script/tests/KqlvalidationsTests``, and its
packaging tool looks each workbook up in ``Workbooks/WorkbooksMetadata.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.content_files import Parser, Workbook
from mailvigil.sentinel.query_content import connectors
from mailvigil.sentinel.solution_place import FOLDER, LOGO_FOLDERS, WORKBOOK_ROWS
from mailvigil.tables.record_tables import RECORD_TABLES
from mailvigil.tables.schemas import OWN_TABLES, schemas

_SCHEMAS = ".script/tests/KqlvalidationsTests"

_TYPES = {
    "string": "String", "int": "Int", "long": "Long", "real": "Real", "bool": "Bool",
    "datetime": "DateTime", "timespan": "TimeSpan", "dynamic": "Dynamic", "guid": "Guid",
}  # fmt: skip
"""KQL types, and how the repository's schemas name them."""


def gallery_files(pack: Pack) -> dict[str, Any]:
    """Return JSON by path: schemas of own tables and functions, and the workbooks' rows."""
    tables = {
        f"{FOLDER}/{schema_path('CustomTables', name)}": {
            "Name": name,
            "Properties": _columns(schemas()[name]),
        }
        for name in OWN_TABLES
    }
    functions = {
        f"{FOLDER}/{schema_path('CustomFunctions', parser.alias)}": _function(parser, pack)
        for parser in pack.parsers
    }
    workbooks = [_workbook(book, pack) for book in pack.workbooks]
    return {**tables, **functions, f"{FOLDER}/{WORKBOOK_ROWS}": workbooks}


def schema_path(kind: str, name: str) -> str:
    """Return where the repository wants a schema: *kind* is CustomTables or CustomFunctions."""
    return f"{_SCHEMAS}/{kind}/{name}.json"


def logo_paths(pack: Pack) -> tuple[str, ...]:
    """Return where the repository wants the logo: that of the solution, and of its workbooks."""
    return tuple(f"{folder}/{pack.solution.name}.svg" for folder in LOGO_FOLDERS)


def _function(parser: Parser, pack: Pack) -> dict[str, Any]:
    declared = [text.partition(":") for text in parser.parameters.split(",") if text]
    parameters = [
        {
            "Name": name,
            "Type": _TYPES[kind.partition("=")[0].strip()],
            "IsRequired": "=" not in kind,
        }
        for name, _, kind in declared
    ]
    return {
        "FunctionName": parser.alias,
        "FunctionParameters": parameters,
        "FunctionResultColumns": _columns(pack.function_columns[parser.alias]),
    }


def _columns(columns: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Type": _TYPES[kind]} for name, kind in columns.items()]


def _workbook(book: Workbook, pack: Pack) -> dict[str, Any]:
    return {
        "workbookKey": f"{book.name}Workbook",
        "logoFileName": f"{pack.solution.name}.svg",
        "description": book.description,
        "dataTypesDependencies": list(RECORD_TABLES),
        "dataConnectorsDependencies": [c["connectorId"] for c in connectors(RECORD_TABLES)],
        "previewImagesFileNames": [f"{book.name}Black.png", f"{book.name}White.png"],
        "version": book.version,
        "title": book.title,
        "templateRelativePath": f"{book.name}.json",
        "subtitle": "",
        "provider": pack.solution.support["name"],
    }
