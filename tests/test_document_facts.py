"""What docs/ says of commands, options, settings, messages and exit codes holds."""

from __future__ import annotations

import gzip
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from audit_feed import environment
from audit_feed.settings import Settings
from detections.commands.command import quiet_days, run
from detections.exports.written import lines, purview
from mailvigil import exit_codes
from mailvigil.cli import COMMANDS
from mailvigil.lab.server.faults import load_script
from test_documents import BLOCK, CHECKOUT, DOCS, DOCUMENTS, blocks

HUNT, COLLECT, LAB = (DOCS / f"{name}.md" for name in ("hunt", "collect", "lab"))
BELOW_TESTS = DOCS / "field-faults.md"
"""Its paths start from tests/; ``test_documents.py`` checks them."""

AS_EVERYWHERE = {"--help"}
FOLDERS = ("bench", "connector", "detections", "docs", "infra", "kql", "sigma", "tests")
"""Of the checkout: a code span that begins with one of them is a path."""

ANY = re.compile(r"<[a-z]+>|[*]")
"""What a path holds in place of a name."""

TOO_LARGE = "a zip bomb"
"""Takes a gigabyte; ``exports/test_bad_inputs.py`` makes one with lower limits."""


def table(path: Path, heading: str) -> list[list[str]]:
    """Return the cells of the first table below *heading*, without its own heading."""
    below = path.read_text("utf-8").partition(f"## {heading}\n")[2]
    rows = below[below.index("\n|") :].lstrip("\n").partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def options(capsys: pytest.CaptureFixture[str], *words: str) -> set[str]:
    """Return the long options in the help of a command."""
    with pytest.raises(SystemExit):
        run(*words, "--help")
    usage = capsys.readouterr().out.partition("examples:")[0]
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", usage)) - AS_EVERYWHERE


def test_every_command_is_in_the_documents() -> None:
    text = "\n".join(path.read_text("utf-8") for path in DOCUMENTS)

    assert [name for name in COMMANDS if f"mailvigil {name}" not in text] == []


def test_every_path_in_the_documents_exists() -> None:
    for path in (path for path in DOCUMENTS if path != BELOW_TESTS):
        spans = re.findall("`([^` ]+)`", BLOCK.sub("", path.read_text("utf-8")))
        for span in (span for span in spans if span.startswith(tuple(f"{f}/" for f in FOLDERS))):
            wanted = ANY.sub("*", span.partition("::")[0])
            assert list(CHECKOUT.glob(wanted)), f"{path.name}: {span}"


def test_every_room_is_in_the_layout() -> None:
    layout = (CHECKOUT / "CONTRIBUTING.md").read_text("utf-8").partition("## Layout")[2]
    roots = (CHECKOUT / "connector" / "audit_feed", CHECKOUT / "detections" / "mailvigil")
    rooms = [path.parent.name for root in roots for path in root.glob("*/__init__.py")]

    assert len(rooms) > 15
    assert [name for name in rooms if f"`{name}/`" not in layout] == []


def test_the_layout_is_in_the_order_of_the_import_contracts() -> None:
    tool = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["tool"]
    contracts = [c for c in tool["importlinter"]["contracts"] if c["type"] == "layers"]
    layout = (CHECKOUT / "CONTRIBUTING.md").read_text("utf-8").partition("## Layout")[2]

    assert len(contracts) == 2
    for contract in contracts:
        rank = {
            room.strip(): place
            for place, layer in enumerate(contract["layers"])
            for room in layer.split("|")
        }
        below = layout.partition(f"| room of `{contract['containers'][0]}` |")[2].partition("\n\n")[
            0
        ]
        rooms = re.findall(r"^\| `(\w+)(?:/|\.py)`", below, re.MULTILINE)
        assert [rank[room] for room in rooms] == sorted(rank[room] for room in rooms)


def test_every_make_target_is_in_contributing() -> None:
    makefile = (CHECKOUT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):.* ## ", makefile, re.MULTILINE)
    text = (CHECKOUT / "CONTRIBUTING.md").read_text("utf-8")

    assert len(targets) > 10
    assert [name for name in targets if name != "help" and f"`make {name}`" not in text] == []


def test_every_option_of_a_hunt_is_on_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    named = re.findall(r"--[a-z][a-z-]+", " ".join(row[0] for row in table(HUNT, "Options")))

    assert set(named) == options(capsys, "hunt")


def test_every_option_of_the_lab_is_on_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    named = re.findall(r"--[a-z][a-z-]+", LAB.read_text("utf-8").partition("## Faults")[0])

    assert options(capsys, "lab", "serve") <= set(named)


def test_the_faults_of_the_page_are_a_script_that_the_lab_reads() -> None:
    [script] = blocks(LAB, "yaml")

    assert [fault.fault.kind for fault in load_script(script, "lab.md")] == ["status", "throttle"]


def test_the_exit_codes_of_the_page_are_those_of_the_program() -> None:
    codes = [value for name, value in vars(exit_codes).items() if name.startswith("EXIT_")]

    assert [int(row[0]) for row in table(HUNT, "Exit codes")] == codes


def test_every_setting_of_the_collector_is_on_its_page() -> None:
    named = [row[1].strip("`") for row in table(COLLECT, "Settings")]

    assert sorted(named) == sorted(environment.NAMES)


def test_the_settings_file_of_the_page_is_accepted(tmp_path: Path) -> None:
    [example] = blocks(COLLECT, "yaml")

    assert Settings.load(yaml.safe_load(example), tmp_path).tenants


def unusable(folder: Path) -> None:
    """Write the files that the page's table of messages names."""
    rows = purview(quiet_days()).splitlines(keepends=True)
    broken = re.sub(rb'"\{.*\}"', b'"{""Id"":  "', rows[3])
    packed = gzip.compress(lines(quiet_days()))
    for name, content in {
        "empty.csv": b"",
        "cut.csv.gz": packed[: len(packed) // 2],
        "people.csv": b"Name,Age\nA,1\n",
        "picture.png": b"\x89PNG\r\n\x1a\n\0\0",
        "export.csv": b"".join([*rows[:3], broken, *rows[4:]]),
    }.items():
        (folder / name).write_bytes(content)
    (folder / "notes").mkdir()
    (folder / "notes" / "readme.txt").write_text("hello\n")


def pattern(message: str) -> str:
    return ".*".join(re.escape(part) for part in message.split("…"))


def test_the_messages_of_files_that_cannot_be_used_are_those_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unusable(tmp_path)
    rows = table(HUNT, "When a file cannot be used")
    for given, code, printed in (row for row in rows if row[0] != TOO_LARGE):
        for message in re.findall("`([^`]+)`", printed):
            strict = ["--strict"] if "`--strict`" in given else []
            name = re.split(r":(?:\d+:)? ", message)[0]
            ran = run("hunt", name, "--rules", "mailbox_throttled", "--format", "json", *strict)
            assert ran.code == int(code), (message, ran.err)
            assert re.search(pattern(message), ran.err, re.DOTALL), (message, ran.err)
