"""``collect`` and ``ledger``: what they refuse, and with which exit code."""

from __future__ import annotations

import base64
import json
import sqlite3
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
from audit_feed.ledger.states import SECOND_ANSWER, delivered, expired, rejected
from audit_feed.records.batches import Parked
from audit_feed.windows import HOUR, Window, hour_of
from connector.made import PARKED, PARKED_LINE, TENANT, blob
from detections.commands.command import run
from mailvigil.cli import NO_THREAD
from mailvigil.exit_codes import (
    EXIT_FAILED,
    EXIT_INPUT,
    EXIT_NO_ROOM,
    EXIT_OK,
    EXIT_SETTINGS,
    EXIT_USAGE,
)

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


def ledger(
    folder: Path, *, listed: bool = True, outcome: str = "", covered: bool = True, days: int = 1
) -> datetime:
    """Make a ledger that began *days* ago; return the hour of its one blob."""
    now = datetime.now(UTC)
    first = hour_of(now) - 24 * HOUR * days
    store = SqliteLedger(folder / "ledger.sqlite")
    store.register_stream(STREAM, first)
    if covered:
        store.note_enabled(STREAM, [first])
    if listed:
        store.mark_listed(STREAM, [first + HOUR * n for n in range(24 * days + 1)], now)
    if outcome:
        store.add_blobs([blob("lost", first + HOUR, STREAM)], now)
        give_up(store, Window(first, now), outcome)
    store.close()
    return first + HOUR


def give_up(store: SqliteLedger, window: Window, outcome: str, why: str = "unknown") -> None:
    """Let the feed say twice, an hour apart, that the blobs of *window* are gone."""
    now = datetime.now(UTC)
    for time in (now - SECOND_ANSWER, now):
        for row in store.rows(STREAM, window):
            store.put(expired(row, time) if outcome == "expired" else rejected(row, time, why))


def closed(text: str) -> list[Mapping[str, object]]:
    """Return the hours of a statement that can be stated by now."""
    return [hour for hour in hours(text) if hour["state"] != "open"]


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

    assert ran.code == EXIT_SETTINGS
    assert str(path) in ran.err


@pytest.mark.parametrize("command", ["collect", "ledger", "doctor"])
def test_settings_that_are_missing_are_refused(tmp_path: Path, command: str) -> None:
    ran = run(command, "--config", tmp_path / "none.yaml")

    assert ran.code == EXIT_SETTINGS
    assert "none.yaml: no such file (write one, as docs/collect.md says" in ran.err


def test_all_that_is_wrong_is_named_without_the_secret(tmp_path: Path) -> None:
    ran = run("collect", "--once", "--config",
              config(tmp_path, since="30d", workers=0, extra=SECRET))  # fmt: skip

    assert ran.code == EXIT_SETTINGS
    for word in ("since", "workers", "extra"):
        assert word in ran.err
    assert SECRET not in ran.err + ran.out


@pytest.mark.parametrize("command", ["collect", "ledger", "doctor"])
def test_each_wrong_setting_has_a_line_of_its_own(tmp_path: Path, command: str) -> None:
    """And what stands in the file ends no line: an escape shows it."""
    path = config(tmp_path, workers=0, **{"odd\nmailvigil: all is well": 1})

    ran = run(command, "--config", path)

    assert ran.code == EXIT_SETTINGS
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

    assert ran.code == EXIT_SETTINGS
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
    assert len(closed(ran.out)) == 21
    assert all(hour["complete"] for hour in closed(ran.out))


def test_a_stream_that_was_begun_and_never_listed_is_not_complete(tmp_path: Path) -> None:
    ledger(tmp_path, listed=False)

    ran = run("ledger", "--config", config(tmp_path))

    assert ran.code == EXIT_FAILED
    assert "NOT complete: 21 hours" in ran.out
    assert "not listed to its end yet" in ran.out


def test_an_hour_before_the_subscription_is_not_covered_and_not_complete(tmp_path: Path) -> None:
    ledger(tmp_path, covered=False)
    path = config(tmp_path)

    table, as_json = run("ledger", "--config", path), run("ledger", "--config", path,
                                                          "--format", "json")  # fmt: skip

    assert table.code == as_json.code == EXIT_FAILED
    assert {hour["state"] for hour in closed(as_json.out)} == {"not covered"}
    assert {hour["why"] for hour in closed(as_json.out)} == {
        "no subscription is known to have existed"
    }
    [line] = [line for line in table.out.splitlines() if "not covered" in line]
    assert "21" in line.split()
    assert line.endswith("no subscription is known to have existed")


