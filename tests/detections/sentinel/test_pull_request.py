"""A pull request to the Azure-Sentinel repository: each file in its place, nothing else changed."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from mailvigil.errors import InputError, SettingsError
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.publisher import Publisher, load_publisher
from mailvigil.sentinel.pull_request import PullRequest, pull_request
from mailvigil.sentinel.pull_request_checks import pull_request_problems
from mailvigil.sentinel.repository_folder import (
    left_to_do,
    leftovers,
    with_rows,
    write_pull_request,
)

SETTINGS = """\
name: Contoso Security
email: support@contoso.example
link: https://contoso.example/support
"""
ROWS = "Workbooks/WorkbooksMetadata.json"
DATA = "Solutions/mailvigil/Data/Solution_mailvigil.json"
TABLE = ".script/tests/KqlvalidationsTests/CustomTables/M365Activity_CL.json"
PICTURES = ("mailvigilBlack.png", "mailvigilWhite.png")
REPOSITORYS = """\
[
\t{
\t\t"workbookKey": "Dns",
\t\t"version":  "1.3.0"
\t},
\t{ "workbookKey": "Other" }
]
"""
"""Rows of the repository, in its own hand."""


@pytest.fixture(scope="module")
def publisher(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    path = tmp_path_factory.mktemp("publisher") / "publisher.yaml"
    path.write_text(SETTINGS, encoding="utf-8")
    return load_publisher(path, pack.solution)


@pytest.fixture(scope="module")
def request_of_one_rule(pack: Pack, publisher: Publisher) -> PullRequest:
    [rule] = [r for r in pack.analytics if r.name == "caller_new_to_tenant"]
    return pull_request(replace(pack, analytics=(rule,), hunting=()), publisher)


@pytest.fixture
def checkout_of_theirs(tmp_path: Path) -> Path:
    """Return a folder that is laid out as the repository is."""
    for folder in ("Workbooks", "Tools/Create-Azure-Sentinel-Solution", "Solutions/Dns"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ROWS).write_bytes(REPOSITORYS.encode())
    (tmp_path / "Solutions/Dns/ReleaseNotes.md").write_bytes(b"theirs\r\n")
    return tmp_path


def names(place: Path) -> set[str]:
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def test_each_file_is_where_the_repository_wants_it(
    request_of_one_rule: PullRequest, tmp_path: Path
) -> None:
    write_pull_request(tmp_path / "new", request_of_one_rule)

    schemas = ".script/tests/KqlvalidationsTests"
    solution = "Solutions/mailvigil"
    assert names(tmp_path / "new") == {
        f"{schemas}/CustomFunctions/ApprovedMailCallers.json",
        f"{schemas}/CustomFunctions/AuditChanges.json",
        f"{schemas}/CustomFunctions/AuditRecords.json",
        f"{schemas}/CustomFunctions/MailItemsAccessed.json",
        f"{schemas}/CustomTables/M365Activity_CL.json",
        f"{schemas}/CustomTables/M365CallerBaseline_CL.json",
        f"{schemas}/CustomTables/M365FeedHealth_CL.json",
        "Logos/mailvigil.svg",
        f"{solution}/Analytic Rules/caller_new_to_tenant.yaml",
        f"{solution}/Data/Solution_mailvigil.json",
        f"{solution}/Package/3.0.0.zip",
        f"{solution}/Package/createUiDefinition.json",
        f"{solution}/Package/mainTemplate.json",
        f"{solution}/Package/testParameters.json",
        f"{solution}/Parsers/ApprovedMailCallers.yaml",
        f"{solution}/Parsers/AuditChanges.yaml",
        f"{solution}/Parsers/AuditRecords.yaml",
        f"{solution}/Parsers/MailItemsAccessed.yaml",
        f"{solution}/ReleaseNotes.md",
        f"{solution}/SolutionMetadata.json",
        f"{solution}/Watchlists/ApprovedMailCallers.json",
        f"{solution}/Workbooks/mailvigil.json",
        "Workbooks/Images/Logos/mailvigil.svg",
        ROWS,
    }


def test_the_publisher_is_in_each_file_that_names_one(request_of_one_rule: PullRequest) -> None:
    files = request_of_one_rule.files
    data = json.loads(files["Solutions/mailvigil/Data/Solution_mailvigil.json"])
    metadata = json.loads(files["Solutions/mailvigil/SolutionMetadata.json"])
    main = json.loads(files["Solutions/mailvigil/Package/mainTemplate.json"])
    support = {
        "name": "Contoso Security",
        "email": "support@contoso.example",
        "tier": "Community",
        "link": "https://contoso.example/support",
    }

    assert data["Author"] == "Contoso Security - support@contoso.example"
    assert data["Logo"].startswith(
        '<img src="https://raw.githubusercontent.com/Azure/Azure-Sentinel/master/Logos/mailvigil.svg"'
    )
    assert metadata["support"] == support
    assert main["variables"]["email"] == "support@contoso.example"
    assert main["resources"][-1]["properties"]["author"] == {
        "name": "Contoso Security",
        "email": "[variables('_email')]",
    }
    assert main["resources"][-1]["properties"]["support"] == support
    assert request_of_one_rule.rows[0]["provider"] == "Contoso Security"


def test_a_rule_template_has_its_sub_techniques_and_an_iso_lookback(
    request_of_one_rule: PullRequest,
) -> None:
    main = json.loads(request_of_one_rule.files["Solutions/mailvigil/Package/mainTemplate.json"])
    [rule] = [
        resource["properties"]["mainTemplate"]["resources"][0]
        for resource in main["resources"]
        if resource["properties"].get("contentKind") == "AnalyticsRule"
    ]

    assert rule["properties"]["techniques"] == ["T1114"]
    assert rule["properties"]["subTechniques"] == ["T1114.002"]
    grouping = rule["properties"]["incidentConfiguration"]["groupingConfiguration"]
    assert grouping["lookbackDuration"] == "P2D"
    assert "groupByEntities" not in grouping


def test_the_package_holds_the_two_files_as_they_lie_beside_it(
    request_of_one_rule: PullRequest,
) -> None:
    folder = "Solutions/mailvigil/Package"
    data = request_of_one_rule.files[f"{folder}/3.0.0.zip"]

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
        times = {info.date_time for info in archive.infolist()}

    assert held == {
        name: request_of_one_rule.files[f"{folder}/{name}"]
        for name in ("createUiDefinition.json", "mainTemplate.json")
    }
    assert times == {(1980, 1, 1, 0, 0, 0)}


def test_files_of_other_solutions_are_not_touched(
    request_of_one_rule: PullRequest, checkout_of_theirs: Path
) -> None:
    write_pull_request(checkout_of_theirs, request_of_one_rule)
    write_pull_request(checkout_of_theirs, request_of_one_rule)

    text = (checkout_of_theirs / ROWS).read_text(encoding="utf-8")
    start, end = REPOSITORYS.rsplit("\n]", 1)
    assert text.startswith(f'{start},\n\t{{\n\t\t"workbookKey": "mailvigilWorkbook",\n')
    assert text.endswith(f"\n\t}}\n]{end}")
    assert [row["workbookKey"] for row in json.loads(text)] == ["Dns", "Other", "mailvigilWorkbook"]
    assert (checkout_of_theirs / "Solutions/Dns/ReleaseNotes.md").read_bytes() == b"theirs\r\n"


def test_a_row_that_is_there_is_replaced_where_it_stands() -> None:
    text = '[{"workbookKey": "a", "version": "1"},\r\n {"workbookKey": "b"}]\r\n'

    changed = with_rows(text, [{"workbookKey": "a", "version": "2"}])

    assert changed == (
        '[{\r\n\t\t"workbookKey": "a",\r\n\t\t"version": "2"\r\n\t},\r\n {"workbookKey": "b"}]\r\n'
    )


@pytest.mark.parametrize("text", ["", "{}", '[{"workbookKey": "a"}', '[{"title": "a"}]', "[1]"])
def test_a_file_of_workbooks_that_cannot_be_read_is_left_alone(
    text: str, request_of_one_rule: PullRequest, checkout_of_theirs: Path
) -> None:
    (checkout_of_theirs / ROWS).write_text(text, encoding="utf-8")
    before = names(checkout_of_theirs)

    with pytest.raises(InputError, match="is not a list of workbooks"):
        write_pull_request(checkout_of_theirs, request_of_one_rule)

    assert names(checkout_of_theirs) == before
    assert (checkout_of_theirs / ROWS).read_text(encoding="utf-8") == text


def test_a_folder_of_something_else_is_refused(
    request_of_one_rule: PullRequest, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")

    with pytest.raises(InputError, match="is neither empty nor the repository"):
        write_pull_request(tmp_path, request_of_one_rule)

    assert names(tmp_path) == {"mine.txt"}


def test_what_is_left_for_a_person_is_listed_until_it_is_done(
    request_of_one_rule: PullRequest, checkout_of_theirs: Path
) -> None:
    write_pull_request(checkout_of_theirs, request_of_one_rule)
    old = "Solutions/mailvigil/Analytic Rules/gone.yaml"
    (checkout_of_theirs / old).write_text("id: x\n", encoding="utf-8")
    (checkout_of_theirs / "Solutions/mailvigil/Package/2.9.0.zip").write_bytes(b"")

    before = list(left_to_do(checkout_of_theirs, request_of_one_rule))
    previews = checkout_of_theirs / "Workbooks/Images/Preview"
    previews.mkdir()
    for name in PICTURES:
        (previews / name).write_bytes(b"PNG")
    after = list(left_to_do(checkout_of_theirs, request_of_one_rule))

    assert leftovers(checkout_of_theirs, request_of_one_rule) == [old]
    what = "take it of the workbook in a live workspace, in that theme"
    assert [line for line in before if line not in after] == [
        f"Workbooks/Images/Preview/{name}: {what}" for name in PICTURES
    ]
    assert after[0].startswith(f"{old}: this package does not bring it")
    assert [line for line in after if "copy the folder" in line] == []
    assert [line for line in after if "why queryPeriod is over 168 times" in line]
    assert after[-1].startswith("say what is not in it: summary rules: ")


def test_a_new_folder_has_to_be_copied_without_its_file_of_workbooks(
    request_of_one_rule: PullRequest, tmp_path: Path
) -> None:
    write_pull_request(tmp_path, request_of_one_rule)

    left = list(left_to_do(tmp_path, request_of_one_rule))

    assert [line for line in left if line.startswith("copy the folder into a checkout")]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("name: ''", "name is missing"),
        ("name: Contoso - Security", "name is missing, or has ' - ' in it"),
        ("email: contoso", "email is missing, or is not an address"),
        ("link: http://contoso.example", "link is missing, or does not begin with https://"),
        ("tier: partner", "tier is not one of Microsoft, Partner, Community"),
        ("publisherId: contoso", "publisherId of the tier Community is not microsoftsentinel"),
        ("publisherId: a-b", "publisherId is not of up to 50 small letters and digits"),
        ("offerId: mailvigil", "offerId is not of up to 50 small letters, with 'sentinel' in it"),
        ("color: red", "unknown setting color"),
    ],
)
def test_a_wrong_setting_of_the_publisher_is_named(
    change: str, problem: str, pack: Pack, tmp_path: Path
) -> None:
    key = change.partition(":")[0]
    kept = [line for line in SETTINGS.splitlines() if not line.startswith(f"{key}:")]
    path = tmp_path / "publisher.yaml"
    path.write_text("\n".join([*kept, change]), encoding="utf-8")

    with pytest.raises(SettingsError) as caught:
        load_publisher(path, pack.solution)

    assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n", "name: [\n"])
def test_a_file_that_is_not_settings_is_refused(text: str, pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "publisher.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InputError, match=r"publisher\.yaml: (holds no settings|is not YAML)"):
        load_publisher(path, pack.solution)


def test_the_check_names_what_the_pull_request_lacks(
    request_of_one_rule: PullRequest, tmp_path: Path
) -> None:
    write_pull_request(tmp_path, request_of_one_rule)
    text = (tmp_path / DATA).read_text(encoding="utf-8")
    (tmp_path / DATA).write_text(text.replace(" - support@contoso.example", ""), encoding="utf-8")
    (tmp_path / TABLE).unlink()

    problems = list(pull_request_problems(tmp_path, "mailvigil"))

    assert problems == [
        f"{DATA}: Author is not of the form 'name - e-mail'",
        f"{TABLE}: is missing, or does not describe M365Activity_CL",
        *(
            f"Workbooks/Images/Preview/{name}: is missing (take it in a live workspace)"
            for name in PICTURES
        ),
    ]


def test_a_rule_of_another_solution_with_our_name_or_id_is_named(
    request_of_one_rule: PullRequest, checkout_of_theirs: Path, pack: Pack
) -> None:
    write_pull_request(checkout_of_theirs, request_of_one_rule)
    [number] = [rule.id for rule in pack.analytics if rule.name == "caller_new_to_tenant"]
    theirs = checkout_of_theirs / "Solutions/Dns/Analytic Rules"
    theirs.mkdir()
    (theirs / "caller_new_to_tenant.yaml").write_text("id: x\n", encoding="utf-8")
    (theirs / "Other.yaml").write_text(f"name: x\nid: {number.upper()}\n", encoding="utf-8")
    (theirs / "Third.yaml").write_bytes(b"\xff id: odd")

    problems = list(pull_request_problems(checkout_of_theirs, "mailvigil"))

    ours, folder = "Solutions/mailvigil/Analytic Rules", "Solutions/Dns/Analytic Rules"
    name = "caller_new_to_tenant"
    assert problems[-2:] == [
        f"{folder}/Other.yaml: has the id of {name} (give ours another)",
        f"{ours}/{name}.yaml: {folder}/{name}.yaml has its name (rename ours)",
    ]
