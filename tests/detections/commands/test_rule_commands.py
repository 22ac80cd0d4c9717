"""``mailvigil rules``: what is wrong is named, and the exit code says so to a script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detections.commands.command import run, version_in
from mailvigil.exit_codes import EXIT_FAILED, EXIT_INPUT, EXIT_OK, EXIT_STALE

CHECKOUT = Path(__file__).resolve().parents[3]


def _stems(folder: str, pattern: str) -> list[str]:
    return [
        path.stem
        for path in (CHECKOUT / folder).rglob(pattern)
        if not path.name.endswith((".test.yaml", ".test.yml"))
    ]


NAMES = sorted([*_stems("sigma/rules", "*.yml"), *_stems("kql/analytics", "*.yaml")])
HUNTING = sorted(_stems("kql/hunting", "*.yaml"))
SUMMARY = sorted(_stems("kql/summary", "*.yaml"))


def rule_file(content: Path, name: str) -> Path:
    return content / "sigma" / "rules" / "mail_access" / name


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {path.name}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def leave_two_cases(content: Path) -> None:
    """Take all cases but the first and the last out of a rule's tests: each runs on four tables."""
    path = rule_file(content, "mailbox_throttled.test.yaml")
    head, first, *_, last = path.read_text(encoding="utf-8").split("    - name: ")
    path.write_text(f"{head}    - name: {first}    - name: {last}", encoding="utf-8")


def test_every_rule_is_listed_with_version_and_severity() -> None:
    ran = run("rules", "list")

    assert (ran.code, ran.err) == (EXIT_OK, "")
    head, *lines = ran.out.splitlines()
    assert head.split() == ["name", "form", "version", "severity", "title"]
    assert [line.split(maxsplit=3)[:3] for line in lines[len(NAMES) :]] == [
        [name, form, version_in(CHECKOUT / f"kql/{form}/{name}.yaml")]
        for form, listed in (("hunting", HUNTING), ("summary", SUMMARY))
        for name in listed
    ]
    words = [line.split(maxsplit=4) for line in lines[: len(NAMES)]]
    assert [name for name, *_ in words] == NAMES
    assert {name: (kind, severity) for name, kind, _, severity, _ in words} | {
        "caller_new_to_tenant": ("sigma", "High"),
        "mailbox_audit_bypass": ("NRT", "High"),
        "mailbox_throttled": ("sigma", "Medium"),
    } == {name: (kind, severity) for name, kind, _, severity, _ in words}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for _, _, version, *_ in words)
    assert all(title for *_, title in words)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (b"a: b: c\n", ":1:5: is not YAML: "),
        (
            b"date: 2024-02-31\n",
            ":1:7: is not YAML: a date or time that does not exist ",
        ),
        (b"a: " + b"[" * 900 + b"]" * 900, ":1:103: is not YAML: nested too deeply "),
        (b"- a list\n", ": not a Sigma rule: not a mapping of names to values"),
        (b"title: x\n", ": not a Sigma rule: logsource is not a mapping"),
        (b"\xff", ": is not text in UTF-8 (write it in UTF-8)"),
        (None, ": cannot be read: "),
    ],
)
def test_a_broken_rule_is_named_beside_the_list_of_the_others(
    content: Path, written: bytes | None, problem: str
) -> None:
    path = rule_file(content, "mailbox_throttled.yml")
    path.unlink()
    if written is None:
        path.mkdir()
    else:
        path.write_bytes(written)

    ran = run("rules", "list")

    assert ran.code == EXIT_FAILED
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == [
        *(name for name in NAMES if name != "mailbox_throttled"),
        *HUNTING,
        *SUMMARY,
    ]
    assert ran.err.startswith(f"{path}{problem}")
    assert all(line.startswith(str(path)) for line in ran.err.splitlines())


@pytest.mark.parametrize("below", [f"hunting/{HUNTING[0]}", f"summary/{SUMMARY[0]}"])
def test_a_broken_query_is_named_beside_the_list_of_the_rules(content: Path, below: str) -> None:
    path = content / "kql" / f"{below}.yaml"
    path.write_text("a: b: c", encoding="utf-8")

    ran = run("rules", "list")

    assert ran.code == EXIT_FAILED
    assert len(ran.out.splitlines()) == len([*NAMES, *HUNTING, *SUMMARY])
    assert ran.err.startswith(f"{path}:1:5: is not YAML: ")


