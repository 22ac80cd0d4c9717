"""``docs/deploy.md`` followed step by step, with the lab and a made-up Azure in Azure's place."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from azure.identity import ClientSecretCredential

from audit_feed.clouds import CLOUDS
from audit_feed.feed.subscriptions import STOPPED
from detections.collect.conftest import TYPES, config, publish, run
from infra.conftest import CHECKOUT, Azure
from infra.page import BLOCKS, PAGE, STEPS
from mailvigil.infra.function_package import app_sources
from mailvigil.infra.problems import COLLECTOR, CONTENT, RULES
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import LabOptions, TenantOptions
from mailvigil.rules.content import load_functions

pytestmark = pytest.mark.posix

QUERIES = [text for kind, text in BLOCKS if kind == "kusto"]
HEALTHY = TenantOptions()
BARE = replace(HEALTHY, roles=())
GRAPH = "https://graph.microsoft.com"
OTHER = "0ce50a11-7ab5-4f00-8000-00000000dead"


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table below *heading*, without its own heading."""
    below = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = below.partition("\n|")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def follow(
    azure: Azure, lab: Lab, steps: Sequence[str] = STEPS, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Type every step into one shell, which ends at the first that fails.

    Microsoft Graph is the lab's, asked as the application that administers its tenant.
    """
    tenant = lab.tenants[0]
    azure.begin(
        identity=tenant.object_id,
        tokens={GRAPH: lab_token(lab, tenant.admin_id, tenant.admin_secret)},
        graph=lab.url,
        ca=str(lab.ca),
    )
    program = azure.folder / "mailvigil"
    program.write_text(
        f'#!/bin/sh\n[ "$1" != tenant ] || set -- "$@" --graph "{lab.url}" --ca "{lab.ca}"\n'
        f'exec "{sys.executable}" -P -m mailvigil "$@"\n'
    )
    program.chmod(0o755)
    (sleep := azure.folder / "sleep").write_text("#!/bin/sh\n")
    sleep.chmod(0o755)
    typed = "\n".join(steps)
    return subprocess.run(
        ["bash", "-veuo", "pipefail", "-c", typed],  # noqa: S607 - as a user's shell
        env=azure.environment() | environment, cwd=azure.folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def lab_token(lab: Lab, client_id: str, secret: str) -> str:
    """Return a token for Microsoft Graph."""
    with ClientSecretCredential(
        lab.tenants[0].id,
        client_id,
        secret,
        authority=lab.url,
        disable_instance_discovery=True,
        connection_verify=str(lab.ca),
    ) as who:
        return who.get_token(f"{GRAPH}/.default").token


@contextmanager
def checkout(folder: Path, tenant: TenantOptions | None = None) -> Iterator[Lab]:
    """Make a folder as a user has it: the checkout's infra/, and collect.yaml of a lab."""
    (folder / "infra").symlink_to(CHECKOUT / "infra")
    with Lab(LabOptions(tenants=(tenant or HEALTHY,))) as lab:
        publish(lab)
        config(lab, folder)
        yield lab


def test_every_step_of_the_page_works(azure: Azure) -> None:
    with checkout(azure.folder, BARE) as lab:
        done = follow(azure, lab)
        assert done.returncode == 0, done.stdout + done.stderr
        delivered = lab.rows("SELECT count(*) FROM M365Activity_CL")
        changes = [name.split()[0] for name in lab.counts.asked("graph")]

    [group] = azure.state["deleted"]
    assert delivered == [(30,)]
    assert "WRONG" not in done.stdout
    assert group["code"] == sorted(app_sources())
    assert "mailvigil collector has ActivityFeed.Read\n" in done.stdout
    assert [method for method in changes if method != "GET"] == ["POST", "DELETE"]


def test_three_calls_by_hand_give_the_permission_and_fail_where_they_cannot(azure: Azure) -> None:
    [calls] = [text for kind, text in BLOCKS if kind == "bash"]
    with checkout(azure.folder, BARE) as lab:
        tenant = lab.tenants[0]
        app = lab.directory.tenants[tenant.id].apps[tenant.client_id]
        first, again = (follow(azure, lab, [calls], identity=tenant.object_id) for _ in "12")

        assert calls.count("az rest ") == 3
        assert (first.returncode, app.roles) == (0, {"ActivityFeed.Read"}), first.stderr
        assert again.returncode == 1
        assert "already exists" in again.stderr
        lab.directory.tenants[tenant.id].feed_api = False
        assert "Not Found" in follow(azure, lab, [calls], identity=tenant.object_id).stderr


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_page_returns_each_content_type(tmp_path: Path, query: str) -> None:
    with checkout(tmp_path) as lab:
        path = config(lab, tmp_path)
        assert run("collect", "--once", "--config", path).code == 0
        lab.checkpoint()
        ran = run("query", query, "--workspace", lab.workspace, "--format", "csv")

    assert ran.code == 0, ran.err
    assert all(kind in ran.out for kind in TYPES)


AFTER_TEN_MINUTES = re.findall(
    r"^```kusto\n(.*?)^```$",
    PAGE.partition("### After ten minutes\n")[2].partition("\n### ")[0],
    re.MULTILINE | re.DOTALL,
)


def answers(lab: Lab) -> list[dict[str, list[str]]]:
    """Return of each of the three queries the values of each column."""
    lab.checkpoint()
    found = []
    for query in AFTER_TEN_MINUTES:
        ran = run("query", query, "--workspace", lab.workspace, "--format", "csv")
        assert ran.code == 0, ran.err
        rows = list(csv.DictReader(io.StringIO(ran.out)))
        found.append({name: [row[name] for row in rows] for name in rows[0]})
    return found


def test_three_queries_say_that_it_works_and_when_rows_are_lost(tmp_path: Path) -> None:
    with checkout(tmp_path) as lab:
        assert run("collect", "--once", "--config", config(lab, tmp_path)).code == 0
        beats, rows, sent = answers(lab)
        lab.rows("DELETE FROM M365Activity_CL WHERE RecordId = 'record-1'")
        _, _, less = answers(lab)

    assert sorted(beats["ContentType"]) == sorted(rows["ContentType"]) == sorted(TYPES)
    assert {*beats["HoursLost"]} == {"0"}
    assert all(int(minutes) <= 10 for minutes in beats["MinutesAgo"])
    assert sum(map(int, rows["Rows"])) == sum(map(int, sent["Sent"])) == 30
    assert {*sent["Missing"]} == {"0"}
    assert max(less["Missing"]) == "1"


def test_the_buttons_lead_to_the_templates_and_the_form_of_this_version() -> None:
    links = re.findall(r"\(https://portal\.azure\.com/#create/Microsoft\.Template/([^)]+)\)", PAGE)
    addresses = [unquote(part) for link in links for part in link.split("/")[1::2]]
    place = f"https://raw.githubusercontent.com/mailvigil/mailvigil/v{version('mailvigil')}/infra/"

    assert addresses == [
        f"{place}{name}" for name in (COLLECTOR, "createUiDefinition.json", CONTENT, RULES)
    ]
    for address in addresses:
        assert (CHECKOUT / "infra" / address.rpartition("/")[2]).is_file()


def test_nothing_that_is_fetched_is_named_by_a_branch() -> None:
    folders = ("docs", "infra", "detections/mailvigil", ".github")
    texts = {
        path: path.read_text(encoding="utf-8")
        for folder in folders
        for path in (CHECKOUT / folder).rglob("*")
        if path.suffix in {".md", ".json", ".sh", ".ps1", ".py", ".yml", ".yaml"}
    }
    branch = re.compile(
        r"mailvigil/mailvigil(/|%2F|\.git)?(raw|blob|tree)?(/|%2F)(main|master|HEAD)"
    )

    assert [path for path, text in texts.items() if branch.search(text)] == []
    assert f"git clone --branch v{version('mailvigil')} " in PAGE


def test_the_rules_come_after_every_function_is_known(azure: Azure) -> None:
    functions = {path.stem for path in (CHECKOUT / "kql" / "functions").glob("*.yaml")}
    [waits] = [step for step in STEPS if step.startswith("until ")]
    order = [step for step in STEPS if re.search("content.json|^until|rules.json", step)]

    query = waits.partition("'")[2].partition("'")[0]
    assert functions == {*re.findall(r"[A-Z]\w+", query)}
    # A form from before an upgrade takes no span, and must not be taken for the new one.
    assert [f"{f.name}(1d" in query for f in load_functions(CHECKOUT) if f.parameters] == [True] * 3
    assert order.index(waits) == 1
    assert "content.json" in order[0]
    assert "rules.json" in order[2]
    with checkout(azure.folder, BARE) as lab:
        without = [step for step in STEPS if step != waits]
        done = follow(azure, lab, without)
    assert done.returncode == 1
    assert "Failed to run the analytics rule query" in done.stderr


def test_every_parameter_that_the_page_names_is_in_a_template() -> None:
    known = {
        parameter
        for name in (COLLECTOR, CONTENT, RULES)
        for parameter in json.loads((CHECKOUT / "infra" / name).read_text(encoding="utf-8"))[
            "parameters"
        ]
    }
    named = {*re.findall(r"`([a-z]+(?:[A-Z][a-z]+)+)`", PAGE)}

    assert len(named) > 6
    assert named <= known


def test_the_page_names_the_clouds_of_the_collector() -> None:
    assert [row[1].strip("`") for row in table("Government clouds")] == [*CLOUDS]
    for name, (_, _, azure_cloud, _) in zip(CLOUDS, table("Government clouds"), strict=True):
        government = CLOUDS[name].login.endswith(".us")
        assert azure_cloud == ("AzureUSGovernment" if government else "AzureCloud")


# --- What a user sees when it does not work -----------------------------------------------------


def changed(path: Path, **credential: object) -> None:
    data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    data["tenants"][0]["credential"] |= credential
    path.write_text(yaml.safe_dump(data), encoding="utf-8")


FAULTY: Mapping[str, TenantOptions] = {
    "no permission": replace(HEALTHY, roles=()),
    "no subscription": replace(HEALTHY, subscribed=()),
    "no content": HEALTHY,
    "no role": replace(HEALTHY, granted=False),
}


def doctor_output(folder: Path) -> str:
    """Return what the doctor prints for tenants with every fault."""
    said = []
    for number, tenant in enumerate(FAULTY.values()):
        with Lab(LabOptions(tenants=(tenant,))) as lab:
            (place := folder / str(number)).mkdir()
            path = config(lab, place)
            said.append(run("doctor", "--config", path).out)
            if tenant is HEALTHY:
                changed(path, secret="wrong")  # noqa: S106 - a made-up one
                said.append(run("doctor", "--config", path).out)
                text = config(lab, place).read_text(encoding="utf-8")
                path.write_text(text.replace(lab.tenants[0].id, OTHER), encoding="utf-8")
                said.append(run("doctor", "--config", path).out)
                changed(path, kind="managed_identity")
                said.append(run("doctor", "--config", path).out)
    late = LabOptions(start=datetime.now(UTC) + timedelta(minutes=10))
    with Lab(late) as lab:
        said.append(run("doctor", "--config", config(lab, folder)).out)
    return "\n".join(said)


def test_every_symptom_is_in_the_words_that_are_printed(tmp_path: Path) -> None:
    said = doctor_output(tmp_path)
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("connector/audit_feed", "detections/mailvigil")
        for path in (CHECKOUT / folder).rglob("*.py")
    )

    first = [row[0] for row in table("When it does not work")]
    symptoms = [found for cell in first for found in re.findall("`([^`]+)`", cell)]
    printed = [symptom for symptom in symptoms if symptom in said]
    assert len(printed) >= 8
    assert [s for s in symptoms if s not in printed and s not in sources and s not in STOPPED] == []


def test_every_symptom_has_a_cause_and_a_cure() -> None:
    rows = table("When it does not work")

    assert all(len(row) == 3 and all(row) for row in rows)
