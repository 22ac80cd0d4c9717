"""``collect`` and ``ledger``: what they refuse, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from audit_feed.blobs import Stream
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.ledger.states import expired, rejected
from audit_feed.windows import HOUR, Window, hour_of
from connector.made import PARKED, PARKED_LINE, TENANT, blob
from detections.commands.command import run
from mailvigil.cli import NO_THREAD
from mailvigil.exit_codes import EXIT_FAILED, EXIT_INPUT, EXIT_NO_ROOM, EXIT_OK, EXIT_USAGE

SECRET = "secret-that-nobody-may-see"  # noqa: S105 - made up
STREAM = Stream(TENANT, "Audit.Exchange")
TENANT_SETTINGS: dict[str, object] = {
    "id": TENANT,
    "credential": {"kind": "secret", "client_id": "app", "secret": SECRET},
}
SETTINGS: dict[str, object] = {
    "tenants": [TENANT_SETTINGS],
    "sink": {"kind": "jsonl", "folder": "rows"},
}


def config(folder: Path, **changes: object) -> Path:
    """Write settings that nobody else can read; return their file."""
    path = folder / "collect.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, **changes}))
    path.chmod(0o600)
    return path


def ledger(folder: Path, *, listed: bool = True, outcome: str = "") -> datetime:
    """Make a ledger that began a day ago; return the hour of its one blob."""
    now = datetime.now(UTC)
    first = hour_of(now) - 24 * HOUR
    store = SqliteLedger(folder / "ledger.sqlite")
    store.register_stream(STREAM, first)
    if listed:
        store.mark_listed(STREAM, [first + HOUR * n for n in range(25)], now)
    if outcome:
        store.add_blobs([blob("lost", first + HOUR, STREAM)], now)
        [row] = store.rows(STREAM, Window(first, now))
        store.put(expired(row, now) if outcome == "expired" else rejected(row, now, "unknown"))
    store.close()
    return first + HOUR


def hours(text: str) -> list[Mapping[str, object]]:
    found = json.loads(text)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("command", ["collect", "ledger", "doctor"])
@pytest.mark.parametrize("text", ["[", "tenants: [1", "\x00", "!!python/object:os.system {}"])
def test_settings_that_cannot_be_read_are_named_and_refused(
    tmp_path: Path, command: str, text: str
) -> None:
    path = tmp_path / "collect.yaml"
    path.write_text(text)

    ran = run(command, "--config", path)

    assert ran.code == EXIT_INPUT
    assert str(path) in ran.err


@pytest.mark.parametrize("command", ["collect", "ledger", "doctor"])
def test_settings_that_are_missing_are_refused(tmp_path: Path, command: str) -> None:
    ran = run(command, "--config", tmp_path / "none.yaml")

    assert ran.code == EXIT_INPUT
    assert "none.yaml: no such file (write one, as docs/collect.md says" in ran.err


def test_all_that_is_wrong_is_named_without_the_secret(tmp_path: Path) -> None:
    ran = run("collect", "--once", "--config",
              config(tmp_path, since="30d", workers=0, extra=SECRET))  # fmt: skip

    assert ran.code == EXIT_INPUT
    for word in ("since", "workers", "extra"):
        assert word in ran.err
    assert SECRET not in ran.err + ran.out


@pytest.mark.parametrize("command", ["collect", "ledger", "doctor"])
def test_each_wrong_setting_has_a_line_of_its_own(tmp_path: Path, command: str) -> None:
    """And what stands in the file ends no line: an escape shows it."""
    path = config(tmp_path, workers=0, **{"odd\nmailvigil: all is well": 1})

    ran = run(command, "--config", path)

    assert ran.code == EXIT_INPUT
    first, *problems = ran.err.splitlines()
    assert first == (
        f"mailvigil: {path}: wrong settings (correct it, or name another file with --config):"
    )
    assert len(problems) == 2
    assert all(line.startswith("  ") for line in problems)
    assert "workers: not a whole number from 1 to 64" in problems[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.yaml", "no such file (write one, as docs/collect.md says, or name another with"),
        ("folder", "cannot be read: Is a directory (name a file with"),
        ("broken.yaml", "is not YAML at line 2 (correct it, or name another file with"),
        ("binary.yaml", "is not text in UTF-8 (correct it, or name another file with"),
        ("list.yaml", "holds no settings: it is not a YAML mapping (correct it, or name another"),
    ],
)
@pytest.mark.posix
def test_a_settings_file_that_cannot_be_used_is_a_sentence_that_names_config(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.yaml").write_text(f"a: 1\nb: }} {SECRET}\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "list.yaml").write_text("- a\n")

    ran = run("collect", "--once", "--config", tmp_path / name)

    assert ran.code == EXIT_INPUT
    assert ran.err.startswith(f"mailvigil: {tmp_path / name}: {said}")
    assert "--config" in ran.err
    assert "Error" not in ran.err
    assert SECRET not in ran.err


@pytest.mark.posix
def test_a_secret_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    path = config(tmp_path)
    ledger(tmp_path)
    assert "holds a secret" not in run("ledger", "--config", path).err

    path.chmod(0o644)

    assert "holds a secret and others can read it" in run("ledger", "--config", path).err


@pytest.mark.parametrize("command", ["collect", "ledger"])
def test_a_file_that_is_not_a_ledger_is_refused_and_left_as_it_is(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "ledger.sqlite").write_text("no ledger")

    ran = run(command, "--config", config(tmp_path))

    assert ran.code == EXIT_INPUT
    assert "left as it is" in ran.err
    assert (tmp_path / "ledger.sqlite").read_text() == "no ledger"


def test_a_ledger_that_does_not_exist_is_never_called_complete(tmp_path: Path) -> None:
    ran = run("ledger", "--config", config(tmp_path))

    assert ran.code == EXIT_INPUT
    assert "no ledger yet" in ran.err
    assert not (tmp_path / "ledger.sqlite").exists()


def test_a_second_collector_is_refused(tmp_path: Path) -> None:
    path = config(tmp_path)
    first = SqliteLedger(tmp_path / "ledger.sqlite")
    first.acquire_lease("first", datetime.now(UTC), datetime.now(UTC) + timedelta(minutes=1))

    ran = run("collect", "--once", "--config", path)
    first.close()

    assert ran.code == EXIT_INPUT
    assert "another collector works with this ledger" in ran.err


def test_hours_that_were_listed_and_delivered_are_complete(tmp_path: Path) -> None:
    ledger(tmp_path)

    ran = run("ledger", "--config", config(tmp_path), "--format", "json")

    assert ran.code == EXIT_OK
    assert all(hour["complete"] for hour in hours(ran.out)[:-1])


def test_a_stream_that_was_begun_and_never_listed_is_not_complete(tmp_path: Path) -> None:
    ledger(tmp_path, listed=False)

    ran = run("ledger", "--config", config(tmp_path))

    assert ran.code == EXIT_FAILED
    assert "NOT complete: 24 hours" in ran.out


def test_a_content_type_that_was_never_asked_for_is_not_complete(tmp_path: Path) -> None:
    ledger(tmp_path)
    tenant = {**TENANT_SETTINGS, "content_types": ["Audit.Exchange", "Audit.General"]}

    ran = run("ledger", "--config", config(tmp_path, tenants=[tenant]))

    assert ran.code == EXIT_FAILED
    assert f"{TENANT} Audit.General: never listed" in ran.err


@pytest.mark.parametrize("outcome", ["expired", "rejected"])
def test_a_lost_blob_is_counted_in_its_hour_and_named(tmp_path: Path, outcome: str) -> None:
    hour = ledger(tmp_path, outcome=outcome)
    path = config(tmp_path)

    table, as_json = run("ledger", "--config", path), run("ledger", "--config", path,
                                                          "--format", "json")  # fmt: skip

    assert table.code == as_json.code == EXIT_FAILED
    [found] = [h for h in hours(as_json.out)[:-1] if not h["complete"]]
    assert found["hour"] == f"{hour:%Y-%m-%dT%H:%M:%SZ}"
    assert found[outcome] == 1
    assert [b["id"] for b in found["lost_blobs"]] == ["lost"]  # type: ignore[attr-defined]  # JSON
    assert "Blobs that were given up:" in table.out
    assert [TENANT, "Audit.Exchange", outcome, "lost"] in [
        line.split()[:4] for line in table.out.splitlines()
    ]


def test_a_rejected_blob_is_tried_again_on_request(tmp_path: Path) -> None:
    ledger(tmp_path, outcome="rejected")

    ran = run("ledger", "retry", "--config", config(tmp_path))

    assert ran.code == EXIT_OK
    assert "1 rejected blobs" in ran.out
    store = SqliteLedger(tmp_path / "ledger.sqlite")
    assert store.next_due(STREAM) is not None
    store.close()


def test_the_environment_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUDIT_FEED_TENANTS", TENANT)
    monkeypatch.setenv("AUDIT_FEED_SINK_KIND", "jsonl")
    monkeypatch.setenv("AUDIT_FEED_SINK_FOLDER", "rows")

    ran = run("ledger")

    assert ran.code == EXIT_OK, ran.err
    assert ran.out.splitlines()[1].split()[:2] == [TENANT, "Audit.Exchange"]


def test_without_any_settings_the_message_names_the_ways_to_give_them() -> None:
    ran = run("collect", "--once")

    assert ran.code == EXIT_INPUT
    assert "the environment and the options" in ran.err
    assert "tenants: missing" in ran.err


def test_a_misspelt_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_FEED_SNICE", "7d")

    ran = run("collect", "--once", "--config", config(tmp_path))

    assert ran.code == EXIT_INPUT
    assert "AUDIT_FEED_SNICE: unknown" in ran.err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--since", "8d", "since: not a time"),
        ("--sink", "loganalytics", "sink.endpoint: missing"),
    ],
)
def test_an_option_is_checked_like_the_file(
    tmp_path: Path, option: str, value: str, said: str
) -> None:
    ran = run("collect", "--once", "--config", config(tmp_path), option, value)

    assert ran.code == EXIT_INPUT
    assert said in ran.err


@pytest.mark.parametrize("value", ["duckdb", "jsonl:", "loganalytics:x", "csv:x"])
def test_a_sink_option_of_no_known_form_is_refused(
    tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("collect", "--once", "--config", config(tmp_path), "--sink", value)

    assert ended.value.code == EXIT_USAGE
    assert "must be loganalytics" in capsys.readouterr().err


def test_what_was_parked_can_be_printed(tmp_path: Path) -> None:
    ledger(tmp_path)
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        store.park(blob("b", datetime.now(UTC), STREAM), PARKED)

    ran = run("ledger", "parked", "--config", config(tmp_path))

    assert ran.code == EXIT_OK
    assert json.loads(ran.out) == PARKED_LINE


def two_rejected(folder: Path) -> None:
    """Make a ledger with two blobs that were rejected."""
    hour = ledger(folder)
    with closing(SqliteLedger(folder / "ledger.sqlite")) as store:
        now = datetime.now(UTC)
        store.add_blobs([blob(name, hour, STREAM) for name in ("one", "two")], now)
        for row in store.rows(STREAM, Window(hour, now)):
            store.put(rejected(row, now, "the content does not exist (AF20050)"))


def test_a_retry_of_one_blob_takes_only_that_one_and_says_why(tmp_path: Path) -> None:
    two_rejected(tmp_path)

    ran = run("ledger", "retry", "--blob", "two", "--config", config(tmp_path))

    assert ran.code == EXIT_OK
    assert "  two (the content does not exist (AF20050))" in ran.out
    assert "one" not in ran.out
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        due = store.due(STREAM, datetime.now(UTC), 9)
    assert [row.blob.id for row in due] == ["two"]


def test_a_retry_of_a_blob_that_was_not_rejected_is_refused(tmp_path: Path) -> None:
    two_rejected(tmp_path)

    ran = run("ledger", "retry", "--blob", "two", "--blob", "three", "--config", config(tmp_path))

    assert ran.code == EXIT_INPUT
    assert "--blob: no rejected blob three" in ran.err
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        assert store.next_due(STREAM) is None


@pytest.mark.posix
def test_an_export_of_what_was_parked_is_private_and_overwrites_no_file(
    tmp_path: Path,
) -> None:
    ledger(tmp_path)
    path = config(tmp_path)
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        store.park(blob("b", datetime.now(UTC), STREAM), PARKED)
    file = tmp_path / "parked.jsonl"

    first = run("ledger", "parked", "--export", file, "--config", path)
    kept = file.read_text(encoding="utf-8")
    again = run("ledger", "parked", "--export", file, "--config", path)

    assert (first.code, again.code) == (EXIT_OK, EXIT_INPUT)
    assert "1 parked remainders written" in first.out
    assert json.loads(kept)["record_id"] == "record-1"
    assert file.stat().st_mode & 0o077 == 0
    assert "exists already" in again.err
    assert file.read_text(encoding="utf-8") == kept


@pytest.mark.posix
def test_a_process_without_room_names_the_limit(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "mailvigil", "collect", "--once", "--config"]

    ran = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -v 400000 && exec "$@"', "sh", *command, str(config(tmp_path))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == EXIT_INPUT
    assert "the address space is limited to 390 MB" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(NO_THREAD)])
def test_no_memory_or_no_thread_is_an_error_that_says_what_to_raise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("mailvigil.collect.run.SqliteLedger", fail)

    ran = run("collect", "--once", "--config", config(tmp_path))

    assert ran.code == EXIT_NO_ROOM
    assert ran.err.startswith("mailvigil: ")
    assert "raise the limit" in ran.err
