"""``mailvigil explain`` says what the rule's file and the catalogue say, and no more."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from detections.commands.command import NEWCOMER, run
from mailvigil.exit_codes import EXIT_FAILED, EXIT_INPUT, EXIT_OK
from mailvigil.rules.app_names import catalogue
from mailvigil.rules.content import content_root
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.rule import Rule

RULES = load_rules(content_root())
CONSUMER = "7ae974c5-1af7-4923-af3a-fb1fd14dcb7e"


@pytest.fixture
def broken(content: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a content that the command reads, and that a test may break."""
    monkeypatch.setattr("mailvigil.commands.explain.content_root", lambda: content)
    return content


def words(text: str) -> str:
    """Return *text* without the line ends that the width makes."""
    return " ".join(text.split())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_everything_that_the_rule_says_is_explained(rule: Rule, checkout: Path) -> None:
    ran = run("explain", rule.name)

    compiled = (checkout / "kql" / "generated" / f"{rule.name}.kql").read_text(encoding="utf-8")
    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert ran.out.endswith(f"kql:\n\n{compiled}")
    told = words(ran.out)
    parts = [rule.name, rule.id, rule.title, rule.severity, rule.version, rule.description]
    for part in [*parts, *rule.misses, *rule.falsepositives, *rule.triage, *rule.sources]:
        assert words(part) in told


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_is_found_by_its_id_and_in_any_case(rule: Rule) -> None:
    by_name = run("explain", rule.name)

    for way in (rule.id, rule.id.upper(), f"{{{rule.id}}}", rule.name.upper(), f" {rule.name}\n"):
        assert run("explain", way) == by_name


def test_the_json_of_a_rule_is_what_its_file_says(checkout: Path) -> None:
    [rule] = [rule for rule in RULES if rule.name == "mailbox_throttled"]

    found = run("explain", "mailbox_throttled", "--format", "json").json

    generated = checkout / "kql" / "generated" / "mailbox_throttled.kql"
    assert found["kql"] == generated.read_text(encoding="utf-8")
    assert (found["severity"], found["version"]) == (rule.severity, rule.version)
    assert found["misses"] == list(rule.misses)
    assert found["false_positives"] == list(rule.falsepositives)
    assert found["triage"] == list(rule.triage)


def test_a_tag_is_written_as_attack_writes_it(broken: Path) -> None:
    path = broken / "sigma" / "rules" / "mail_access" / "caller_new_to_mailbox.yml"
    tags = "    - attack.t1114.002\n"
    text = path.read_text(encoding="utf-8")
    assert text.count(tags) == 1
    more = f"{tags}    - attack.initial-access\n    - attack.g0007\n    - tlp.white\n"
    path.write_text(text.replace(tags, more), encoding="utf-8")

    found = run("explain", "caller_new_to_mailbox", "--format", "json").json

    assert found["attack"] == ["Collection", "T1114.002", "Initial Access", "G0007"]


def test_a_broken_rule_is_refused_with_its_file(broken: Path) -> None:
    path = broken / "sigma" / "rules" / "mail_access" / "mailbox_throttled.yml"
    path.write_text("title: nothing\n", encoding="utf-8")

    ran = run("explain", "mailbox_throttled")

    assert (ran.code, ran.out) == (EXIT_FAILED, "")
    assert str(path) in ran.err


@pytest.mark.parametrize("way", [CONSUMER, CONSUMER.upper(), f"{{{CONSUMER}}}", f" {CONSUMER} "])
def test_a_known_id_is_known_in_every_form(way: str) -> None:
    ran = run("explain", way)

    assert (ran.code, ran.err) == (EXIT_OK, "")
    told = words(ran.out)
    assert f"application: {CONSUMER} name: Outlook user settings (consumer)" in told
    assert "maker: Microsoft's own (first party)" in told
    assert catalogue()[CONSUMER].what in told
    assert "app_names.json" in told
    assert "not thereby harmless" in told


@pytest.mark.parametrize(
    "app_id", sorted({app.party: app.id for app in catalogue().values()}.values())
)
def test_an_id_has_the_maker_that_the_catalogue_says(app_id: str) -> None:
    app = catalogue()[app_id]

    found = run("explain", app_id, "--format", "json").json

    assert (found["known"], found["name"], found["what"]) == (True, app.name, app.what)
    assert (found["party"], found["first_party"]) == (app.party, app.party == "microsoft")


def test_only_an_app_known_from_takeovers_is_shown_as_one() -> None:
    apps = {app.party: app.id for app in catalogue().values()}

    shown = {party: words(run("explain", app_id).out) for party, app_id in apps.items()}

    told = {party for party, text in shown.items() if "known from account takeovers" in text}
    assert told == {"third-party-abused"}


def test_an_unknown_id_is_stated_as_unknown_and_gets_no_name() -> None:
    ran, found = run("explain", NEWCOMER), run("explain", NEWCOMER, "--format", "json")

    told = words(ran.out)
    assert (ran.code, ran.err, found.code) == (EXIT_OK, "", EXIT_OK)
    assert f"Not known: it is not among the {len(catalogue())} application ids" in told
    assert f"\"appId eq '{NEWCOMER}'\"" in told
    assert found.json["known"] is False
    assert "name" not in found.json


@pytest.mark.parametrize(
    "what", ["nonesuch", "", "none", "7ae974c5", f"{CONSUMER}0", "*", CONSUMER.replace("-", "")]
)
def test_what_is_neither_a_rule_nor_an_id_is_refused(what: str) -> None:
    ran = run("explain", what)

    names = ", ".join(rule.name for rule in RULES)
    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert ran.err == (
        f"mailvigil: {what}: neither a rule nor an application id "
        f"(the rules are {names}; an application id is a GUID)\n"
    )


def test_what_is_asked_does_not_steer_the_terminal() -> None:
    assert run("explain", "\x1b[2J\u202enone").err.startswith("mailvigil: \\x1b[2J\\u202enone: ")


def test_a_text_of_the_rule_does_not_steer_the_terminal(broken: Path) -> None:
    path = broken / "sigma" / "rules" / "mail_access" / "mailbox_throttled.yml"
    text = path.read_text(encoding="utf-8")
    title = re.findall(r"^title: .*$", text, re.MULTILINE)[0]
    path.write_text(text.replace(title, 'title: "a\\e[31m[red]b[/red]"'), encoding="utf-8")

    ran = run("explain", "mailbox_throttled")

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert "title: a\\x1b[31m[red]b[/red]\n" in ran.out
    assert "// a\\x1b[31m[red]b[/red]\n" in ran.out
    assert "\x1b" not in ran.out


def test_prose_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")

    for rule in RULES:
        prose = run("explain", rule.name).out.partition("kql:\n")[0]
        assert max(map(len, prose.splitlines())) <= 50


def test_every_example_of_the_help_works(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("explain", "--help")
    help_ = capsys.readouterr().out
    examples = re.findall(r"^  (mailvigil explain .*)", help_, re.MULTILINE)

    ran = [run(*shlex.split(line)[1:]) for line in examples]

    assert [(result.code, result.err) for result in ran] == [(EXIT_OK, "")] * 3
    codes = re.findall(r"(?:: |; )(\d) ", " ".join(help_.partition("exit codes")[2].split()))
    assert codes == ["0", "1", "2", "4"]
