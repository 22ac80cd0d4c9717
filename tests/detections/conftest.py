"""What the tests of several rooms use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from py_mini_racer import MiniRacer

from detections.commands.command import intruded
from detections.exports.written import purview


class SharedV8:
    """A V8 with Microsoft's parser in it, handed to one validator after another.

    To load the parser and to compile its hot paths takes seconds of processor time. Each
    validator declares its own workspace, which is declared again when another one had its turn.
    """

    def __init__(self, real: MiniRacer, loaded: set[str], turn: list[SharedV8]) -> None:
        self._real, self._loaded, self._turn = real, loaded, turn
        self._workspace: tuple[object, ...] = ()

    def eval(self, code: str) -> None:
        """Run a script that is not loaded yet."""
        if code not in self._loaded:
            self._real.eval(code)
            self._loaded.add(code)

    def call(self, function: str, *given: object) -> object:
        """Call a function in the workspace that this validator declared."""
        if function == "declareWorkspace":
            self._workspace = given
        elif self._turn != [self]:
            self._real.call("declareWorkspace", *self._workspace)
        self._turn[:] = [self]
        return self._real.call(function, *given)

    def close(self) -> None:
        """Keep it open for the next validator."""


@pytest.fixture(scope="session", autouse=True)
def _one_v8() -> Iterator[None]:
    """Load Microsoft's parser once in this process."""
    real: list[MiniRacer] = []
    loaded: set[str] = set()
    turn: list[SharedV8] = []

    def shared() -> SharedV8:
        if not real:
            real.append(MiniRacer())
        return SharedV8(real[0], loaded, turn)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mailvigil.compiler.parser.MiniRacer", shared)
        yield
    for v8 in real:
        v8.close()


@pytest.fixture
def content(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the content, which the commands take for the real one."""
    root = tmp_path / "content"
    for name in ("sigma", "kql"):
        shutil.copytree(checkout / name, root / name)
    monkeypatch.setattr("mailvigil.commands.rules.content_root", lambda: root)
    monkeypatch.setattr("mailvigil.commands.package.content_root", lambda: root)
    monkeypatch.setattr("mailvigil.commands.rule_list.content_root", lambda: root)
    monkeypatch.setattr("mailvigil.hunt.run.content_root", lambda: root)
    return root


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, in which commands run."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def export(folder: Path) -> Path:
    """Return an export in which one newcomer reads two mailboxes."""
    path = folder / "export.csv"
    path.write_bytes(purview(intruded()))
    return Path(path.name)
