"""What cannot be used is named on standard error, and the exit code says so to a script."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from detections.commands.command import ONE_RULE, quiet_days, run
from detections.exports.written import purview
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK
from mailvigil.exports.load import FORMS

GOOD = purview(quiet_days(2))
BROKEN = GOOD + b'x,2026-01-07T00:00:00,50,MailItemsAccessed,,"{""Id"": 1",\r\n'
BROKEN_ROW = "not JSON: unexpected end of data at character 9"


def bomb() -> bytes:
    """Return a zip of 100 KB that unpacks to 100 MiB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.csv", b"0" * (100 << 20))
    return out.getvalue()


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty.csv": (b"", f"empty.csv: no audit log: the file is empty (read are {FORMS})"),
    "cut.csv.gz": (
        gzip.compress(GOOD)[:-9],
        (
            "cut.csv.gz: the gzip is damaged or cut short: Compressed file ended before the "
            "end-of-stream marker was reached (fetch it again)"
        ),
    ),
    "people.csv": (
        b"Name,Age\r\nAdele,7\r\n",
        f"people.csv: no audit log: a CSV without an AuditData column (read are {FORMS})",
    ),
    "picture.png": (
        b"\x89PNG\r\n\x1a\n\x00\x00",
        f"picture.png: no audit log: it is not text (read are {FORMS})",
    ),
    "bomb.zip": (
        bomb(),
        (
            "bomb.zip: unpacks to more than 400 times its size, as a zip bomb does "
            "(unpack it first if it is to be trusted)"
        ),
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_not_a_log_is_an_input_error(name: str, folder: Path) -> None:
    data, message = BAD_FILES[name]
    (folder / name).write_bytes(data)

    ran = run("hunt", *ONE_RULE, name)

    assert (ran.code, ran.out, ran.err) == (EXIT_INPUT, "", f"mailvigil: {message}\n")


def test_a_zip_above_the_limit_is_refused(folder: Path) -> None:
    member = gzip.compress(bytes(25 << 20), 1)  # a file of gzip may have many members
    (folder / "zeros.csv.gz").write_bytes(member * 41)

    ran = run("hunt", *ONE_RULE, "zeros.csv.gz", "--max-unpacked", "1")

    assert ran.code == EXIT_INPUT
    assert "zeros.csv.gz: unpacks to more than" in ran.err


BAD_PATHS = {
    "none": "none: no file in it",
    "notes": "notes: no readable audit record: notes/readme.txt: neither JSON nor CSV "
    f"(read are {FORMS})",
    "absent.csv": "absent.csv: no such file or folder",
    "absent*.csv": "absent*.csv: no file matches this pattern",
    "-": f"-: no audit log: the file is empty (read are {FORMS})",
}


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_without_any_log_is_an_input_error(path: str, folder: Path) -> None:
    (folder / "none").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "readme.txt").write_text("hello\n", encoding="utf-8")

    ran = run("hunt", *ONE_RULE, path)

    assert (ran.code, ran.out, ran.err) == (EXIT_INPUT, "", f"mailvigil: {BAD_PATHS[path]}\n")


@pytest.mark.parametrize("style", ["csv", "json"])
def test_a_broken_row_is_reported_and_the_others_are_read(style: str, folder: Path) -> None:
    (folder / "export.csv").write_bytes(BROKEN)

    ran = run("hunt", *ONE_RULE, "export.csv", "--format", style)

    assert ran.code == EXIT_OK
    assert ran.err == f"mailvigil: 1 row could not be read:\n  export.csv:4: {BROKEN_ROW}\n"
    assert style == "csv" or (ran.summary["records"], ran.summary["unreadable"]) == (2, 1)


def test_the_table_names_a_broken_row(folder: Path) -> None:
    (folder / "export.csv").write_bytes(BROKEN)

    ran = run("hunt", *ONE_RULE, "export.csv")

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert "2 records read from 1 file, 1 unreadable" in ran.out
    assert f"unreadable: export.csv:4: {BROKEN_ROW}" in ran.out


def test_strict_ends_at_a_broken_row(folder: Path) -> None:
    (folder / "export.csv").write_bytes(BROKEN)

    ran = run("hunt", *ONE_RULE, "export.csv", "--strict")

    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert ran.err == (
        f"mailvigil: export.csv: 1 unreadable: line 4: {BROKEN_ROW} "
        "(fix it, or read it without --strict)\n"
    )


BAD_OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "a baseline that is none": (
        ("quiet.csv", "--baseline", "notes.txt"),
        "notes.txt:1: no caller baseline: not JSON (make it with --save-baseline)",
    ),
    "approved callers that are none": (
        ("quiet.csv", "--approved", "notes.txt"),
        (
            "notes.txt: no column Caller, Owner, Reason, ValidFrom, ValidTo "
            "(the columns are Caller,Owner,Reason,ValidFrom,ValidTo)"
        ),
    ),
    "a workspace that is none": (
        ("--workspace", "notes.txt"),
        "notes.txt: cannot be opened as a workspace: IO Error: ",
    ),
    "a workspace that is not there": (
        ("--workspace", "absent.db"),
        "absent.db: no such workspace (make one with --save FILE)",
    ),
    "a baseline that is not there": (
        ("quiet.csv", "--baseline", "absent.jsonl"),
        "absent.jsonl: cannot be read: ",
    ),
    "approved callers that are not there": (
        ("quiet.csv", "--approved", "absent.csv"),
        "absent.csv: cannot be read: ",
    ),
    "a baseline to write in no folder": (
        ("quiet.csv", "--save-baseline", "absent/known.jsonl"),
        "absent/known.jsonl: cannot be written (name a file in a folder that exists)",
    ),
    "a workspace to write over a folder": (
        ("quiet.csv", "--save", "."),
        ".: cannot be written (name a file in a folder that exists)",
    ),
    "an unknown rule": (
        ("quiet.csv", "--rules", "mailbox_throttled,nonesuch"),
        "--rules: no rule 'nonesuch' (there are ",
    ),
    "nothing to hunt in": (
        (),
        "hunt: nothing to hunt in (name files, folders, - or --workspace FILE)",
    ),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_an_option_that_cannot_be_used_is_refused(name: str, folder: Path, quiet: Path) -> None:
    (folder / "notes.txt").write_text("hello\n", encoding="utf-8")
    argv, message = BAD_OPTIONS[name]

    ran = run("hunt", *ONE_RULE, *argv)

    assert quiet.is_file()
    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert ran.err.startswith(f"mailvigil: {message}")
    assert ran.err.count("\n") == 1


WRONG_USAGE = {
    "--step 1": "is not a duration such as 14d",
    "--step 0d": "must be longer than nothing",
    "--step 10001d": "must be at most 10000d",
    "--memory 99999999999d": "must be at most 10000d",
    "--as-of yesterday": "'yesterday' is not a time such as 2026-01-31T12:00",
    "--as-of 0001-01-01T00:00+14:00": "is not a time such as 2026-01-31T12:00",
    "--max-unpacked 0": "'0' is not a whole number above 0",
    "--fail-on severe": "invalid choice: 'severe'",
    "--save a --workspace b": "not allowed with argument",
}


@pytest.mark.parametrize("words", WRONG_USAGE)
def test_wrong_usage_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("hunt", *ONE_RULE, "export.csv", *words.split())

    assert ended.value.code == 2
    assert WRONG_USAGE[words] in capsys.readouterr().err
