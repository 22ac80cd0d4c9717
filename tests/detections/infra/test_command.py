"""``mailvigil infra build``: the committed files are what the code makes, to the byte."""

from __future__ import annotations

from io import BytesIO, StringIO
from pathlib import Path

import pytest

from mailvigil.cli import main
from mailvigil.commands import infra as infra_commands
from mailvigil.exit_codes import EXIT_FAILED, EXIT_INPUT, EXIT_OK, EXIT_STALE
from mailvigil.infra.files import files
from mailvigil.sentinel.compiled_content import Pack, load_pack


@pytest.fixture(scope="module")
def pack(checkout: Path) -> Pack:
    return load_pack(checkout)


@pytest.fixture(autouse=True)
def _compiled_once(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra_commands, "load_pack", lambda _: pack)


def run(*argv: str | Path) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    code = main([str(one) for one in argv], BytesIO(), out, err)
    return code, out.getvalue(), err.getvalue()


def test_every_committed_file_is_fresh(checkout: Path) -> None:
    code, out, _ = run("infra", "build", "--check", "--out", checkout / "infra")

    assert (code, out.splitlines()[-1]) == (EXIT_OK, f"{checkout / 'infra'}: 6 files, 0 stale")


def test_a_check_names_a_stale_file_and_leaves_it(tmp_path: Path) -> None:
    assert run("infra", "build", "--out", tmp_path)[0] == EXIT_OK
    form = tmp_path / "createUiDefinition.json"
    form.write_bytes(form.read_bytes() + b" ")

    code, out, _ = run("infra", "build", "--check", "--out", tmp_path)
    assert code == EXIT_STALE
    assert f"{form}: out of date" in out
    assert form.read_bytes().endswith(b" ")


def test_a_broken_template_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> dict[str, bytes]:
        made = dict(files(*_))  # type: ignore[arg-type] # the pack, passed on
        made["azuredeploy.json"] = made["azuredeploy.json"].replace(b"'suffix'", b"'sufix'")
        return made

    monkeypatch.setattr("mailvigil.infra.files.files", broken)

    code, _, err = run("infra", "build", "--out", tmp_path)
    assert code == EXIT_FAILED
    assert "azuredeploy.json: " in err
    assert "variables('sufix'): is not declared" in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_wrong_input(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")

    code, _, err = run("infra", "build", "--out", place)
    assert code == EXIT_INPUT
    assert "cannot be written" in err
