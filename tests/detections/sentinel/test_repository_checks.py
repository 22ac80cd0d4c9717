"""The checks of the Azure-Sentinel repository, built again, over the pull request that is written.

Source: the repository's ``.script`` (``SolutionValidations``, ``utils/workbookCheckers``,
``utils/LogoChecker``, ``utils/schemas``, ``tests/detectionTemplateSchemaValidation``,
``tests/NonAsciiValidationsTests``, ``tests/KqlvalidationsTests``) and the packaging tool in
``Tools/Create-Azure-Sentinel-Solution``. Nothing here asks the product's own checks.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailvigil.compiler.parser import Validator
from mailvigil.rules.content import Function
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.publisher import Publisher
from mailvigil.sentinel.pull_request import pull_request
from mailvigil.sentinel.repository_folder import write_pull_request
from mailvigil.tables.schemas import OWN_TABLES, schemas

SOLUTION = "Solutions/mailvigil"
MAIN = f"{SOLUTION}/Package/mainTemplate.json"
PAGE = f"{SOLUTION}/Package/createUiDefinition.json"
DATA = f"{SOLUTION}/Data/Solution_mailvigil.json"
RULE = f"{SOLUTION}/Analytic Rules/caller_new_to_tenant.yaml"
NRT = f"{SOLUTION}/Analytic Rules/mailbox_audit_bypass.yaml"
BOOK = f"{SOLUTION}/Workbooks/mailvigil.json"
ROWS = "Workbooks/WorkbooksMetadata.json"
LOGO = "Logos/mailvigil.svg"
SCHEMAS = ".script/tests/KqlvalidationsTests"

DOMAINS = {
    "Application", "Cloud Provider", "Compliance", "DevOps", "Identity",
    "Internet of Things (IoT)", "IT Operations", "Migration", "Networking", "Platform",
    "Security - Others", "Security - Threat Intelligence", "Security - Threat Protection",
    "Security - 0-day Vulnerability", "Security - Automation (SOAR)", "Security - Cloud Security",
    "Security - Information Protection", "Security - Insider Threat", "Security - Network",
    "Security - Vulnerability Management", "Storage", "Training and Tutorials",
    "User Behavior (UEBA)",
}  # fmt: skip
TACTICS = {
    "InitialAccess", "Execution", "Persistence", "PrivilegeEscalation", "DefenseEvasion",
    "CredentialAccess", "Discovery", "LateralMovement", "Collection", "Exfiltration",
    "CommandAndControl", "Impact", "Reconnaissance", "ResourceDevelopment",
    "ImpairProcessControl", "InhibitResponseFunction",
}  # fmt: skip
SERVES = {
    "T1078": {"InitialAccess", "Persistence", "PrivilegeEscalation", "DefenseEvasion"},
    "T1098": {"Persistence"},
    "T1114": {"Collection"},
    "T1528": {"CredentialAccess"},
    "T1550": {"DefenseEvasion", "LateralMovement"},
    "T1557": {"CredentialAccess", "Collection"},
    "T1562": {"DefenseEvasion"},
    "T1606": {"CredentialAccess"},
}
"""Of ``KillChainTechniquesHelper`` those that our content may name."""

CONNECTORS = {"AzureActiveDirectory", "MicrosoftThreatProtection", "Office365"}
"""Of ``ValidConnectorIds.json`` those that our content may name."""

IDENTIFIERS: Mapping[str, tuple[set[str], list[set[str]]]] = {
    "Account": ({"Name", "FullName", "NTDomain", "UPNSuffix", "Sid", "AadUserId", "ObjectGuid"},
                [{"FullName"}, {"Sid"}, {"Name"}, {"AadUserId"}, {"PUID"}, {"ObjectGuid"}]),
    "CloudApplication": ({"AppId", "Name", "InstanceName"}, [{"AppId"}, {"Name"}]),
    "Host": ({"DnsDomain", "NTDomain", "HostName", "FullName", "NetBiosName"},
             [{"FullName"}, {"HostName"}, {"NetBiosName"}]),
    "IP": ({"Address"}, [{"Address"}]),
    "Mailbox": ({"MailboxPrimaryAddress", "DisplayName", "Upn"}, [{"MailboxPrimaryAddress"}]),
    "MailMessage": ({"Recipient", "Sender", "NetworkMessageId", "InternetMessageId", "Subject"},
                    [{"NetworkMessageId"}, {"Recipient"}]),
}  # fmt: skip
"""Of ``EntityMappingIdentifiers``: identifiers of an entity, and which of them one must have."""

ROW_KEYS: Mapping[str, type] = {
    "workbookKey": str, "logoFileName": str, "description": str, "dataTypesDependencies": list,
    "dataConnectorsDependencies": list, "previewImagesFileNames": list, "version": str,
    "title": str, "templateRelativePath": str, "subtitle": str, "provider": str,
}  # fmt: skip
MORE_ROW_KEYS = {"featureFlag", "source", "author", "support", "categories"}

COLUMN = re.compile(r"^[a-zA-Z_]+\w*$", re.ASCII)


class StrictLoader(yaml.SafeLoader):
    """js-yaml's ``safeLoad`` refuses a key that stands twice, and PyYAML does not."""


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[object, object]:
    keys = Counter(str(key.value) for key, _ in node.value)
    repeated = [key for key, count in keys.items() if count > 1]
    if repeated:
        msg = f"duplicated mapping key {repeated}"
        raise ValueError(msg)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    return json.loads(path.read_text(encoding="utf-8"))


