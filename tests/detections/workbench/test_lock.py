"""``rules.lock``: no change of what is deployed goes without a higher version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mailvigil.errors import InputError
from mailvigil.workbench.lock import (
    Lock,
    Locked,
    lock_problems,
    lock_text,
    read_lock,
    renewed,
    unversioned,
)

RULE = Locked("rule", "throttled", "1.2.0", "aa")
OLD = Lock({"id-1": RULE}, {})


def problems(**changes: str) -> list[str]:
    return list(lock_problems(OLD, {"id-1": replace(RULE, **changes)}))


def test_an_unchanged_rule_has_no_problem() -> None:
    assert problems() == []


@pytest.mark.parametrize("version", ["1.2.0", "1.1.9", "0.9.10"])
def test_a_changed_rule_needs_a_higher_version(version: str) -> None:
    [problem] = problems(hash="bb", version=version)

    assert problem == (
        f"rule throttled changed since 1.2.0 was locked, and its version is {version} "
        "(raise it, then run: make content)"
    )


def test_a_tenth_version_is_higher_than_the_ninth() -> None:
    old = Lock({"id-1": replace(RULE, version="1.9.0")}, {})

    assert list(unversioned(old, {"id-1": replace(RULE, version="1.10.0", hash="bb")})) == []


def test_a_stale_lock_is_named() -> None:
    assert problems(hash="bb", version="1.3.0") == [
        "rule throttled is 1.2.0 in rules.lock, and now 1.3.0 (run: make content)"
    ]


def test_a_version_that_went_back_is_named() -> None:
    assert problems(version="1.1.0") == ["rule throttled went back from 1.2.0 to 1.1.0"]


def test_a_renamed_rule_is_named() -> None:
    [problem] = problems(name="blind")

    assert problem.startswith("rule throttled is now blind (raise its version")


def test_a_new_or_a_missing_rule_is_named() -> None:
    [gone, new] = sorted(lock_problems(OLD, {"id-2": replace(RULE, name="new")}), reverse=True)

    assert gone.startswith("rule throttled is in rules.lock and no longer there")
    assert new == "rule new is not in rules.lock (run: make content)"


def test_the_id_of_a_retired_rule_needs_a_higher_version() -> None:
    lock = renewed(OLD, {})
    assert lock.retired == {"id-1": RULE}

    [problem] = unversioned(lock, {"id-1": replace(RULE, name="other")})

    assert "has the id of throttled 1.2.0, which was retired" in problem
    assert list(unversioned(lock, {"id-1": replace(RULE, version="2.0.0")})) == []


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    lock = Lock({"id-1": RULE, "id-2": replace(RULE, name="a")}, {"id-3": RULE})
    path = tmp_path / "rules.lock"

    path.write_text(lock_text(lock), encoding="utf-8")

    assert read_lock(path) == lock
    line = '    "id-2": {"kind": "rule", "name": "a", "version": "1.2.0", "hash": "aa"},'
    assert path.read_text("utf-8").splitlines()[3] == line


def test_a_missing_lock_is_an_empty_one(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "rules.lock") == Lock({}, {})


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "entries": {"a": {}}}']
)
def test_what_is_not_a_lock_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.lock"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InputError, match=r"rules\.lock: "):
        read_lock(path)
