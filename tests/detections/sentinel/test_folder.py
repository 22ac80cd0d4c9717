"""The packaged folder: the same bytes each time, and never over what is not its own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mailvigil.errors import InputError
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.package_checks import folder_problems
from mailvigil.sentinel.package_folder import present, write_folder
from mailvigil.sentinel.package_layout import MARKER


def content(place: Path) -> dict[str, bytes]:
    return {name: (place / name).read_bytes() for name in present(place)}


def test_the_packaged_content_has_no_problem(packaged: Mapping[str, bytes], tmp_path: Path) -> None:
    write_folder(tmp_path / "out", packaged)

    assert list(folder_problems(tmp_path / "out")) == []
    assert content(tmp_path / "out") == packaged


IN_ANOTHER_PROCESS = """
import pickle, sys
from mailvigil.rules.content import content_root
from mailvigil.sentinel.package_layout import files
from mailvigil.sentinel.compiled_content import load_pack
sys.stdout.buffer.write(pickle.dumps(dict(files(load_pack(content_root())))))
"""


def test_another_process_gives_the_same_bytes(packaged: Mapping[str, bytes]) -> None:
    command = [sys.executable, "-P", "-c", IN_ANOTHER_PROCESS]
    other = {**os.environ, "PYTHONHASHSEED": "42", "TZ": "Asia/Kolkata", "LC_ALL": "C"}

    done = subprocess.run(command, env=other, capture_output=True, check=True)

    assert pickle.loads(done.stdout) == packaged  # noqa: S301 - it is the test's own


def test_no_file_names_this_machine_or_the_time(
    checkout: Path, packaged: Mapping[str, bytes]
) -> None:
    for name, data in packaged.items():
        assert str(checkout).encode() not in data, name
        assert b"\r" not in data, name


def test_each_id_is_that_of_the_rule(pack: Pack, packaged: Mapping[str, bytes]) -> None:
    for rule in pack.analytics:
        template = json.loads(packaged[f"repository/AnalyticsRules/{rule.name}.json"])
        [resource] = template["resources"]
        assert resource["name"].endswith(f"'{rule.id}')]")


def test_packaging_again_removes_what_is_gone(
    packaged: Mapping[str, bytes], tmp_path: Path
) -> None:
    older = {**packaged, "repository/Old/gone.json": b"{}\n"}
    older[MARKER] = marker_with(packaged, "repository/Old/gone.json")
    write_folder(tmp_path, older)

    write_folder(tmp_path, packaged)

    assert content(tmp_path) == packaged
    assert not (tmp_path / "repository/Old").exists()


def marker_with(packaged: Mapping[str, bytes], name: str) -> bytes:
    marker = json.loads(packaged[MARKER])
    marker["files"][name] = ""
    return json.dumps(marker).encode()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("notes.txt", "mine", "is not empty, and no packaged folder"),
        (MARKER, "{}", "no packaged folder"),
        (MARKER, '{"format": 2, "files": {}}', "format 2, not 1"),
        (MARKER, '{"format": 1, "files": {"../x": ""}}', "names a file outside of the folder"),
    ],
)
def test_a_folder_of_someone_else_is_refused(
    name: str, text: str, message: str, packaged: Mapping[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")

    with pytest.raises(InputError) as caught:
        write_folder(tmp_path, packaged)

    assert message in str(caught.value)
    assert content(tmp_path) == {name: text.encode()}


def test_a_file_that_someone_put_into_the_folder_is_kept(
    packaged: Mapping[str, bytes], tmp_path: Path
) -> None:
    write_folder(tmp_path, packaged)
    (tmp_path / "repository/mine.json").write_text("{}", encoding="utf-8")
    before = content(tmp_path)

    with pytest.raises(InputError, match=r"holds repository/mine\.json, which no package wrote"):
        write_folder(tmp_path, packaged)

    assert content(tmp_path) == before


def test_a_file_in_place_of_the_folder_is_refused(
    packaged: Mapping[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")

    with pytest.raises(InputError, match="is not a folder"):
        write_folder(tmp_path / "out", packaged)
