"""A rule file is read whole, and all that is wrong with it is said at once."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from detections.small_tenant import ROOT, SIGMA
from mailvigil.errors import RuleError
from mailvigil.rules.durations import duration
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.sigma_rule import FirstSeen, Rare, parse_sigma_rule

PATH = Path("some/rule.yml")
NEW = SIGMA["caller_new_to_tenant"]
PLAIN = SIGMA["mailbox_throttled"]

Node = dict[str, object]


def changed(text: str, path: str, value: object) -> str:
    """Return the rule with the attribute at a dotted *path* set, or removed for None."""
    data = yaml.safe_load(text)
    *outer, last = path.split(".")
    place = data
    for step in outer:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return yaml.safe_dump(data)


def problems(text: str) -> list[str]:
    with pytest.raises(RuleError) as caught:
        parse_sigma_rule(PATH, text)
    return list(caught.value.problems)


def test_a_shipped_rule_is_read_as_its_file_says_it() -> None:
    rare = SIGMA["caller_new_to_mailbox"]

    assert NEW.severity == "High"
    assert (NEW.within, NEW.by) == ("1d", ("OrganizationId", "Caller", "Protocol"))
    assert NEW.first_seen == FirstSeen(baseline="14d", minimum_history="7d", rare=None)
    assert rare.first_seen
    assert rare.first_seen.rare == Rare("MailboxId", 5)
    assert (PLAIN.within, PLAIN.by) == ("1d", ("OrganizationId", "MailboxId"))
    assert PLAIN.first_seen is None
    assert PLAIN.sources == ("M365Activity_CL", "CloudAppEvents", "OfficeActivity")
    assert [entity.column for entity in PLAIN.entities] == ["Mailbox", "User", "Address"]


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("mailvigil.version", None, "mailvigil.version"),
        ("mailvigil.sources", [], "mailvigil.sources"),
        ("mailvigil.sources", "M365Activity_CL", "mailvigil.sources"),
        ("mailvigil.misses", [1], "mailvigil.misses"),
        ("mailvigil.triage", None, "mailvigil.triage"),
        ("mailvigil.why", "", "mailvigil.why"),
        ("mailvigil.entities", None, "mailvigil.entities"),
        ("mailvigil.entities", [{"type": "IP"}], "mailvigil.entities"),
        ("mailvigil.entities", ["IP"], "mailvigil.entities"),
        ("first_seen.within", "1w", "first_seen.within"),
        ("first_seen.within", None, "first_seen.within"),
        ("first_seen.by", None, "first_seen.by"),
        ("first_seen.baseline", 14, "first_seen.baseline"),
        ("first_seen.minimum_history", "7 d", "first_seen.minimum_history"),
        ("first_seen.rare", {"count": "MailboxId"}, "first_seen.rare.at_most"),
        ("first_seen.rare", {"at_most": 0, "count": "x"}, "first_seen.rare.at_most"),
        ("first_seen.rare", {"at_most": 5}, "first_seen.rare.count"),
        ("mailvigil", "text", "mailvigil.version"),
    ],
)
def test_a_wrong_attribute_is_named(path: str, value: object, named: str) -> None:
    found = problems(changed(NEW.text, path, value))

    assert any(p.startswith(f"{PATH}: {named} is missing or wrong (give ") for p in found), found


def test_a_plain_rule_needs_a_window_and_a_grouping() -> None:
    assert problems(changed(PLAIN.text, "mailvigil.within", None)) == [
        f"{PATH}: mailvigil.within is missing or wrong (give a duration such as 14d, 6h or 30m)"
    ]
    assert problems(changed(PLAIN.text, "mailvigil.by", None)) == [
        f"{PATH}: mailvigil.by is missing or wrong (give a list of texts)"
    ]


def test_every_problem_is_named() -> None:
    text = changed(changed(NEW.text, "mailvigil.version", None), "first_seen.baseline", "soon")

    assert len(problems(changed(text, "mailvigil.why", None))) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "- a\n- b\n",
        "a: 1\n---\nb: 2\n",
        "title: x\n",
        "\x00",
        changed(NEW.text, "detection", None),
        changed(NEW.text, "logsource", None),
        changed(NEW.text, "id", "no uuid"),
        changed(NEW.text, "level", "loud"),
        changed(NEW.text, "detection", {"condition": 5}),
        changed(NEW.text, "tags", "attack"),
    ],
)
def test_what_is_not_a_sigma_rule_is_refused_by_name(text: str) -> None:
    found = problems(text)

    assert all(re.match(rf"{re.escape(str(PATH))}(:\d+:\d+)?: ", problem) for problem in found)


def test_text_that_is_not_yaml_is_refused_with_its_place() -> None:
    [problem] = problems("title: a: b")

    assert problem.startswith(f"{PATH}:1:9: is not YAML: ")


def test_problems_of_all_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "sigma" / "rules" / "deep"
    folder.mkdir(parents=True)
    (folder / "one.yml").write_text(changed(NEW.text, "mailvigil.why", None), encoding="utf-8")
    (folder / "two.yml").write_text("title: [", encoding="utf-8")
    (folder / "good.yml").write_text(NEW.text, encoding="utf-8")
    (folder / "good.test.yaml").write_text("no rule", encoding="utf-8")

    with pytest.raises(RuleError) as caught:
        load_rules(tmp_path)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        str(folder / "one.yml"),
        str(folder / "two.yml"),
    ]


def test_bytes_that_are_not_text_are_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "sigma" / "rules"
    folder.mkdir(parents=True)
    (folder / "bytes.yml").write_bytes(b"title: \xff\xfe")

    with pytest.raises(RuleError, match=r"bytes\.yml: "):
        load_rules(tmp_path)


def test_rules_come_in_the_order_of_their_names() -> None:
    names = [rule.name for rule in load_rules(ROOT)]

    assert names == sorted(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "length"),
    [("14d", timedelta(14)), ("6h", timedelta(hours=6)), ("90m", timedelta(minutes=90))],
)
def test_a_duration_has_the_length_that_it_says(text: str, length: timedelta) -> None:
    assert duration(text) == length


@pytest.mark.parametrize("text", ["", "d", "1w", "1.5d", "-1d", "1d1h", "1 d", "\u0661d"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 14d"):
        duration(text)
