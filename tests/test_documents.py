"""What the README and docs/ tell people to type works.

Each line after ``$`` in a block of kind ``console`` is either run in this process, in order and in
one folder with made-up exports, or only parsed by the real parser (``PARSED``): those need the lab
or minutes, and their own tests run them, as ``deploy/test_deploy_page.py`` does with the page on
deployment. PowerShell needs a tenant and is not looked at.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from detections.commands.command import Ran, intruded, quiet_days, run
from detections.commands.shell_lines import words_of
from detections.exports.written import lines, purview
from infra.page import STEPS
from mailvigil.cli import parser

CHECKOUT = Path(__file__).resolve().parent.parent
DOCUMENTS = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = {"console", "csv", "http", "json", "kql", "kusto", "powershell", "sql", "text", "yaml"}
"""What a block may be: a command in one of another kind would never be tried."""

PARSED = (
    "backtest",
    "collect",
    "doctor",
    "function",
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
)
CONVERTED = "sigma convert "


def commands() -> list[str]:
    """Return every command line of the documents, in order."""
    blocks = [found for path in DOCUMENTS for found in BLOCK.findall(path.read_text("utf-8"))]
    shell = "".join(text for kind, text in blocks if kind == "console").replace("\\\n", " ")
    return [line[2:] for line in shell.splitlines() if line.startswith("$ ")]


def prepare(folder: Path) -> bytes:
    """Make the files that the commands read; return what comes through a pipe."""
    (folder / "exports").mkdir()
    (folder / "exports" / "audit.csv").write_bytes(purview(intruded()))
    (folder / "AuditLog_2026-01-31.csv").write_bytes(purview(quiet_days()))
    (folder / "approved.csv").write_text("Caller,Owner,Reason,ValidFrom,ValidTo\r\n")
    (folder / "records.jsonl.gz").write_bytes(gzip.compress(lines(quiet_days())))
    ran = run("hunt", "exports/", "--save", "kept.db")
    assert ran.code == 0, ran.err
    return lines(quiet_days())


def typed(line: str, piped: bytes) -> Ran:
    """Run *line* as a shell would, so far as these documents need one."""
    echoed = re.match(r"echo '([^']*)' \| ", line)
    if echoed:
        return run(*words_of(line), stdin=f"{echoed[1]}\n".encode())
    return run(*words_of(line), stdin=piped if "|" in line else b".tables")


def is_parsed(line: str) -> bool:
    words = " ".join(words_of(line))
    return words.startswith(PARSED) or "--config" in words


OURS = [line for line in commands() if re.search(r"(?:^|\| )mailvigil ", line)]


def test_a_command_stands_where_no_test_finds_it() -> None:
    for path in DOCUMENTS:
        kinds = {kind for kind, _ in BLOCK.findall(path.read_text("utf-8"))}
        assert kinds <= KINDS, path
    assert len(OURS) > 15


def test_a_command_of_the_documents_does_not_work(
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
def test_a_command_that_needs_more_than_a_folder_is_mistyped(line: str) -> None:
    assert parser(None).parse_args(words_of(line)).run


@pytest.mark.parametrize("line", [line for line in commands() if line not in OURS])
def test_a_command_of_another_program_is_mistyped(line: str) -> None:
    program, *words = line.split()
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets)
    elif program == "docker":
        assert (CHECKOUT / words[words.index("--file") + 1]).is_file()
    elif line not in STEPS:
        assert line.startswith(CONVERTED), "how is this one tried?"
        assert all((CHECKOUT / word).is_file() for word in words if word.endswith(".yml"))


def test_a_link_or_picture_of_the_documents_leads_nowhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_a_test_that_the_list_of_faults_names_is_not_there() -> None:
    text = (CHECKOUT / "docs" / "field-faults.md").read_text("utf-8")
    named = re.findall(r"`([a-z_/]+\.py)`: ((?:`test_\w+`(?:, )?)+)", text)

    absent = [
        f"{file}::{name}"
        for file, names in named
        for name in re.findall(r"test_\w+", names)
        if f"\ndef {name}(" not in (CHECKOUT / "tests" / file).read_text("utf-8")
    ]
    assert len(named) > 40
    assert absent == []