def strict_yaml(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    return yaml.load(path.read_text(encoding="utf-8"), StrictLoader)  # noqa: S506 - a safe one


def every_file_can_be_parsed(root: Path) -> Iterator[str]:
    """``jsonFileValidator`` and ``yamlFileValidator``."""
    for path in root.rglob("*"):
        parse = {".json": load_json, ".yaml": strict_yaml}.get(path.suffix)
        try:
            if parse:
                parse(path)
        except (ValueError, yaml.YAMLError) as error:
            yield f"{path.name}: {error}"


def solution_id(root: Path) -> Iterator[str]:
    """``validSolutionID``."""
    number = load_json(root / MAIN).get("variables", {}).get("solutionId", "")
    if not re.fullmatch(r"[^.]+\.[^.]+", number) or number != number.lower():
        yield f"solutionId {number!r}"


def domains_and_support(root: Path) -> Iterator[str]:
    """``validDomainsVerticals`` and ``validSupportObject``, of metadata and of the package."""
    kinds = ("metadata", "contentPackages")
    resources = [
        r for r in load_json(root / MAIN)["resources"] if r["type"].rsplit("/", 1)[-1] in kinds
    ]
    if not resources:
        yield "there are no metadata resources"
    for resource in resources:
        properties = resource["properties"]
        support = properties["support"]
        if not support["name"].strip() or support["tier"] not in {
            "Microsoft", "Partner", "Community",
        }:  # fmt: skip
            yield "support without name or tier"
        if not re.fullmatch(r"[^\s@]+@[^\s@]+\.[^\s@]+", support["email"]):
            yield "invalid e-mail"
        if not re.fullmatch(r"https?://\S+", support["link"]):
            yield "invalid link"
        categories = properties.get("categories", {"domains": ["Application"]})
        if not categories["domains"] or set(categories["domains"]) - DOMAINS:
            yield "invalid domains"


def branding(root: Path) -> Iterator[str]:
    """``validMSBranding``."""
    for name in (MAIN, PAGE):
        for match in re.finditer(
            r"(?<!Microsoft\s)(?<!-)\bSentinel\b", (root / name).read_text(encoding="utf-8")
        ):
            yield f"{name}: Sentinel without Microsoft at {match.start()}"


def links_without_locale(root: Path) -> Iterator[str]:
    """``documentsLinkValidator``."""
    pattern = re.compile(r"https://(docs|azure)\.microsoft\.com/[a-z]{2}-[a-z]{2}", re.IGNORECASE)
    for path in (root / SOLUTION).rglob("*"):
        if path.suffix in {".json", ".yaml", ".md"} and pattern.search(
            path.read_text(encoding="utf-8")
        ):
            yield path.name


def rows_of_workbooks(root: Path) -> Iterator[str]:
    """``workbooksMetadataSchema.json`` and the six checkers of workbooks' metadata."""
    rows = load_json(root / ROWS)
    if len({row.get("workbookKey") for row in rows}) != len(rows):
        yield "keys must be unique"
    for row in rows:
        if set(row) - set(ROW_KEYS) - MORE_ROW_KEYS or set(ROW_KEYS) - set(row):
            yield "invalid schema"
            continue
        yield from (
            f"{k} of a wrong type" for k, kind in ROW_KEYS.items() if type(row[k]) is not kind
        )
        if "" in {*row["dataTypesDependencies"], *row["dataConnectorsDependencies"]}:
            yield "an empty dependency"
        yield from _pictures(root, row)


def _pictures(root: Path, row: Mapping[str, Any]) -> Iterator[str]:
    names = row["previewImagesFileNames"]
    dark = [name for name in names if re.search("[Bb]lack|[Dd]ark", name)]
    light = [name for name in names if re.search("[Ww]hite|[Ll]ight", name)]
    if not dark or not light or set(names) != {*dark, *light}:
        yield "previews of both themes"
    for name in names:
        if not name.lower().endswith(".png"):
            yield "all preview images must be png files"
        if not (root / "Workbooks/Images/Preview" / name).is_file():
            yield f"can't locate preview image file {name}"
    if not (root / "Workbooks/Images/Logos" / row["logoFileName"]).is_file():
        yield "can't locate logo image file"


def templates_of_workbooks(root: Path) -> Iterator[str]:
    """``fromTemplateIdChecker``, ``containResourceInfoChecker``, and the guide's five keys."""
    for path in (root / SOLUTION / "Workbooks").glob("*.json"):
        text, book = path.read_text(encoding="utf-8"), load_json(path)
        if book["version"] != "Notebook/1.0" or "schema/workbook.json" not in book["$schema"]:
            yield "not a workbook"
        if not re.fullmatch(r"sentinel-(?!UserWorkbook)\S+", book["fromTemplateId"]):
            yield "fromTemplateId"
        if book.get("fallbackResourceIds", []) != [] or not book["items"]:
            yield "fallbackResourceIds, or no items"
        if re.search(r"subscriptions/[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
            yield "contains info of a resource"


def logos(root: Path) -> Iterator[str]:
    """``logoImageChecker`` and ``logoImageSVGChecker``."""
    for folder in ("Logos", "Workbooks/Images/Logos"):
        for path in (root / folder).glob("*"):
            text = path.read_text(encoding="utf-8")
            if path.suffix != ".svg" or path.stat().st_size > 5 * 1024:
                yield f"{folder}: an SVG of up to 5 KB"
            illegal = ("style=", "cls=", "xmlns:xlink", "data-name", "xlink:href", "<title>")
            yield from (f"{folder}: has {word}" for word in illegal if word in text)
            for number in re.findall(r'id="([^"]*)', text):
                try:
                    uuid.UUID(number)
                except ValueError:
                    yield f"{folder}: id is not a GUID"


def ascii_alone(root: Path) -> Iterator[str]:
    """``NonAsciiValidationsTests``."""
    for path in (root / SOLUTION).rglob("*.yaml"):
        if not path.read_bytes().isascii():
            yield path.name


def rules(root: Path) -> Iterator[str]:
    """``detectionTemplateSchemaValidation``, and that files and ids stand once."""
    loaded = {p.name: strict_yaml(p) for p in (root / SOLUTION / "Analytic Rules").glob("*")}
    if len({rule["id"] for rule in loaded.values()}) != len(loaded):
        yield "no same template id twice"
    for name, rule in loaded.items():
        try:
            uuid.UUID(rule["id"])
            yield from (f"{name}: {fault}" for fault in (*_rule(rule), *_mappings(rule)))
            if rule["kind"] == "Scheduled":
                yield from (f"{name}: {fault}" for fault in _schedule(rule))
        except (KeyError, ValueError) as error:
            yield f"{name}: {error!r}"


def _rule(rule: Mapping[str, Any]) -> Iterator[str]:
    connectors = {connector["connectorId"] for connector in rule["requiredDataConnectors"]}
    details = rule.get("customDetails", {})
    limits = (
        (rule["kind"] in {"Scheduled", "NRT"}, "kind"),
        (0 < len(rule["name"]) <= 256, "name"),
        (0 < len(rule["description"]) <= 5_000, "description"),
        (0 < len(rule["query"]) <= 10_000, "query"),
        (rule["severity"] in {"Informational", "Low", "Medium", "High"}, "severity"),
        (rule["status"] in {"Available", "InPreview", "Deprecated"}, "status"),
        (re.fullmatch(r"\d+\.\d+\.\d+", rule["version"]), "version"),
        (connectors <= CONNECTORS, "connectors"),
        (set(rule["tactics"]) <= TACTICS, "tactics"),
        (len(details) <= 20, "custom details"),
        (all(re.fullmatch(r"[a-zA-Z]+\w*", k) and len(k) <= 20 for k in details), "detail's key"),
        (all(COLUMN.match(v) and len(v) <= 500 for v in details.values()), "detail's column"),
        (not re.search("(Account|Host|IP|URL)CustomEntity", rule["query"]), "old mapping"),
        ("metadata" not in rule, "metadata is for standalone files"),
    )
    yield from (what for right, what in limits if not right)
    for number in rule["relevantTechniques"]:
        if not SERVES[number.split(".")[0]] & set(rule["tactics"]):
            yield f"no valid tactic for {number}"
    override = rule["alertDetailsOverride"]
    for key, most in (("alertDisplayNameFormat", 256), ("alertDescriptionFormat", 5_000)):
        if len(override[key]) > most or len(re.findall(r"\{\{\w+\}\}", override[key])) > 3:
            yield key
    lookback = rule["incidentConfiguration"]["groupingConfiguration"]["lookbackDuration"]
    if not re.fullmatch(r"P\d+D|PT\d+[HM]", lookback):
        yield "the packaging tool copies lookbackDuration as it is: it is not ISO 8601"


def _schedule(rule: Mapping[str, Any]) -> Iterator[str]:
    units = {"m": "minutes", "h": "hours", "d": "days"}
    period, frequency = (
        timedelta(**{units[rule[key][-1]]: int(rule[key][:-1])})
        for key in ("queryPeriod", "queryFrequency")
    )
    least, most = timedelta(minutes=5), timedelta(days=14)
    if not least <= frequency <= period <= most:
        yield "queryPeriod and queryFrequency"
    if period >= timedelta(days=2) and frequency < timedelta(hours=1):
        yield "frequency limitation for a long period"
    if rule["triggerOperator"] not in {"gt", "lt", "eq", "ne"}:
        yield "triggerOperator"
    if not 0 <= rule["triggerThreshold"] <= 10_000:
        yield "triggerThreshold"


def _mappings(content: Mapping[str, Any]) -> Iterator[str]:
    if not 1 <= len(content["entityMappings"]) <= 10:
        yield "entity mappings"
    for mapping in content["entityMappings"]:
        identifiers, needed = IDENTIFIERS[mapping["entityType"]]
        fields = mapping["fieldMappings"]
        used = {field["identifier"] for field in fields}
        if len(used) != len(fields) or not 1 <= len(used) <= 3 or used - identifiers:
            yield f"identifiers of {mapping['entityType']}"
        if not any(combination <= used for combination in needed):
            yield f"missing required identifiers of {mapping['entityType']}"
        if not all(COLUMN.match(field["columnName"]) for field in fields):
            yield f"column of {mapping['entityType']}"


def hunting_queries(root: Path) -> Iterator[str]:
    """The guide for hunting queries, which no schema of the repository holds."""
    for path in (root / SOLUTION / "Hunting Queries").glob("*"):
        query = strict_yaml(path)
        uuid.UUID(query["id"])
        yield from (f"{path.name}: {fault}" for fault in _mappings(query))
        if len(query["name"]) > 50 or query["name"].endswith("."):
            yield f"{path.name}: name"
        if len(query["description"]) > 255 or not query["description"].startswith("This query"):
            yield f"{path.name}: description"


def wording_of_rules(root: Path) -> Iterator[str]:
    """The guide for analytics rules."""
    for path in (root / SOLUTION / "Analytic Rules").glob("*"):
        rule = strict_yaml(path)
        if len(rule["name"]) > 50 or rule["name"].endswith("."):
            yield f"{path.name}: name"
        if len(rule["description"]) > 255 or not rule["description"].startswith("Identifies"):
            yield f"{path.name}: description"


def data_of_the_solution(root: Path) -> Iterator[str]:
    """The guide for ``Solution_*.json``, and what the packaging tool does with it."""
    data = load_json(root / DATA)
    if not re.fullmatch(r"[a-zA-Z0-9 ]{1,100}", data["Name"]) or data["Name"] != "mailvigil":
        yield "Name"
    if not re.fullmatch(r"(.+?)\s*-\s*([^@\s]+@[^@\s]+\.[^@\s]+)", data["Author"]):
        yield "Author"
    source = "https://raw.githubusercontent.com/Azure/Azure-Sentinel/master/"
    logo = re.fullmatch(
        rf'<img src="{source}(Logos/[^"]+)" width="75px" height="75px">', data["Logo"]
    )
    if not logo or not (root / logo[1]).is_file():
        yield "Logo"
    if not re.fullmatch(r"3\.\d+\.\d+", data["Version"]) or data["TemplateSpec"] is not True:
        yield "Version, or TemplateSpec"
    if data["Metadata"] != "SolutionMetadata.json" or data["Is1PConnector"] is not False:
        yield "Metadata, or Is1PConnector"
    for names in (value for value in data.values() if isinstance(value, list)):
        yield from (name for name in names if not (root / SOLUTION / name).is_file())


def release_notes(root: Path) -> Iterator[str]:
    """The guide for ``ReleaseNotes.md``."""
    head, _, *rows = (root / SOLUTION / "ReleaseNotes.md").read_text(encoding="utf-8").splitlines()
    if head != "| **Version** | **Date Modified (DD-MM-YYYY)** | **Change History** |" or not rows:
        yield "head, or no rows"
    for row in rows:
        if not re.fullmatch(r"\| \d+\.\d+\.\d+ \| \d\d-\d\d-\d{4} \| \S.* \|", row):
            yield row


def no_empty_arrays(root: Path) -> Iterator[str]:
    """arm-ttk, "Template Should Not Contain Blanks"; the tool replaces them by a variable."""
    for name in (MAIN, PAGE):
        if [] in list(_parts(load_json(root / name))):
            yield name


def _parts(value: object) -> Iterator[object]:
    yield value
    for part in value.values() if isinstance(value, dict) else ():
        yield from _parts(part)
    for part in value if isinstance(value, list) else ():
        yield from _parts(part)


RepositoryCheck = Callable[[Path], Iterator[str]]

CHECKS: tuple[RepositoryCheck, ...] = (
    every_file_can_be_parsed, solution_id, domains_and_support, branding, links_without_locale,
    rows_of_workbooks, templates_of_workbooks, logos, ascii_alone, rules, hunting_queries,
    wording_of_rules, data_of_the_solution, release_notes, no_empty_arrays,
)  # fmt: skip


@pytest.fixture(scope="module")
def written(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the whole pull request, with the pictures that a person adds."""
    root = tmp_path_factory.mktemp("repository")
    publisher = Publisher(
        name="Contoso Security",
        email="support@contoso.example",
        link="https://contoso.example/support",
        tier="Community",
        id="microsoftsentinelcommunity",
        offer="azure-sentinel-solution-mailvigil",
    )
    request = pull_request(pack, publisher)
    write_pull_request(root, request)
    for picture in request.pictures:
        (root / picture).parent.mkdir(parents=True, exist_ok=True)
        (root / picture).write_bytes(b"PNG")
    return root


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_repositorys_check_passes(
    check: Callable[[Path], Iterator[str]], written: Path
) -> None:
    assert list(check(written)) == []


def test_every_rule_and_query_of_the_content_is_in_the_pull_request(
    pack: Pack, written: Path
) -> None:
    folder = written / SOLUTION
    assert len(list((folder / "Analytic Rules").iterdir())) == len(pack.analytics) > 20
    assert len(list((folder / "Hunting Queries").iterdir())) == len(pack.hunting) > 5


@dataclass(frozen=True, slots=True)
class Fault:
    """A change to one file of the pull request, and the check that must see it."""

    check: RepositoryCheck
    file: str
    old: str
    new: str


FAULTS = (
    Fault(every_file_can_be_parsed, RULE, "severity:", "name: x\nseverity:"),
    Fault(every_file_can_be_parsed, DATA, "{", ""),
    Fault(solution_id, MAIN, '"solutionId": "microsoft', '"solutionId": "Microsoft'),
    Fault(domains_and_support, MAIN, "support@contoso.example", "nobody"),
    Fault(domains_and_support, MAIN, "Security - Threat Protection", "Security - Mail"),
    Fault(branding, MAIN, "Microsoft Sentinel", "Azure Sentinel"),
    Fault(links_without_locale, PAGE, "https://learn.microsoft.com/azure",
          "https://docs.microsoft.com/en-us/azure"),
    Fault(rows_of_workbooks, ROWS, '"subtitle": "",', ""),
    Fault(rows_of_workbooks, ROWS, "mailvigilBlack.png", "mailvigil.png"),
    Fault(rows_of_workbooks, ROWS, "mailvigil.svg", "other.svg"),
    Fault(templates_of_workbooks, BOOK, "sentinel-", "mine-"),
    Fault(logos, LOGO, "<svg", '<svg style="x"'),
    Fault(ascii_alone, RULE, "Identifies", "Identifi\u00e9s"),
    Fault(rules, RULE, "queryFrequency: 1h", "queryFrequency: 30m"),
    Fault(rules, RULE, "queryPeriod: 14d", "queryPeriod: 15d"),
    Fault(rules, RULE, "lookbackDuration: P2D", "lookbackDuration: 2d"),
    Fault(rules, RULE, "- T1114.002", "- T1562.008"),
    Fault(rules, RULE, "connectorId: Office365", "connectorId: M365ActivityFeed"),
    Fault(rules, RULE, "identifier: MailboxPrimaryAddress", "identifier: Upn"),
    Fault(rules, NRT, "severity: ", "severity: Very"),
    Fault(hunting_queries, f"{SOLUTION}/Hunting Queries/messages_read.yaml",
          "identifier: Recipient", "identifier: Sender"),
    Fault(hunting_queries, f"{SOLUTION}/Hunting Queries/messages_read.yaml",
          "description: This query searches for", "description: Lists"),
    Fault(wording_of_rules, RULE, "description: Identifies", "description: Detects"),
    Fault(data_of_the_solution, DATA, " - support@contoso.example", ""),
    Fault(data_of_the_solution, DATA, "Azure/Azure-Sentinel/master", "mailvigil/mailvigil/v1"),
    Fault(release_notes, f"{SOLUTION}/ReleaseNotes.md", "| 30-11-2026 |", "| 2026-11-30 |"),
    Fault(no_empty_arrays, MAIN, '"groupByCustomDetails"',
          '"groupByEntities": [], "groupByCustomDetails"'),
)  # fmt: skip


@pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda fault: f"{fault.check.__name__}-{fault.new[:9]}"
)
def test_a_check_that_is_built_again_sees_a_fault(
    fault: Fault, written: Path, tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(written, root)
    text = (root / fault.file).read_text(encoding="utf-8")
    assert fault.old in text
    (root / fault.file).write_text(text.replace(fault.old, fault.new), encoding="utf-8")

    assert list(fault.check(root)) != []


def test_every_check_that_is_built_again_is_seen_to_fail() -> None:
    assert {fault.check for fault in FAULTS} == set(CHECKS)


def columns(listed: list[Mapping[str, str]]) -> dict[str, str]:
    return {column["Name"]: column["Type"].lower() for column in listed}


def test_each_query_is_known_by_the_schemas_that_come_with_it(written: Path) -> None:
    """``KqlvalidationsTests``: own tables and functions are known by their JSON files alone."""
    tables = dict(schemas())
    for name in OWN_TABLES:
        schema = load_json(written / SCHEMAS / "CustomTables" / f"{name}.json")
        tables[schema["Name"]] = columns(schema["Properties"])
    functions = []
    for path in (written / SCHEMAS / "CustomFunctions").glob("*.json"):
        schema = load_json(path)
        declared = ", ".join(
            f"{n}:{k}" for n, k in columns(schema["FunctionResultColumns"]).items()
        )
        parameters = ",".join(
            f"{p['Name']}:{p['Type'].lower()}={p['Type'].lower()}(null)"
            for p in schema["FunctionParameters"]
        )
        body = f"datatable({declared})[]"
        functions.append(Function(schema["FunctionName"], body, path, 1, parameters))
    queries = {
        path.name: strict_yaml(path)["query"]
        for folder in ("Analytic Rules", "Hunting Queries")
        for path in (written / SOLUTION / folder).glob("*.yaml")
    }

    with Validator(()) as validator:
        validator.declare(functions, tables)
        said = {name: validator.analyse(query).diagnostics for name, query in queries.items()}

    assert said == dict.fromkeys(queries, ())
