"""The command as a process: its streams, its exit code, and a reader that goes away."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from detections.commands.command import ONE_RULE, intruded, rules_of
from detections.exports.written import lines, purview

COMMAND = [sys.executable, "-P", "-m", "mailvigil"]


def process(*argv: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *argv], input=stdin, env={**os.environ, **env}, capture_output=True, check=False
    )


def test_a_pipe_of_records_gives_the_result_and_nothing_else() -> None:
    done = process(
        "hunt", *ONE_RULE, "-", "--format", "json", stdin=gzip.compress(lines(intruded()))
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert rules_of(json.loads(done.stdout)["findings"]) == ["caller_new_to_tenant"]


@pytest.mark.usefixtures("folder")
def test_a_finding_asked_for_sets_the_exit_code() -> None:
    Path("export.csv").write_bytes(purview(intruded()))

    done = process("hunt", *ONE_RULE, "export.csv", "--format", "csv", "--fail-on", "high")

    assert (done.returncode, done.stderr) == (5, b"")
    assert done.stdout.startswith(b"rule,version,severity,")


def test_a_mistake_is_reported_on_standard_error_alone() -> None:
    done = process("hunt", *ONE_RULE, "no-such-file.csv")

    assert (done.returncode, done.stdout) == (4, b"")
    assert (
        done.stderr == b"mailvigil: no-such-file.csv: no such file or folder" + os.linesep.encode()
    )


@pytest.mark.usefixtures("folder")
def test_a_console_without_unicode_does_not_stop_the_hunt() -> None:
    records = [{**r, "MailboxOwnerUPN": "adèle@contoso.example"} for r in intruded()]
    Path("export.csv").write_bytes(purview(records))

    for style in ("table", "json", "csv"):
        done = process("hunt", *ONE_RULE, "export.csv", "--format", style, PYTHONIOENCODING="ascii")

        assert (done.returncode, done.stderr) == (0, b"")
        assert b"le@contoso.example" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that Linux has")
def test_an_output_for_which_there_is_no_room_gets_a_sentence_and_no_traceback() -> None:
    with Path("/dev/full").open("wb") as full:
        told = subprocess.run(
            [*COMMAND, "rules", "list"], stdout=full, stderr=subprocess.PIPE, check=False
        )
        silent = subprocess.run([*COMMAND, "rules", "list"], stdout=full, stderr=full, check=False)

    assert (told.returncode, silent.returncode) == (1, 1)
    assert told.stderr.startswith(b"mailvigil: output: No space left on device (free some room")
    assert told.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
@pytest.mark.parametrize("style", ["table", "json"])
@pytest.mark.usefixtures("folder")
def test_a_reader_that_goes_away_gets_no_traceback(style: str) -> None:
    Path("export.csv").write_bytes(purview(intruded()))
    reader, writer = os.pipe()
    os.close(reader)

    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [*COMMAND, "hunt", *ONE_RULE, "export.csv", "--format", style],
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert (done.returncode, done.stderr) == (1, b"")