@pytest.mark.parametrize(
    ("folder", "name", "ending"),
    [
        ("sigma/rules/mail_access", "new_rule.yaml", ".yml"),
        ("kql/analytics", "new_rule.yml", ".yaml"),
        ("kql/hunting", "new_query.yml", ".yaml"),
    ],
)
def test_a_rule_in_a_file_of_another_ending_is_named(
    content: Path, folder: str, name: str, ending: str
) -> None:
    path = content / folder / name
    path.write_text("title: x\n", encoding="utf-8")

    ran = run("rules", "list")

    assert ran.code == EXIT_FAILED
    assert ran.err == f"{path}: its name does not end in {ending} (rename it)\n"


def test_the_shipped_rules_have_no_problem() -> None:
    ran = run("rules", "check")

    assert (ran.code, ran.err) == (EXIT_OK, "")
    analyses, summary = ran.out.splitlines()
    assert summary == (
        f"{len(NAMES)} rules, {len(HUNTING)} hunting queries, {len(SUMMARY)} summary rules, "
        "4 functions, 0 problems"
    )
    counted = re.fullmatch(
        r"(\d+) analyses of a query with a set of missing tables, (\d+) of them different", analyses
    )
    assert counted
    # Each query reads two tables or more, and so has four sets of them at least.
    queries = len(NAMES) + len(HUNTING)
    assert int(counted[1]) >= 4 * queries
    assert queries < int(counted[2]) < int(counted[1])


def test_all_problems_of_all_files_that_are_not_rules_are_reported(content: Path) -> None:
    no_version = rule_file(content, "mailbox_throttled.yml")
    no_history = rule_file(content, "caller_new_to_tenant.yml")
    no_rule = rule_file(content, "session_of_several_users.yml")
    change(no_version, f"version: {version_in(no_version)}", "version:")
    change(no_history, "    minimum_history: 7d\n", "")
    change(no_rule, "- mail_read_in_a_session", "- nowhere")

    ran = run("rules", "check")

    assert (ran.code, ran.out) == (EXIT_FAILED, "")
    first, second, *others = ran.err.splitlines()
    assert re.fullmatch(rf"{no_history}:\d+:1: first_seen.minimum_history is missing \(.+\)", first)
    empty = r"mailvigil.version is empty \(give a text such as 1.0.0\)"
    assert re.fullmatch(rf"{no_version}:\d+:5: {empty}", second)
    assert others == [
        f"{no_rule}: correlation.rules 'nowhere' is not one rule of this file",
        f"{no_rule}: the rule 'Mail read in a session' is not in correlation.rules",
    ]


def test_a_file_that_is_not_a_function_is_reported(content: Path) -> None:
    path = content / "kql" / "functions" / "Broken.yaml"
    path.write_text("FunctionName: Broken\n", encoding="utf-8")

    ran = run("rules", "check")

    assert ran.code == EXIT_FAILED
    assert f"{path}: not a KQL function in Sentinel's parser form" in ran.err


def test_no_shipped_query_is_stale() -> None:
    ran = run("rules", "compile", "--check")

    assert (ran.code, ran.out, ran.err) == (EXIT_OK, f"{len(NAMES)} rules, 0 files stale\n", "")


def test_a_stale_missing_or_extra_query_is_named_and_left_alone(content: Path) -> None:
    generated = content / "kql" / "generated"
    (generated / "mailbox_throttled.kql").unlink()
    (generated / "gone.kql").write_text("T\n", encoding="utf-8")
    crlf = (generated / "foreign_token_tenant.kql").read_bytes().replace(b"\n", b"\r\n")
    (generated / "foreign_token_tenant.kql").write_bytes(crlf)
    change(rule_file(content, "caller_new_to_tenant.yml"), "within: 1d", "within: 2d")
    before = {path.name: path.read_bytes() for path in generated.glob("*.kql")}

    ran = run("rules", "compile", "--check")

    stale = (
        "caller_new_to_tenant",
        "defender/caller_new_to_tenant",
        "foreign_token_tenant",
        "gone",
        "mailbox_throttled",
    )
    assert ran.code == EXIT_STALE
    assert ran.out.splitlines() == [
        *(f"{generated / name}.kql: out of date" for name in stale),
        f"{len(NAMES)} rules, 5 files stale",
    ]
    assert {path.name: path.read_bytes() for path in generated.glob("*.kql")} == before


