"""The list of rules, which is read without pySigma, says what the rules say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailvigil.errors import RuleError
from mailvigil.rules.catalogue import catalogue_entries
from mailvigil.rules.content import content_root
from mailvigil.rules.hunting_query import load_hunting
from mailvigil.rules.load import load_rules


def test_the_catalogue_says_what_the_rules_and_queries_say() -> None:
    root = content_root()
    entries = {entry.name: entry for entry in catalogue_entries(root)}

    rules, queries = load_rules(root), load_hunting(root)
    assert list(entries) == [rule.name for rule in rules] + [query.name for query in queries]
    for rule in rules:
        entry = entries[rule.name]
        assert (entry.version, entry.severity, entry.title) == (
            rule.version,
            rule.severity,
            rule.title,
        )
        assert entry.form == rule.kind or (entry.form == "NRT" and rule.kind == "kql")
    for query in queries:
        entry = entries[query.name]
        assert (entry.form, entry.version, entry.title) == ("hunting", query.version, query.title)


def test_a_rule_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "sigma" / "rules"
    folder.mkdir(parents=True)
    (folder / "no_yaml.yml").write_text("title: [", encoding="utf-8")
    (folder / "no_version.yml").write_text("title: x\nlevel: low\n", encoding="utf-8")
    (folder / "list.yml").write_text("- x\n", encoding="utf-8")

    with pytest.raises(RuleError) as raised:
        catalogue_entries(tmp_path)

    assert [problem.split(":")[0].rsplit("/", 1)[-1] for problem in raised.value.problems] == [
        "list.yml",
        "no_version.yml",
        "no_yaml.yml",
    ]
