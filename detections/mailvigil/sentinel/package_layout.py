"""The packaged folder: which files there are, and their content, to the byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import yaml

from mailvigil.sentinel import arm
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.content_hub import (
    create_ui_definition,
    main_template,
    release_notes,
    solution_data,
    solution_metadata,
)
from mailvigil.sentinel.gallery_files import gallery_files, logo_paths
from mailvigil.sentinel.solution_place import FOLDER

FORMAT = 1
"""Version of the packaged folder. Any other version is refused."""

MARKER = "mailvigil-package.json"
"""File that says that a folder is a packaged one, and what is in it."""

RULE_FOLDER, HUNTING_FOLDER, PARSER_FOLDER = "Analytic Rules", "Hunting Queries", "Parsers"
"""Folders of a solution."""

DEFENDER = "defender"
RULE_ARM = "repository/AnalyticsRules"
TEMPLATES = ("repository", "watchlists")
"""Folders whose JSON files are ARM templates, each to be deployed alone."""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and never a reference."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def files(pack: Pack) -> Mapping[str, bytes]:
    """Return every file of the packaged folder by its path, folders divided by ``/``.

    The same content gives the same bytes, on every machine.
    """
    contents = {
        **_repository(pack),
        **_watchlists(pack),
        **_solution(pack),
        **_defender(pack),
        **_all_json(gallery_files(pack)),
        **{f"{FOLDER}/{path}": pack.solution.logo_svg.encode() for path in logo_paths(pack)},
        "README.md": _readme(pack).encode(),
    }
    return {**contents, MARKER: _marker(pack, contents)}


def _readme(pack: Pack) -> str:
    text = (resources.files("mailvigil.sentinel") / "package_readme.md").read_text(encoding="utf-8")
    return text.replace("{version}", pack.version)


def _repository(pack: Pack) -> dict[str, bytes]:
    parsers = {
        f"repository/Parsers/{parser.alias}.json": arm.template(arm.function_search(parser))
        for parser in pack.parsers
    }
    rules = {
        f"{RULE_ARM}/{analytic.name}.json": arm.template(arm.alert_rule(analytic))
        for analytic in pack.analytics
    }
    hunting = {
        f"repository/HuntingQueries/{query.name}.json": arm.template(arm.hunting_search(query))
        for query in pack.hunting
    }
    workbooks = {
        f"repository/Workbooks/{workbook.name}.json": arm.template(
            arm.workbook(workbook), location=True
        )
        for workbook in pack.workbooks
    }
    first = [path.removeprefix("repository/") for path in parsers]
    config = {"repository/sentinel-deployment.config": {"prioritizedcontentfiles": first}}
    return _all_json({**parsers, **rules, **hunting, **workbooks, **config})


def _watchlists(pack: Pack) -> dict[str, bytes]:
    templates = _all_json(
        {
            f"watchlists/{watchlist.alias}.json": arm.template(arm.watchlist(watchlist))
            for watchlist in pack.watchlists
        }
    )
    return templates | {
        f"watchlists/{watchlist.alias}.csv": watchlist.text.encode()
        for watchlist in pack.watchlists
    }


def _defender(pack: Pack) -> dict[str, bytes]:
    return _all_json(
        {f"{DEFENDER}/{detection.name}.json": detection.as_graph() for detection in pack.detections}
    )


def _solution(pack: Pack) -> dict[str, bytes]:
    yamls = {
        **{
            f"solution/{RULE_FOLDER}/{analytic.name}.yaml": as_yaml(analytic.as_yaml())
            for analytic in pack.analytics
        },
        **{
            f"solution/{HUNTING_FOLDER}/{query.name}.yaml": as_yaml(query.as_yaml())
            for query in pack.hunting
        },
        **{
            f"solution/{PARSER_FOLDER}/{parser.alias}.yaml": parser.path.read_bytes()
            for parser in pack.parsers
        },
    }
    jsons = {
        **{
            f"solution/Workbooks/{workbook.name}.json": dict(workbook.data)
            for workbook in pack.workbooks
        },
        **{
            f"solution/Watchlists/{watchlist.alias}.json": arm.template(arm.watchlist(watchlist))
            for watchlist in pack.watchlists
        },
    }
    names = _by_folder([*yamls, *jsons])
    return {
        **yamls,
        "solution/ReleaseNotes.md": release_notes(pack).encode(),
        **_all_json(jsons),
        **_all_json(
            {
                f"solution/Data/Solution_{pack.solution.name}.json": solution_data(pack, names),
                "solution/SolutionMetadata.json": solution_metadata(pack),
                "solution/Package/mainTemplate.json": main_template(pack),
                "solution/Package/createUiDefinition.json": create_ui_definition(pack),
            }
        ),
    }


def as_yaml(data: object) -> bytes:
    """Return *data* as YAML in the order given."""
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000)
    return str(text).encode()


def as_json(data: object) -> bytes:
    """Return *data* as JSON in the order given."""
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()


def _all_json(documents: Mapping[str, Any]) -> dict[str, bytes]:
    return {path: as_json(data) for path, data in documents.items()}


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the files below ``solution/``, by folder, as the packaging tool lists them."""
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        name = path.removeprefix("solution/")
        by_folder.setdefault(name.partition("/")[0], []).append(name)
    return by_folder


def _marker(pack: Pack, files_by_path: Mapping[str, bytes]) -> bytes:
    contents = [
        *(
            {"kind": "rule", "id": r.id, "name": r.name, "version": r.version}
            for r in pack.analytics
        ),
        *(
            {"kind": "hunting", "id": q.id, "name": q.name, "version": q.version}
            for q in pack.hunting
        ),
        *(
            {"kind": "function", "id": p.id, "name": p.alias, "version": p.version}
            for p in pack.parsers
        ),
    ]
    sums = {path: hashlib.sha256(data).hexdigest() for path, data in sorted(files_by_path.items())}
    return as_json({"format": FORMAT, "version": pack.version, "contents": contents, "files": sums})