def test_after_a_first_start_the_ledger_says_what_is_not_covered_and_until_when(
    tmp_path: Path,
) -> None:
    first = ledger(tmp_path, covered=False) - HOUR
    known = first + timedelta(hours=12, minutes=30)
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        store.note_enabled(STREAM, [known])
    path = config(tmp_path)

    week, last_hours = run("ledger", "--config", path), run("ledger", "--config", path,
                                                            "--since", "10h")  # fmt: skip

    assert (week.code, last_hours.code) == (EXIT_FAILED, EXIT_OK)
    assert "Nothing needs to be done" not in last_hours.out
    said = week.out.partition("Nothing needs to be done about the hours below.")[2]
    leaves = first + timedelta(days=7, hours=13)
    assert said.split()[-3:] == [
        "13",
        f"{known:%Y-%m-%dT%H:%M:%SZ}",
        f"{leaves:%Y-%m-%dT%H:%M:%SZ}",
    ]


def test_an_hour_whose_last_listing_failed_is_complete_no_more_and_says_why(
    tmp_path: Path,
) -> None:
    hour = ledger(tmp_path)
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        store.mark_unlisted(STREAM, [hour], "page 2: HTTP 500")

    ran = run("ledger", "--config", config(tmp_path), "--format", "json")

    assert ran.code == EXIT_FAILED
    [found] = [h for h in closed(ran.out) if not h["complete"]]
    assert (found["hour"], found["state"], found["why"]) == (
        f"{hour:%Y-%m-%dT%H:%M:%SZ}", "pending", "page 2: HTTP 500",
    )  # fmt: skip


def test_a_ledger_with_open_hours_alone_has_nothing_to_state(tmp_path: Path) -> None:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        store.register_stream(STREAM, hour_of(datetime.now(UTC)))

    ran = run("ledger", "--config", config(tmp_path))

    assert ran.code == EXIT_OK
    assert "nothing to state yet" in ran.out
    assert "complete" not in ran.out


def test_a_loss_before_the_last_seven_days_is_stated_for_as_long_as_the_ledger_goes_back(
    tmp_path: Path,
) -> None:
    hour = ledger(tmp_path, days=20, outcome="expired")
    path = config(tmp_path)

    whole = run("ledger", "--config", path, "--format", "json")
    table = run("ledger", "--config", path)
    last_day = run("ledger", "--config", path, "--since", "24h")

    assert (whole.code, table.code, last_day.code) == (EXIT_FAILED, EXIT_FAILED, EXIT_OK)
    first, *others = hours(whole.out)
    assert (first["hour"], first["state"]) == (f"{hour:%Y-%m-%dT%H:%M:%SZ}", "lost")
    assert [lost["id"] for lost in first["lost_blobs"]] == ["lost"]  # type: ignore[attr-defined]  # JSON
    assert {other["state"] for other in others} == {"complete", "open"}
    assert "blobs that were given up: 1" in table.out
    assert "lost" in table.out.partition("Blobs that were given up:")[2]


