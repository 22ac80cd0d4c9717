"""What the pack has beside its rules, as its files say it: functions, watchlists, workbooks."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mailvigil.errors import RuleError
from mailvigil.rules.content import Function, not_yaml
from mailvigil.tables.schemas import WATCHLIST_COLUMNS
from mailvigil.yaml_input import YamlError, load_yaml

NAMESPACE = uuid.UUID("7f0f3c9e-52ad-5b61-9d1c-0a4f5a7e2b10")
"""Of the ids that are derived from names (version 5). It never changes."""

AUTHOR_DIVIDER = " - "
"""Azure-Sentinel's packaging tool divides an author's name and e-mail here."""

_SOLUTION_KEYS = {
    "name",
    "publisherId",
    "offerId",
    "author",
    "logo",
    "description",
    "firstPublishDate",
    "providers",
    "categories",
    "support",
    "releases",
    "watchlists",
    "workbooks",
}
_KQL_ITEM, _GROUP = 3, 12
"""Numbers of a workbook's items: a query, and a group of items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """A stored KQL function with what its file says beside the body.

    ``parameters`` is in the service's form: ``name:type`` with commas between, or empty.
    """

    path: Path
    id: str
    alias: str
    title: str
    version: str
    category: str
    description: str
    query: str
    parameters: str


@dataclass(frozen=True, slots=True)
class Watchlist:
    """A watchlist's template: its alias, and the CSV text with a header."""

    alias: str
    description: str
    text: str
    search_key: str


