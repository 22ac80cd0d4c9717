"""Every command explains itself, and the examples in its help work as they stand."""

from __future__ import annotations

import argparse
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from detections.commands.command import (
    NEWCOMER,
    intruded,
    leave_only_rules,
    quiet_days,
    read_at,
    run,
)
from detections.commands.shell_lines import words_of
from detections.exports.written import lines, office_activity, purview
from mailvigil import exit_codes
from mailvigil.cli import COMMANDS, parser


def all_parsers(
    whole: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command with its parser, ``""`` for the whole."""
    yield name, whole
    for action in whole._actions:  # noqa: SLF001 - argparse has no other way to them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for word, below in action.choices.items():
                yield from all_parsers(below, f"{name} {word}".strip())


PARSERS = dict(all_parsers(parser(None)))


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        run(*command.split(), "--help")
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def examples_of(command: str) -> list[str]:
    """Return the lines of a command's help that can be typed."""
    _, _, examples = (PARSERS[command].epilog or "").partition("examples:\n")
    return [line.strip() for line in examples.partition("\n\n")[0].splitlines()]


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    named = re.findall(r"^    ([a-z]+)(?: {2,}\S|$)", help_of("", capsys), re.MULTILINE)

    assert named == list(COMMANDS)


def test_a_commands_line_of_help_is_the_same_in_the_list_and_the_command() -> None:
    listed = {name: line for name, (_, line) in COMMANDS.items()}

    [action] = [a for a in PARSERS[""]._actions if isinstance(a, argparse._SubParsersAction)]  # noqa: SLF001 - as above
    assert {choice.dest: choice.help for choice in action._choices_actions} == listed  # noqa: SLF001 - as above


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"usage: mailvigil {command}" in help_of(command, capsys)


@pytest.mark.parametrize("command", sorted(PARSERS))
def test_every_command_has_examples_that_parse(command: str) -> None:
    examples = examples_of(command)

    assert any(example.startswith(f"mailvigil {command}".strip()) for example in examples)
    for example in examples:
        if "mailvigil" in example:
            words = words_of(example)
            assert PARSERS[""].parse_args(words) if "--help" not in words else words


@pytest.mark.parametrize("command", sorted(PARSERS))
def test_every_argument_is_explained(command: str) -> None:
    plain = {"--format", "PATH", "KQL"}
    silent = [
        action.dest
        for action in PARSERS[command]._actions  # noqa: SLF001 - as above
        if not action.help
        and not plain & {*action.option_strings, action.metavar}
        and not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - as above
    ]

    assert silent == []


@pytest.mark.parametrize("command", ["", "rules"])
def test_a_command_without_its_part_is_a_usage_error(command: str) -> None:
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
    office = lines([office_activity(record) for record in quiet_days(8)])
    (folder / "OfficeActivity.csv").write_bytes(office)
    (folder / "approved.csv").write_text("Caller,Owner,Reason,ValidFrom,ValidTo\r\n")
    return gzip.decompress(gzip.compress(lines(quiet_days(2))))


def test_every_example_of_the_hunts_help_works(folder: Path, content: Path) -> None:
    leave_only_rules(content, "caller_new_to_tenant", "caller_new_to_mailbox")
    examples = examples_of("hunt")
    piped = prepare(folder)

    ran = [run(*words_of(example), stdin=piped) for example in examples]

    assert [result.code for result in ran] == [0, 0, 0, 0, 0, exit_codes.EXIT_FOUND, 0]
    assert [result.err for result in ran] == [""] * 7
    assert (folder / "known.jsonl").is_file()
    assert (folder / "report.html").is_file()
    assert (folder / "timeline.csv").is_file()


def test_every_exit_code_of_the_hunt_is_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of("hunt", capsys).partition("exit codes:")[2].split())

    named = {int(number) for number in re.findall(r"(?:^|; )(\d+) ", text.strip())}
    assert named == {
        exit_codes.EXIT_OK,
        exit_codes.EXIT_FAILED,
        exit_codes.EXIT_USAGE,
        exit_codes.EXIT_INPUT,
        exit_codes.EXIT_FOUND,
        exit_codes.EXIT_NOT_RUN,
        exit_codes.EXIT_NO_ROOM,
        exit_codes.EXIT_INTERRUPTED,
    }
