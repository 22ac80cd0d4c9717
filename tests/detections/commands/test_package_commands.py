"""``mailvigil rules package``, ``check DIR``, ``lock``, ``diff`` and ``docs``, as they are run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from detections.commands.command import run, version_in
from mailvigil.exit_codes import EXIT_FAILED, EXIT_INPUT, EXIT_OK, EXIT_STALE
from mailvigil.rules.hunting_query import load_hunting
from mailvigil.rules.load_rules import load_rules

THROTTLED = "sigma/rules/mail_access/mailbox_throttled.yml"


PUBLISHER = """\
name: Contoso Security
email: support@contoso.example
link: https://contoso.example/support
"""
KEPT = {
    "caller_new_to_tenant",
    "foreign_token_tenant",
    "mailbox_throttled",
    "mailbox_audit_bypass",
    "caller_inventory",
    "mailbox_timeline",
}


@pytest.fixture
def small(content: Path) -> Path:
    """Return the content with few rules and hunting queries, locked: commands take a second."""
    for path in (*content.glob("sigma/rules/*/*"), *content.glob("kql/[ah]*/*.yaml")):
        if path.name.partition(".")[0] not in KEPT:
            path.unlink()
    (content / "kql/rules.lock").unlink()
    assert run("rules", "lock").code == EXIT_OK
    return content


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {path.name}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_packaged_folder_passes_its_own_check(small: Path, tmp_path: Path) -> None:
    path = small / THROTTLED  # the lock minds no comment
    path.write_text(f"{path.read_text(encoding='utf-8')}# A comment.\n", encoding="utf-8")
    out = tmp_path / "out"
    rules, hunting = len(load_rules(small)), len(load_hunting(small))

    packaged, checked = run("rules", "package", "--out", out), run("rules", "check", out)

    assert (packaged.code, packaged.err) == (EXIT_OK, "")
    assert packaged.out.startswith(f"{out}: {rules} rules, 4 of them for Defender, {hunting} ")
    assert (checked.code, checked.out) == (EXIT_OK, f"{out}: 0 problems\n")
    name = "repository/HuntingQueries/caller_inventory.json"
    [search] = json.loads((out / name).read_bytes())["resources"]
    assert search["properties"]["category"] == "Hunting Queries"


def test_a_pull_request_for_the_content_hub_lacks_the_pictures_alone(
    small: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "publisher.yaml"
    settings.write_text(PUBLISHER, encoding="utf-8")
    place = tmp_path / "pull"
    rules, hunting = len(load_rules(small)), len(load_hunting(small))

    packaged = run("rules", "package", "--for", "content-hub", place, "--publisher", settings)
    checked = run("rules", "check", place)

    assert (packaged.code, packaged.err) == (EXIT_OK, "")
    first, head, *left = packaged.out.splitlines()
    assert first.startswith(f"{place}: {rules} rules, {hunting} hunting queries, 4 functions, ")
    assert head == "Left to do by hand:"
    assert left[0].startswith("- Workbooks/Images/Preview/mailvigilBlack.png: take it of ")
    assert checked.code == EXIT_FAILED
    problems = [line for line in checked.out.splitlines() if "not checked here: " not in line]
    assert problems == [
        "Workbooks/Images/Preview/mailvigilBlack.png: is missing (take it in a live workspace)",
        "Workbooks/Images/Preview/mailvigilWhite.png: is missing (take it in a live workspace)",
        f"{place}: 2 problems",
    ]
    assert "not checked here: that links can be reached" in checked.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--for", "content-hub"), "needs to know who publishes"),
        (("--publisher", "x.yaml"), "--publisher: is for --for content-hub alone"),
        (("--for", "content-hub", "--publisher", "x.yaml"), "x.yaml: cannot be read"),
    ],
)
def test_a_package_needs_a_publisher_for_the_content_hub_alone(
    options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    ran = run("rules", "package", *options, tmp_path / "out")

    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert message in ran.err
    assert not (tmp_path / "out").exists()


def test_a_content_with_a_problem_is_not_packaged(small: Path, tmp_path: Path) -> None:
    change(small / THROTTLED, "column: Address}", "column: Adress}")

    ran = run("rules", "package", "--out", tmp_path / "out")

    assert (ran.code, ran.out) == (EXIT_FAILED, "")
    assert "entity IP maps Adress, which the query does not return" in ran.err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_a_package_is_refused(tmp_path: Path) -> None:
    ran = run("rules", "check", tmp_path)

    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert f"{tmp_path}: no packaged folder" in ran.err


def test_what_changed_needs_a_higher_version(small: Path) -> None:
    function = small / "kql/functions/MailItemsAccessed.yaml"
    change(function, "iff(coalesce(IsThrottled, false)", "iff(coalesce(IsThrottled, true)")
    change(small / THROTTLED, "IsThrottled: 'True'", "IsThrottled: 'Yes'")
    change(small / "kql/workbooks/mailvigil.json", "Callers, the newest", "Callers, the oldest")
    rule_was, function_was = version_in(small / THROTTLED), version_in(function)

    checked, refused = run("rules", "check"), run("rules", "lock")
    change(small / THROTTLED, f"version: {rule_was}", "version: 7.1.0")
    change(function, f"Version: '{function_was}'", "Version: '8.0.0'")
    change(small / "kql/solution.yaml", "version: 1.0.0", "version: 1.1.0")
    locked = run("rules", "lock")

    assert (checked.code, refused.code, refused.out) == (EXIT_FAILED, EXIT_FAILED, "")
    changed = {
        "rule mailbox_throttled": rule_was,
        "function MailItemsAccessed": function_was,
        "workbook mailvigil": "1.0.0",
    }
    for one, was in changed.items():
        told = f"{one} changed since {was} was locked, and its version is {was} (raise it, then run"
        assert told in checked.out
        assert told in refused.err
    assert locked.code == EXIT_OK
    assert locked.out.endswith(" locked, 3 new or changed, 0 retired\n")


def test_what_changed_between_two_contents_is_listed(small: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    assert run("rules", "package", "--out", old).code == EXIT_OK
    change(small / THROTTLED, "IsThrottled: 'True'", "IsThrottled: 'Yes'")
    was = version_in(small / THROTTLED)
    gone = version_in(small / "sigma/rules/mail_access/foreign_token_tenant.yml")
    timeline = version_in(small / "kql/hunting/mailbox_timeline.yaml")
    change(small / THROTTLED, f"version: {was}", "version: 7.1.0")
    change(small / THROTTLED, "level: medium", "level: low")
    for ending in ("yml", "test.yaml"):
        (small / f"sigma/rules/mail_access/foreign_token_tenant.{ending}").unlink()
    (small / "kql/hunting/mailbox_timeline.yaml").unlink()

    ran, back = run("rules", "diff", old, small), run("rules", "diff", small, old)
    same = run("rules", "diff", old, old)

    assert (ran.code, ran.err, same.out) == (EXIT_OK, "", "no difference\n")
    assert ran.out.splitlines()[:4] == [
        f"removed  hunting mailbox_timeline {timeline}",
        f"removed  rule foreign_token_tenant {gone}",
        f"changed  rule mailbox_throttled {was} -> 7.1.0",
        "    severity: Medium -> Low",
    ]
    assert back.out.startswith(f"added    hunting mailbox_timeline {timeline}\n")
    where = '| where (Operation =~ "MailItemsAccessed" and IsThrottled =~ "{}")'
    assert f"    -{where.format('True')}\n    +{where.format('Yes')}\n" in ran.out


def test_a_folder_without_rules_is_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    ran = run("rules", "diff", tmp_path / "empty", small)

    assert ran.code == EXIT_INPUT
    assert "empty: holds no rules (name a packaged folder, or one with sigma/ and kql/)" in ran.err


def test_no_shipped_page_is_stale() -> None:
    ran = run("rules", "docs", "--check")

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert ran.out.endswith(", 0 stale\n")


def test_a_stale_missing_or_extra_page_is_named(content: Path, checkout: Path) -> None:
    shutil.copytree(checkout / "docs", content / "docs")
    pages = content / "docs" / "rules"
    (pages / "gone.md").write_text("x\n", encoding="utf-8")
    (pages / "mailbox_throttled.md").unlink()
    (content / "docs/coverage.md").write_text("old\n", encoding="utf-8")

    told, written = run("rules", "docs", "--check"), run("rules", "docs")
    again = run("rules", "docs", "--check")

    assert (told.code, written.code, again.code) == (EXIT_STALE, EXIT_OK, EXIT_OK)
    assert told.out.splitlines()[:3] == [
        f"{content / 'docs/coverage.md'}: out of date",
        f"{pages / 'gone.md'}: out of date",
        f"{pages / 'mailbox_throttled.md'}: out of date",
    ]
    assert not (pages / "gone.md").exists()
    assert (pages / "mailbox_throttled.md").read_bytes() == (
        checkout / "docs/rules/mailbox_throttled.md"
    ).read_bytes()