@dataclass(frozen=True, slots=True)
class Workbook:
    """A workbook: ``data`` is the gallery form ``Notebook/1.0``, ``version`` that of its row."""

    name: str
    title: str
    description: str
    version: str
    path: Path
    data: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Return the id that belongs to the workbook's name."""
        return str(uuid.uuid5(NAMESPACE, f"workbook/{self.name}"))

    @property
    def serialized(self) -> str:
        """Return the text that the service stores."""
        return json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))

    def queries(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the KQL of every query, also of those in groups."""
        yield from _queries(self.data)


@dataclass(frozen=True, slots=True)
class SolutionRelease:
    """A version of the solution: ``date`` as 2026-11-30, ``changes`` a sentence."""

    version: str
    date: str
    changes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The page of the pack in Content Hub, from ``kql/solution.yaml``.

    ``logo`` is a link to ``logo_svg``. ``releases`` begin with the newest, which is this one.
    ``author`` is a name, or ``name - e-mail`` as Azure-Sentinel's packaging tool divides it.
    """

    name: str
    publisher: str
    offer: str
    author: str
    logo: str
    logo_svg: str
    description: str
    first_published: str
    providers: tuple[str, ...]
    categories: Mapping[str, list[str]]
    support: Mapping[str, str]
    releases: tuple[SolutionRelease, ...]
    watchlists: Mapping[str, str]
    workbooks: Mapping[str, Mapping[str, str]]

    @property
    def id(self) -> str:
        """Return ``publisher.offer``, which never changes."""
        return f"{self.publisher}.{self.offer}"

    @property
    def version(self) -> str:
        """Return the version in Content Hub, which is not that of the project."""
        return self.releases[0].version

    @property
    def author_name(self) -> str:
        """Return the author without the e-mail."""
        return self.author.partition(AUTHOR_DIVIDER)[0]

    @property
    def author_email(self) -> str:
        """Return the author's e-mail, empty where only the name is given."""
        return self.author.partition(AUTHOR_DIVIDER)[2]


def load_solution(root: Path) -> Solution:
    """Return what ``kql/solution.yaml`` says.

    Raises:
        RuleError: The file is missing or not of its form.

    """
    path = root / "kql" / "solution.yaml"
    try:
        data: Any = load_yaml(path.read_text(encoding="utf-8"))
        unknown = set(data) ^ _SOLUTION_KEYS
        if unknown:
            raise KeyError(", ".join(sorted(unknown)))  # noqa: TRY301 - one way out
        return Solution(
            name=data["name"],
            publisher=data["publisherId"],
            offer=data["offerId"],
            author=data["author"],
            logo=data["logo"].replace("{version}", version("mailvigil")),
            logo_svg=(path.parent / "logo.svg").read_text(encoding="utf-8"),
            description=data["description"].strip(),
            first_published=data["firstPublishDate"],
            providers=tuple(data["providers"]),
            categories=data["categories"],
            support=data["support"],
            releases=_releases(data["releases"]),
            watchlists=data["watchlists"],
            workbooks=data["workbooks"],
        )
    except YamlError as error:
        raise not_yaml(path, error) from error
    except (OSError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise RuleError([f"{path}: no description of the solution: {error!r}"]) from error


def _releases(listed: list[Mapping[str, str]]) -> tuple[SolutionRelease, ...]:
    if not listed:
        raise KeyError("releases")
    return tuple(SolutionRelease(row["version"], row["date"], row["changes"]) for row in listed)


def load_parser(function: Function) -> Parser:
    """Return *function* with what else its file says.

    Raises:
        RuleError: The file lacks id, title, version, category or description.

    """
    try:
        data: Any = load_yaml(function.path.read_text(encoding="utf-8"))
        return Parser(
            path=function.path,
            id=data["id"],
            alias=data["FunctionAlias"],
            title=data["Function"]["Title"],
            version=str(data["Function"]["Version"]),
            category=data["Category"],
            description=data["Description"].strip(),
            query=data["FunctionQuery"].strip("\n") + "\n",
            parameters=function.parameters,
        )
    except YamlError as error:
        raise not_yaml(function.path, error) from error
    except (KeyError, TypeError, AttributeError) as error:
        problem = f"{function.path}: no whole function in Sentinel's parser form: {error!r}"
        raise RuleError([problem]) from error


def load_watchlists(root: Path, solution: Solution) -> tuple[Watchlist, ...]:
    """Return the templates in ``kql/watchlists``, by alias.

    Raises:
        RuleError: A file's columns are not those that rules read, or nothing describes it.

    """
    paths = sorted((root / "kql" / "watchlists").glob("*.csv"))
    return tuple(_watchlist(path, solution.watchlists) for path in paths)


def load_workbooks(root: Path, solution: Solution) -> tuple[Workbook, ...]:
    """Return the workbooks in ``kql/workbooks``, by name.

    Raises:
        RuleError: A file is not a workbook, or nothing names it.

    """
    return tuple(
        _workbook(path, solution.workbooks)
        for path in sorted((root / "kql" / "workbooks").glob("*.json"))
    )


def _watchlist(path: Path, descriptions: Mapping[str, str]) -> Watchlist:
    alias = path.stem
    try:
        text = path.read_text(encoding="utf-8")
        header = next(csv.reader(io.StringIO(text)))
        wanted = list(WATCHLIST_COLUMNS[alias])
        description = descriptions[alias].strip()
    except (OSError, UnicodeDecodeError, StopIteration, KeyError) as error:
        problem = f"{path}: no watchlist's template: {error!r} (name it in kql/solution.yaml)"
        raise RuleError([problem]) from error
    if header != wanted:
        raise RuleError([f"{path}: columns {','.join(header)} (rules read {','.join(wanted)})"])
    return Watchlist(alias, description, text, wanted[0])


def _workbook(path: Path, words: Mapping[str, Mapping[str, str]]) -> Workbook:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        form, title = data["version"], words[path.stem]["title"]
        description = words[path.stem]["description"].strip()
        revision = str(words[path.stem]["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{path}: no workbook: {error!r} (name it in kql/solution.yaml)"
        raise RuleError([problem]) from error
    if form != "Notebook/1.0":
        raise RuleError([f"{path}: version {form!r} (a workbook is Notebook/1.0)"])
    return Workbook(path.stem, title, description, revision, path, data)


def _queries(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for item in data.get("items", []):
        content = item.get("content", {})
        if item.get("type") == _KQL_ITEM:
            yield str(item.get("name", "")), str(content["query"])
        elif item.get("type") == _GROUP:
            yield from _queries(content)
