"""What README, CONTRIBUTING, SECURITY and docs/ tell people to type works.

Each line after ``$`` in a block of kind ``console`` is either run in this process, in order and in
one folder with made-up exports, or only parsed by the real parser (``PARSED``): those need the lab
or minutes, and their own tests run them, as ``deploy/test_deploy_page.py`` does with the page on
deployment. PowerShell needs a tenant and is not run. ``test_document_facts.py`` compares what the
pages say with the program.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from detections.commands.command import Ran, intruded, quiet_days, run
from detections.commands.shell_lines import words_of
from detections.exports.written import lines, office_activity, purview, rows_csv
from infra.page import STEPS
from mailvigil.cli import parser
from mailvigil.infra.content_templates import CALLER_RULE

CHECKOUT = Path(__file__).resolve().parent.parent
DOCS = CHECKOUT / "docs"
DOCUMENTS = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(DOCS.glob("**/*.md")),
]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
KINDS = {"console", "csv", "http", "json", "kql", "kusto", "powershell", "sql", "text", "yaml"}
"""What a block may be: a command in one of another kind would never be tried."""

BY_HAND = (DOCS / "deploy.md", {"bash"})
"""A page with a block of a kind of its own, which ``infra/test_deploy_page.py`` runs."""

PARSED = (
    "backtest",
    "baseline",
    "collect",
    "doctor",
    "function",
    "infra",
    "lab",
    "ledger",
    "rules check",
    "rules compile",
    "rules diff",
    "rules docs",
    "rules lock",
    "rules mutate",
    "rules package",
    "rules test",
    "tenant",
)
OF_A_LAB = " lab/"
"""In a command's words: a file that a running lab writes."""

ONE_RULE = ("--rules", "caller_new_to_tenant")
"""Added to each hunt: the page's options are tried, and all rules are run by other tests."""

CONVERTED = "sigma convert "
MOST_README_LINES = 160


def blocks(path: Path, kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(path.read_text("utf-8")) if found == kind]


def commands() -> list[str]:
    """Return every command line of the documents, in order, each once."""
    shell = "".join(text for path in DOCUMENTS for text in blocks(path, "console"))
    typed = [line.strip() for line in shell.replace("\\\n", " ").splitlines()]
    return list(dict.fromkeys(line[2:] for line in typed if line.startswith("$ ")))


def prepare(folder: Path) -> bytes:
    """Make the files that the commands read; return what comes through a pipe.

    The list of callers and the filter are those of the page on exceptions.
    """
    (folder / "exports").mkdir()
    (folder / "exports" / "audit.csv").write_bytes(purview(intruded()))
    office = [office_activity(record) for record in quiet_days()]
    (folder / "OfficeActivity.csv").write_bytes(rows_csv(office))
    (folder / "AuditLog_2026-01-31.csv").write_bytes(purview(quiet_days()))
    (folder / "records.jsonl.gz").write_bytes(gzip.compress(lines(quiet_days())))
    [approved] = blocks(DOCS / "exceptions.md", "csv")
    (folder / "approved.csv").write_text(approved, encoding="utf-8")
    [sigma_filter] = blocks(DOCS / "exceptions.md", "yaml")
    (folder / "filters").mkdir()
    (folder / "filters" / "backup.yml").write_text(sigma_filter, encoding="utf-8")
    return lines(quiet_days())


def typed(line: str, piped: bytes) -> Ran:
    """Run *line* as a shell would, so far as these documents need one."""
    words = words_of(line)
    echoed = re.match(r"echo '([^']*)' \| ", line)
    if echoed:
        return run(*words, stdin=f"{echoed[1]}\n".encode())
    rules = ONE_RULE if words[0] == "hunt" else ()
    return run(*words, *rules, stdin=piped if "|" in line else b".tables")


def is_parsed(line: str) -> bool:
    words = " ".join(words_of(line))
    return words.startswith(PARSED) or "--config" in words or OF_A_LAB in words


OURS = [
    line
    for line in commands()
    if re.search(r"(?:^|\| )mailvigil ", line) and not (line in STEPS and '"$' in line)
]
"""Those that need no variable of a shell; ``infra/test_deploy_page.py`` types the others."""


def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        known = KINDS | (BY_HAND[1] if path == BY_HAND[0] else set())
        assert {kind for kind, _ in BLOCK.findall(text)} <= known, path
        assert 2 * len(BLOCK.findall(text)) == len(re.findall("^ *```", text, re.MULTILINE)), path
    assert len(OURS) > 15


def test_the_commands_of_the_documents_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    piped = prepare(tmp_path)
    tried = [line for line in OURS if not is_parsed(line)]

    ran = {line: typed(line, piped) for line in tried}

    wrong = {line: (done.code, done.err) for line, done in ran.items() if done.code or done.err}
    assert wrong == {}
    assert all(done.out for done in ran.values())


@pytest.mark.parametrize("line", [line for line in OURS if is_parsed(line)])
def test_a_command_that_needs_more_than_a_folder_is_accepted_by_the_parser(line: str) -> None:
    assert parser(None).parse_args(words_of(line)).run


@pytest.mark.parametrize("line", [line for line in commands() if line not in OURS])
def test_a_command_of_another_program_names_what_exists(line: str) -> None:
    program, *words = line.split()
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets)
    elif program == "docker":
        assert (CHECKOUT / words[words.index("--file") + 1]).is_file()
    elif line in STEPS:
        return
    elif "--template-file" in words:
        template = json.loads((CHECKOUT / words[words.index("--template-file") + 1]).read_text())
        given = [word.partition("=")[0] for word in words[words.index("--parameters") + 1 :]]
        assert set(given) <= set(template["parameters"])
    elif words[:1] == ["-P"]:
        assert (CHECKOUT / words[1]).is_file()
    elif words[:3] == ["monitor", "data-collection", "rule"]:
        assert words[words.index("--name") + 1] == CALLER_RULE
    else:
        assert line.startswith(CONVERTED), "how is this one tried?"
        assert all((CHECKOUT / word).is_file() for word in words if word.endswith(".yml"))


def anchors(path: Path) -> set[str]:
    """Return the fragment of every heading of a page, as GitHub makes them."""
    text = BLOCK.sub("", path.read_text("utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_and_picture_of_the_documents_leads_to_a_file_and_a_heading() -> None:
    for path in DOCUMENTS:
        text = BLOCK.sub("", path.read_text("utf-8"))
        for target, fragment in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
            file = path.parent / target if target else path
            assert file.exists(), f"{path.name}: {target}"
            assert not fragment or fragment in anchors(file), f"{path.name}: {target}#{fragment}"


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(([^)#]+\.md)", index))

    assert {path.name for path in DOCS.glob("*.md")} - linked == {"README.md"}


def test_the_readme_is_short_and_has_both_set_up_commands() -> None:
    text = (CHECKOUT / "README.md").read_text("utf-8")

    assert len(text.splitlines()) <= MOST_README_LINES
    assert "make demo" in text
    assert "make test" in text


def test_every_test_that_the_list_of_faults_names_exists() -> None:
    text = (DOCS / "field-faults.md").read_text("utf-8")
    named = re.findall(r"`([a-z_/]+\.py)`: ((?:`test_\w+`(?:, )?)+)", text)

    absent = [
        f"{file}::{name}"
        for file, names in named
        for name in re.findall(r"test_\w+", names)
        if f"\ndef {name}(" not in (CHECKOUT / "tests" / file).read_text("utf-8")
    ]
    assert len(named) > 40
    assert absent == []