@pytest.mark.parametrize("covered", [True, False])
def test_a_blob_that_is_not_delivered_is_stated_after_the_last_seven_days_too(
    tmp_path: Path,
    covered: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    hour = ledger(tmp_path, days=20, covered=False)
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        store.note_enabled(STREAM, [hour if covered else hour + HOUR])
        store.add_blobs([blob("waits", hour, STREAM)], hour)

    ran = run("ledger", "--config", config(tmp_path), "--format", "json")

    assert ran.code == EXIT_FAILED
    first, *others = hours(ran.out)
    assert (first["hour"], first["pending"]) == (f"{hour:%Y-%m-%dT%H:%M:%SZ}", 1)
    assert first["state"] == ("pending" if covered else "not covered")
    assert {other["state"] for other in others} == {"complete", "open"}


def test_hours_that_nobody_listed_while_the_feed_had_them_are_lost_in_one_line(
    tmp_path: Path,
) -> None:
    ledger(tmp_path, days=9, listed=False)
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        now = datetime.now(UTC)
        kept = [hour_of(now) - HOUR * n for n in range(24 * 7 + 1)]
        store.mark_listed(STREAM, kept, now)

    ran = run("ledger", "--config", config(tmp_path))

    assert ran.code == EXIT_FAILED
    [line] = [line for line in ran.out.splitlines() if " lost " in line]
    assert "48" in line.split()
    assert line.endswith("not listed to its end while the feed kept it")


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
    [found] = [h for h in closed(as_json.out) if not h["complete"]]
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

    assert ran.code == EXIT_SETTINGS
    assert "the environment and the options" in ran.err
    assert "tenants: missing" in ran.err


def test_a_misspelt_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_FEED_SNICE", "7d")

    ran = run("collect", "--once", "--config", config(tmp_path))

    assert ran.code == EXIT_SETTINGS
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

    assert ran.code == EXIT_SETTINGS
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


def test_what_was_parked_loses_nothing_whatever_it_is(tmp_path: Path) -> None:
    ledger(tmp_path)
    odd = [b'{"a":1,"a":2}', b"NaN", b"\xff", b'{"n":18446744073709551616}', b"[" * 5_000]
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        for data in odd:
            store.park(blob("b", datetime.now(UTC), STREAM), Parked("", data, "not an object"))

    ran = run("ledger", "parked", "--config", config(tmp_path))

    assert ran.code == EXIT_OK
    lines = [json.loads(line) for line in ran.out.splitlines()]
    raw = [base64.b64decode(line["raw_base64"]) if "raw_base64" in line else line["raw"].encode()
           for line in lines]  # fmt: skip
    assert sorted(raw) == sorted(odd)
    assert {line["why"] for line in lines} == {"not an object"}


def deliver(folder: Path) -> None:
    """Add a blob to the ledger that is delivered."""
    now = datetime.now(UTC)
    with closing(SqliteLedger(folder / "ledger.sqlite")) as store:
        store.add_blobs([blob("done", now - HOUR, STREAM)], now)
        [row] = store.rows(STREAM, Window(now - 2 * HOUR, now))
        store.put(delivered(row, now, records=1, sent=1, parked=0))


def test_all_that_the_feed_still_has_is_delivered_again_on_request(tmp_path: Path) -> None:
    ledger(tmp_path)
    deliver(tmp_path)

    ran = run("ledger", "redeliver", "--config", config(tmp_path))

    assert ran.code == EXIT_OK, ran.err
    assert "1 blob will be delivered again by the next run of collect" in ran.out
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        assert [row.blob.id for row in store.due(STREAM, datetime.now(UTC), 9)] == ["done"]


def test_a_redelivery_writes_what_is_parked_to_a_file_first(tmp_path: Path) -> None:
    ledger(tmp_path)
    deliver(tmp_path)
    path, file = config(tmp_path), tmp_path / "parked.jsonl"
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        store.park(blob("done", datetime.now(UTC) - HOUR, STREAM), PARKED)

    without = run("ledger", "redeliver", "--config", path)
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        untouched = store.next_due(STREAM) is None
    ran = run("ledger", "redeliver", "--export", file, "--config", path)

    assert (without.code, untouched) == (EXIT_INPUT, True)
    assert "--export FILE writes them to a file first" in without.err
    assert ran.code == EXIT_OK, ran.err
    assert json.loads(file.read_text()) == PARKED_LINE


@pytest.mark.parametrize("action", ["redeliver", "accept", "repair"])
def test_a_ledger_that_a_collector_works_with_is_not_changed(tmp_path: Path, action: str) -> None:
    ledger(tmp_path)
    now = datetime.now(UTC)
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as collector:
        collector.acquire_lease("collector", now, now + HOUR)

        ran = run("ledger", action, "--config", config(tmp_path))

    assert ran.code == EXIT_INPUT
    assert "another collector works with this ledger" in ran.err


def test_a_row_that_cannot_be_read_is_repaired_and_its_hour_is_listed_again(
    tmp_path: Path,
) -> None:
    hour = ledger(tmp_path)
    deliver(tmp_path)
    path = config(tmp_path)
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as store:
        store.add_blobs([blob("odd", hour, STREAM)], hour + HOUR)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as con, con:
        con.execute("UPDATE blobs SET due = 'never' WHERE id = 'odd'")

    broken = run("ledger", "--config", path)
    ran = run("ledger", "repair", "--config", path)
    after = run("ledger", "--config", path, "--format", "json")

    assert broken.code == EXIT_INPUT
    assert "mailvigil ledger repair" in broken.err
    assert ran.code == EXIT_OK, ran.err
    assert "blob odd" in ran.out
    assert "1 thing repaired" in ran.out
    assert after.code == EXIT_FAILED
    assert [h["hour"] for h in closed(after.out) if not h["complete"]] == [
        f"{hour:%Y-%m-%dT%H:%M:%SZ}"
    ]


def two_rejected(folder: Path) -> None:
    """Make a ledger with two blobs that were rejected."""
    hour = ledger(folder)
    with closing(SqliteLedger(folder / "ledger.sqlite")) as store:
        now = datetime.now(UTC)
        store.add_blobs([blob(name, hour, STREAM) for name in ("one", "two")], now)
        give_up(store, Window(hour, now), "rejected", "the content does not exist (AF20050)")


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
