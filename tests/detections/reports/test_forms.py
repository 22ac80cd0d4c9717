"""Each form of report, as its readers take it; and what cannot be written is said in time."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from dataclasses import replace
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import pytest
import stix2
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from detections.commands.command import NEWCOMER, ONE_RULE, SOME_RULES, intruded, run
from detections.exports.written import Record, purview
from detections.reports.made import CONTEXT, HOSTILE, hostile_records, many
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK
from mailvigil.reports.html import as_html
from mailvigil.reports.markdown import as_markdown
from mailvigil.reports.stix import as_stix
from mailvigil.reports.timeline import COLUMNS
from mailvigil.reports.wording import caller_name
from mailvigil.rules.content import content_root
from mailvigil.rules.load_rules import load_rules

FORMULAS = ("=", "+", "-", "@")
NAMES = ("r.html", "r.md", "r.json", "r.stix.json")


def reported(folder: Path, records: list[Record]) -> Path:
    """Hunt in *records*; leave every form of report in *folder*, and what was printed."""
    export = folder / "export.csv"
    export.write_bytes(purview(records))
    wanted = [word for name in NAMES for word in ("--report", folder / name)]
    ran = run(
        "hunt", *ONE_RULE, export, *wanted, "--timeline", folder / "t.csv", "--format", "json"
    )
    assert ran.code == EXIT_OK, ran.err
    (folder / "printed.json").write_text(ran.out, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an export and its reports; tests only read it."""
    return reported(tmp_path_factory.mktemp("plain"), intruded())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a hostile export and its reports; tests only read it."""
    return reported(tmp_path_factory.mktemp("hostile"), hostile_records())


def test_the_json_report_fits_its_schema_and_is_the_printed_one(plain: Path) -> None:
    whole = json.loads((plain / "r.json").read_text(encoding="utf-8"))
    schema = json.loads((files("mailvigil.reports") / "findings.schema.json").read_text("utf-8"))
    checker = Draft202012Validator.FORMAT_CHECKER

    assert list(Draft202012Validator(schema, format_checker=checker).iter_errors(whole)) == []
    assert whole == json.loads((plain / "printed.json").read_text(encoding="utf-8"))
    assert [source["name"] for source in whole["summary"]["sources"]] == [str(plain / "export.csv")]


@pytest.mark.parametrize("which", ["plain", "hostile"])
def test_the_bundle_is_strict_stix(which: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(which)
    text = (folder / "r.stix.json").read_text(encoding="utf-8")

    bundle = stix2.parse(text, allow_custom=False)

    kinds = [item["type"] for item in bundle["objects"]]
    assert kinds.count("sighting") == kinds.count("observed-data") == kinds.count("note") == 1
    assert kinds.count("indicator") == kinds.count("software") == 1
    known = {item["id"] for item in bundle["objects"]}
    [sighting] = [item for item in bundle["objects"] if item["type"] == "sighting"]
    [observed] = [item for item in bundle["objects"] if item["type"] == "observed-data"]
    assert {sighting["sighting_of_ref"], *sighting["observed_data_refs"]} <= known
    assert set(observed["object_refs"]) <= known
    assert (sighting["count"], observed["number_observed"]) == (3, 3)


def test_the_same_finding_gets_the_same_id(plain: Path, tmp_path: Path) -> None:
    again = reported(tmp_path, intruded())
    texts = [(folder / "r.stix.json").read_bytes() for folder in (plain, again)]

    assert texts[0] == texts[1]
    assert as_stix(many(4)) == as_stix(many(4))
    ids = [item["id"] for item in json.loads(as_stix(many(50)))["objects"]]
    assert len(ids) == len(set(ids))
    assert sum(id_.startswith("sighting--") for id_ in ids) == 50


def test_the_timeline_has_what_timesketch_asks_for(plain: Path) -> None:
    text = (plain / "t.csv").read_bytes().decode("utf-8")

    rows = list(csv.DictReader(io.StringIO(text, newline="")))

    assert tuple(rows[0]) == COLUMNS
    assert COLUMNS[:3] == ("message", "datetime", "timestamp_desc")
    assert len(rows) == 1 + 3
    assert all(row["message"] and row["timestamp_desc"] for row in rows)
    times = [datetime.fromisoformat(row["datetime"]) for row in rows]
    assert times == sorted(times)
    assert all(time.tzinfo is not None for time in times)
    assert [row["timestamp_desc"] for row in rows].count("MailItemsAccessed") == 3
    assert {row["caller"] for row in rows} == {NEWCOMER}
    assert len({row["record_id"] for row in rows}) == 4


def test_no_cell_of_the_timeline_is_a_formula(tmp_path: Path) -> None:
    formulas = ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", " =1", "\t=1")
    written = [
        {**read, "AppId": f"{NEWCOMER}{n}", "Id": f"{read['Id']}-{n}"}
        | dict.fromkeys(("UserId", "SessionId", "ClientInfoString"), formula)
        for n, formula in enumerate(formulas)
        for read in intruded()
        if read["AppId"] == NEWCOMER
    ]
    (tmp_path / "export.csv").write_bytes(purview([*intruded(), *written]))

    ran = run("hunt", *ONE_RULE, tmp_path / "export.csv", "--timeline", tmp_path / "t.csv")

    assert ran.code == EXIT_OK
    text = (tmp_path / "t.csv").read_bytes().decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for formula in formulas:
        assert any(formula.strip() in row["user"] for row in rows), formula
    assert not any(cell.lstrip().startswith(FORMULAS) for row in rows for cell in row.values())


def test_markdown_makes_no_link_image_or_html_of_a_log(hostile: Path) -> None:
    text = (hostile / "r.md").read_text(encoding="utf-8")

    outside = "".join(text.split("`")[::2])
    assert "<" not in outside.replace("\\<", "")
    assert "![" not in outside.replace("\\!\\[", "")
    assert "\u202e" not in text
    assert "\u2028" not in text


def test_markdown_says_what_the_page_says(plain: Path) -> None:
    text = (plain / "r.md").read_text(encoding="utf-8")

    for part in (
        "# 1 finding (1 high): 1 caller read 2 mailboxes between 2026-01-15 and 2026-01-16.",
        "What to do next",
        "What it does not prove",
        "## What the data cannot show",
        "## How to repeat this",
        f"`{NEWCOMER}`",
        "`session-101`",
        "`mailvigil hunt ",
    ):
        assert part in text
    assert sum(line.startswith("| 2026-01-1") for line in text.splitlines()) == 3


@given(st.text(alphabet=st.characters(codec=None), max_size=60))
def test_no_text_in_markdown_adds_a_line_or_a_cell(value: str) -> None:
    def shape(words: str) -> list[int]:
        hunted = many(1)
        assert hunted.evidence
        [found] = hunted.findings
        changed = replace(found, why=words, users=(words,), mailboxes=(words,))
        text = as_markdown(replace(hunted, findings=(changed,)), hunted.evidence, CONTEXT)
        return [line.replace("\\|", "").count("|") for line in text.split("\n")]

    assert shape(value) == shape("plain")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("report.pdf", "no form of report has this ending"),
        ("missing/report.html", "cannot be written"),
        (".", "no form of report has this ending"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_the_hunt(
    name: str, what: str, tmp_path: Path
) -> None:
    ran = run("hunt", *ONE_RULE, tmp_path / "no such export.csv", "--report", tmp_path / name)

    assert ran.code == EXIT_INPUT
    assert what in ran.err
    assert "no such export" not in ran.err


def test_a_report_never_replaces_a_file_that_is_read(tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_bytes(purview(intruded()))
    before = export.read_bytes()

    ran = run("hunt", *ONE_RULE, export, "--report", export)

    assert ran.code == EXIT_INPUT
    assert "is read by this hunt" in ran.err
    assert export.read_bytes() == before


@pytest.mark.posix
@pytest.mark.skipif(os.name == "nt", reason="a file that cannot be written is made otherwise")
def test_a_full_disk_is_an_input_error(tmp_path: Path) -> None:
    full = tmp_path / "full.html"
    full.symlink_to("/dev/full")
    (tmp_path / "export.csv").write_bytes(purview(intruded()))

    ran = run("hunt", *ONE_RULE, tmp_path / "export.csv", "--report", full)

    assert ran.code == EXIT_INPUT
    assert "cannot be written: No space left on device" in ran.err


def test_a_saved_workspace_gives_the_same_report(plain: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.duckdb"
    assert run("hunt", *ONE_RULE, plain / "export.csv", "--save", saved).code == EXIT_OK

    ran = run("hunt", *ONE_RULE, "--workspace", saved, "--timeline", tmp_path / "again.csv",
              "--report", tmp_path / "again.html")  # fmt: skip

    assert ran.code == EXIT_OK, ran.err
    assert (tmp_path / "again.csv").read_bytes() == (plain / "t.csv").read_bytes()
    page = (tmp_path / "again.html").read_text(encoding="utf-8")
    assert "None: the hunt was in a saved workspace." in page


def test_a_rule_that_was_not_run_is_named() -> None:
    hunted = many(2)
    first, second = hunted.replayed
    hunted = replace(hunted, replayed=(first, replace(second, refused="no such column")))
    assert hunted.evidence
    sentence = "mailbox_throttled was not run, so its silence says nothing: no such column"

    assert sentence in as_html(hunted, hunted.evidence, CONTEXT, ())
    assert sentence in as_markdown(hunted, hunted.evidence, CONTEXT).replace("\\", "")


def test_the_page_says_how_to_repeat_the_hunt(plain: Path, tmp_path: Path) -> None:
    approved = tmp_path / "approved.csv"
    approved.write_text("Caller,Owner,Reason,ValidFrom,ValidTo\r\n", encoding="utf-8")
    export, page = plain / "export.csv", tmp_path / "again.html"

    again = ("hunt", export, "--approved", approved, *SOME_RULES)
    ran = run(*again, "--report", page, "--step", "5d")

    assert ran.code == EXIT_OK
    text = page.read_text(encoding="utf-8")
    for file in (export, approved):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in text
    for part in (
        f"mailvigil hunt {export} --approved {approved} {' '.join(SOME_RULES)}",
        "every 5d",
        "duckdb-kql 1.",
    ):
        assert part in text
    for rule in load_rules(content_root()):
        ran_it = rule.name in SOME_RULES[1].split(",")
        assert (hashlib.sha256(rule.text.encode()).hexdigest() in text) == ran_it


def test_a_page_without_charts_has_their_tables() -> None:
    hunted = many(3)
    assert hunted.evidence

    page = as_html(hunted, hunted.evidence, CONTEXT, ())

    assert 'class="chart"' not in page
    assert page.count("<figure>") == page.count("<details open=") == 3
    assert "mailbox-1@contoso.example" in page
    assert as_markdown(hunted, hunted.evidence, CONTEXT).count("### ") == 3


def test_a_caller_without_a_finding_has_its_name() -> None:
    teams = "1fec8e78-bce4-4aaf-ab1b-5451cc387264"

    assert caller_name(teams) == f"Microsoft Teams ({teams})"


def test_nothing_in_the_page_ends_a_script(hostile: Path) -> None:
    page = (hostile / "r.html").read_text(encoding="utf-8")

    assert page.count("<script") == page.count("</script>") == 5
    assert "<img src=x" not in page
    assert "\u2028" not in page
    assert HOSTILE not in page
