"""Every command explains itself, and the examples in its help work as they stand."""

from __future__ import annotations

import gzip
import re
import shlex
from pathlib import Path

import pytest

from cli.command import NEWCOMER, intruded, quiet_days, read_at, run
from exports.written import lines, purview
from mailvigil import exit_codes

COMMANDS = {  # those of the hunt and the rules; there may be more
    "",
    "demo",
    "hunt",
    "rules",
    "rules check",
    "rules compile",
    "rules list",
    "rules mutate",
    "rules test",
}


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        run(*command.split(), "--help")
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def commands_below(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Return *command* and every one that its help, and theirs, names."""
    text = help_of(command, capsys)
    named = re.findall(r"^    ([a-z]+) {2,}\S", text.partition("\n  COMMAND\n")[2], re.MULTILINE)
    below = [commands_below(f"{command} {name}".strip(), capsys) for name in named]
    return {command}.union(*below)


def test_a_command_is_not_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands_below("", capsys) >= COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_does_not_explain_itself(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"usage: mailvigil {command}".strip() in help_of(command, capsys)


@pytest.mark.parametrize("command", ["", "rules"])
def test_a_command_without_its_part_does_something(command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*command.split())

    assert ended.value.code == 2


def prepare(folder: Path) -> bytes:
    """Make every file that the examples name; return what is piped into them."""
    for name in ("exports", "january", "february"):
        (folder / name).mkdir()
        (folder / name / "audit.csv").write_bytes(purview(intruded()))
    later = [read_at(day, 400 + day, AppId=f"{NEWCOMER}9") for day in range(20, 23)]
    (folder / "february" / "audit.csv").write_bytes(purview(later))
    (folder / "AuditLog_2026-01.csv").write_bytes(purview(quiet_days(2)))
    (folder / "approved.csv").write_text("Caller,Owner,Reason,ValidFrom,ValidTo\r\n")
    return gzip.decompress(gzip.compress(lines(quiet_days(2))))


def test_an_example_of_the_help_does_not_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of("hunt", capsys)
    examples = [
        line for line in text.splitlines() if line.startswith("  ") and "mailvigil hunt" in line
    ]
    piped = prepare(folder)

    ran = [
        run(*shlex.split(example.rpartition("mailvigil")[2].partition(">")[0]), stdin=piped)
        for example in examples
    ]

    assert [result.code for result in ran] == [0, 0, 0, 0, 0, exit_codes.EXIT_FOUND]
    assert [result.err for result in ran] == [""] * 6
    assert (folder / "known.jsonl").is_file()
    assert (folder / "report.html").is_file()
    assert (folder / "timeline.csv").is_file()


def test_an_exit_code_of_the_hunt_is_not_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of("hunt", capsys).partition("exit codes:")[2].split())

    told = {int(number) for number in re.findall(r"(?:^|; )(\d) ", text.strip())}
    assert told == {
        exit_codes.EXIT_OK,
        exit_codes.EXIT_FAILED,
        exit_codes.EXIT_USAGE,
        exit_codes.EXIT_INPUT,
        exit_codes.EXIT_FOUND,
        exit_codes.EXIT_NOT_RUN,
    }
