"""`make content` writes all that is generated, and `make content-check` names all that is stale."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from detections.commands.command import version_in
from mailvigil.errors import InputError, RuleError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_STALE
from mailvigil.rules.load_rules import load_rules
from mailvigil.workbench.generated import Generated

CHECKOUT = Path(__file__).resolve().parents[3]
RULES = {"mailbox_throttled", "mailbox_audit_bypass", "caller_inventory"}
THROTTLED = "sigma/rules/mail_access/mailbox_throttled.yml"
OTHER_VALUE = ("IsThrottled: 'True'", "IsThrottled: 'Yes'")
RULE_VERSION = f"version: {version_in(CHECKOUT / THROTTLED)}"


def script() -> ModuleType:
    """Return the module that ``make content`` runs."""
    spec = importlib.util.spec_from_file_location("content", CHECKOUT / ".ci" / "content.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = script()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout with few rules, all generated files written."""
    root = tmp_path_factory.mktemp("clean")
    for name in ("sigma", "kql"):
        shutil.copytree(CHECKOUT / name, root / name)
    for path in (*root.glob("sigma/rules/*/*"), *root.glob("kql/[ah]*/*.yaml")):
        if path.name.partition(".")[0] not in RULES:
            path.unlink()
    (root / "kql" / "rules.lock").unlink()
    requirements(root, "")
    list(SCRIPT.everything(root).renewed(check=False))
    return root


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    """Return a copy of the checkout with few rules, to change."""
    return shutil.copytree(clean, tmp_path / "root")


def requirements(root: Path, commands: str) -> None:
    """Have *commands* done in place of writing the requirements."""
    path = root / ".ci" / "requirements"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{commands}\n", encoding="utf-8")
    path.chmod(0o755)


def change(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_nothing_generated_of_this_checkout_is_stale() -> None:
    made = SCRIPT.everything(CHECKOUT)

    assert list(made.renewed(check=True)) == []
    assert made.problems == ()
    assert made.count == len(made.files) > 2 * len(load_rules(CHECKOUT))


@pytest.mark.posix
def test_content_on_a_clean_tree_changes_nothing(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = files(root)

    code = SCRIPT.main(["--root", str(root)])

    assert (code, capfd.readouterr().out) == (EXIT_OK, "")
    assert files(root) == before


@pytest.mark.posix
def test_content_check_names_every_file_that_a_changed_rule_makes_stale(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change(
        root / THROTTLED,
        OTHER_VALUE,
        (RULE_VERSION, "version: 7.1.0"),
    )
    requirements(root, 'echo "requirements.txt: out of date"; exit 3')
    before = files(root)

    code = SCRIPT.main(["--check", "--root", str(root)])

    stale = (
        "docs/rules/README.md",
        "docs/rules/mailbox_throttled.md",
        "infra/rules.json",
        "kql/generated/defender/mailbox_throttled.kql",
        "kql/generated/mailbox_throttled.kql",
        "kql/rules.lock",
    )
    *lines, summary, last = capfd.readouterr().out.splitlines()
    assert code == EXIT_STALE
    assert lines == [f"{root / name}: out of date" for name in stale]
    assert summary.startswith("6 of ")
    assert summary.endswith(" generated files are stale (run: make content)")
    assert last == "requirements.txt: out of date"
    assert files(root) == before


@pytest.mark.posix
def test_content_writes_what_content_check_named(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change(
        root / THROTTLED,
        OTHER_VALUE,
        (RULE_VERSION, "version: 7.1.0"),
    )
    (root / "kql/generated/gone.kql").write_text("T\n", encoding="utf-8")

    code = SCRIPT.main(["--root", str(root)])

    out = capfd.readouterr().out
    assert code == EXIT_OK
    assert f"{root / 'kql/rules.lock'}: written" in out
    assert f"{root / 'kql/generated/gone.kql'}: removed" in out
    assert 'IsThrottled =~ "Yes"' in (root / "kql/generated/mailbox_throttled.kql").read_text(
        "utf-8"
    )


@pytest.mark.posix
def test_a_change_without_a_higher_version_is_not_locked(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change(root / THROTTLED, OTHER_VALUE)
    lock = (root / "kql/rules.lock").read_bytes()

    code = SCRIPT.main(["--root", str(root)])

    out = capfd.readouterr().out
    assert code == EXIT_FAILED
    assert f"{root / 'kql/generated/mailbox_throttled.kql'}: written" in out
    was = RULE_VERSION.removeprefix("version: ")
    assert f"rules.lock: rule mailbox_throttled changed since {was} was locked, and its" in out
    assert (root / "kql/rules.lock").read_bytes() == lock


@pytest.mark.posix
def test_a_broken_rule_does_not_keep_the_requirements_from_being_checked(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change(root / THROTTLED, ("within: 1d", "within: soon"))
    requirements(root, 'echo "requirements.txt: out of date"; exit 3')

    code = SCRIPT.main(["--check", "--root", str(root)])

    said = capfd.readouterr()
    assert code == EXIT_STALE
    assert "mailbox_throttled.yml: mailvigil.within is missing or wrong" in said.err
    assert said.out == "requirements.txt: out of date\n"


def test_files_with_a_problem_are_not_sound() -> None:
    with pytest.raises(RuleError, match="a: wrong"):
        Generated({}, ("a: wrong",)).sound()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").write_bytes(b"")

    with pytest.raises(InputError, match=r"folder/a\.json: cannot be written"):
        list(Generated({tmp_path / "folder" / "a.json": b"{}"}).renewed(check=False))