def test_compile_leaves_nothing_stale(content: Path, checkout: Path) -> None:
    generated = content / "kql" / "generated"
    (generated / "mailbox_throttled.kql").unlink()
    (generated / "gone.kql").write_text("T\n", encoding="utf-8")

    ran, again = run("rules", "compile"), run("rules", "compile", "--check")

    assert (ran.code, again.code) == (EXIT_OK, EXIT_OK)
    assert "gone.kql: written" not in ran.out
    assert f"{generated / 'gone.kql'}: removed" in ran.out
    assert f"{generated / 'mailbox_throttled.kql'}: written" in ran.out
    assert {path.name: path.read_bytes() for path in generated.glob("*.kql")} == {
        path.name: path.read_bytes() for path in (checkout / "kql" / "generated").glob("*.kql")
    }


def test_one_target_is_compiled_alone(content: Path) -> None:
    generated = content / "kql" / "generated"
    (generated / "gone.kql").write_text("T\n", encoding="utf-8")
    (generated / "defender" / "mailbox_throttled.kql").unlink()

    ran = run("rules", "compile", "--check", "--target", "defender")

    place = generated / "defender" / "mailbox_throttled.kql"
    assert ran.code == EXIT_STALE
    assert ran.out.splitlines()[0] == f"{place}: out of date"
    assert ran.out.splitlines()[1] == f"{len(NAMES)} rules, 1 file stale"
    assert "read_without_sign_in.yaml: not for Defender XDR: it needs one of SigninLogs" in ran.err


def test_filters_leave_the_packs_own_files_alone(content: Path, tmp_path: Path) -> None:
    folder = tmp_path / "filters"
    folder.mkdir()
    text = (
        "title: Backup\nlogsource: {product: m365, service: audit}\n"
        "filter: {rules: any, a: {UserId: backup@contoso.example}, condition: not a}\n"
    )
    (folder / "backup.yml").write_text(text, encoding="utf-8")
    out = tmp_path / "out"

    refused = run("rules", "compile", "--filters", str(folder))
    done = run("rules", "compile", "--filters", str(folder), "--out", str(out))

    assert "name another folder with --out" in refused.err
    assert done.code == EXIT_OK
    assert "backup@" in (out / "mailbox_throttled.kql").read_text(encoding="utf-8")
    assert "backup@" in (out / "defender" / "mailbox_throttled.kql").read_text(encoding="utf-8")
    own = content / "kql" / "generated" / "mailbox_throttled.kql"
    assert "backup@" not in own.read_text(encoding="utf-8")


def test_the_tests_of_one_rule_run_alone() -> None:
    ran = run("rules", "test", "mailbox_throttled")

    *lines, last = ran.out.splitlines()
    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert last == "44 pass, 0 fail, 0 not run"
    assert all(line.startswith("pass     mailbox_throttled [") for line in lines)
    assert {line.split("[")[1].split("]")[0] for line in lines} == {
        "M365Activity_CL",
        "CloudAppEvents",
        "OfficeActivity",
        "M365Activity_CL + OfficeActivity",
    }


def test_a_failing_test_is_reported(content: Path) -> None:
    leave_two_cases(content)
    change(rule_file(content, "mailbox_throttled.test.yaml"), "Records: 2", "Records: 3")

    ran = run("rules", "test", "mailbox_throttled")

    assert ran.code == EXIT_FAILED
    assert "fail     mailbox_throttled [CloudAppEvents]: a throttled mailbox fires once" in ran.out
    assert "         missing: {" in ran.out
    assert "         not expected: {" in ran.out
    assert ran.out.endswith("4 pass, 4 fail, 0 not run\n")


def test_a_query_that_the_engine_refuses_is_not_run(content: Path) -> None:
    leave_two_cases(content)
    pipeline = content / "sigma" / "pipelines" / "mail_items_accessed.yml"
    change(pipeline, "MailItemsAccessed()\n", "MailItemsAccessed() | evaluate autocluster()\n")

    ran = run("rules", "test", "mailbox_throttled")

    assert ran.code == EXIT_FAILED
    assert ran.out.endswith("0 pass, 0 fail, 2 not run\n")
    assert "not run  mailbox_throttled: " in ran.out


@pytest.mark.parametrize("command", ["test", "mutate"])
def test_an_unknown_rule_is_refused(command: str) -> None:
    ran = run("rules", command, "mailbox_throttled", "nonesuch")

    names = [*NAMES, *HUNTING, *SUMMARY] if command == "test" else NAMES
    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert ran.err == (f"mailvigil: nonesuch: no such rule (there are {', '.join(names)})\n")
