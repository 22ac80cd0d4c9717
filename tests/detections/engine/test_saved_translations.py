"""A translation is saved for the next run, which gets the same SQL or translates again."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailvigil.engine import translation
from mailvigil.engine.translation import InvalidKqlError, UnsupportedKqlError, translate
from mailvigil.saved_results import SavedResults, cache_folder

Schema = translation.Schema

KQL = "let recent = T | where A > 1; recent | join kind=inner (recent | extend B = now()) on A"
SCHEMA: Schema = (("T", ("A", "Day")), ("U", ("A", "C")))
FUNCTIONS = ("function F() { T | where A > 2 }",)
TRANSLATE = """
import sys
from detections.engine.test_saved_translations import FUNCTIONS, KQL, SCHEMA
from mailvigil.engine.translation import translate
print(repr(translate(KQL, SCHEMA, FUNCTIONS).sql))
print("duckdb_kql" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where translations are saved in this test; nothing is there yet."""
    monkeypatch.setenv("MAILVIGIL_CACHE_DIR", str(tmp_path / "cache"))
    translate.cache_clear()
    return tmp_path / "cache" / "translations"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts that are translated in this test and not read."""
    texts = []
    real = translation._translate  # noqa: SLF001 - to count what a saved entry spares

    def counting(kql: str, schema: Schema, functions: tuple[str, ...]) -> translation.Translation:
        texts.append(kql)
        return real(kql, schema, functions)

    monkeypatch.setattr(translation, "_translate", counting)
    return texts


def again(
    kql: str = KQL, schema: Schema = SCHEMA, functions: tuple[str, ...] = FUNCTIONS
) -> tuple[str, set[str]]:
    """Translate as the next process would: what this one remembers is forgotten."""
    translate.cache_clear()
    got = translate(kql, schema, functions)
    return got.sql, set(got.parameters)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("kql", [KQL, "T | count", "F | extend N = ago(1d)", "print 'ü', \"'\""])
def test_a_saved_translation_is_the_one_that_was_made(kql: str, made: list[str]) -> None:
    first = again(kql)

    assert again(kql) == first
    assert made == [kql]


def test_the_next_process_gets_the_same_sql_and_loads_no_parser(
    folder: Path, checkout: Path
) -> None:
    command = [sys.executable, "-P", "-c", TRANSLATE]
    search = {**os.environ, "PYTHONPATH": str(checkout / "tests")}

    said = [
        subprocess.run(command, env=search, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]

    (made, loaded), (read, loaded_again) = (text.splitlines() for text in said)
    assert (loaded, loaded_again) == ("True", "False")
    assert read == made
    assert "SELECT" in made
    assert len(entries(folder)) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda: again(KQL + " "),
        lambda: again(schema=(("T", ("A", "Day", "New")), SCHEMA[1])),
        lambda: again(functions=("function F() { T | where A > 3 }",)),
    ],
    ids=["text", "columns", "function"],
)
def test_what_a_translation_depends_on_is_its_key(
    other: Callable[[], object], folder: Path, made: list[str]
) -> None:
    again()
    other()

    assert len(made) == 2
    assert len(entries(folder)) == 2


@pytest.mark.parametrize("package", ["duckdb-kql", "duckdb", "mailvigil"])
@pytest.mark.usefixtures("folder")
def test_another_version_of_a_package_translates_again(
    package: str, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    again()
    versions = {**translation._versions(), package: "99"}  # noqa: SLF001
    monkeypatch.setattr(translation, "_versions", lambda: versions)
    again()

    assert len(made) == 2


def flipped(content: bytes) -> bytes:
    """Return *content* with one bit of its middle turned over."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def of_other_text(content: bytes) -> bytes:
    """Return an entry that is whole, and was saved for another text."""
    return gzip.compress(json.dumps({**json.loads(gzip.decompress(content)), "key": "x"}).encode())


def without_parameters(content: bytes) -> bytes:
    """Return an entry of the same key that is no translation."""
    whole = json.loads(gzip.decompress(content))
    return gzip.compress(json.dumps({**whole, "result": {"sql": "SELECT 1"}}).encode())


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4],
        flipped,
        lambda _: b"SELECT 1",
        lambda _: gzip.compress(b"\xff"),
        lambda _: gzip.compress(b"[1]"),
        lambda _: gzip.compress(b'{"sql": "SELECT 1"}'),
        of_other_text,
        without_parameters,
    ],
    ids=[
        "empty",
        "half",
        "cut",
        "bit",
        "no gzip",
        "no text",
        "list",
        "no key",
        "other text",
        "no parameters",
    ],
)
def test_a_damaged_entry_is_translated_again_and_mended(
    damage: Callable[[bytes], bytes], folder: Path, made: list[str]
) -> None:
    right = again()
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))

    assert again() == right
    assert len(made) == 2
    assert entry.read_bytes() == whole


def test_a_folder_that_cannot_be_made_means_to_translate_each_time(
    folder: Path, made: list[str]
) -> None:
    folder.parent.write_text("a file")

    assert again() == again()
    assert len(made) == 2
    assert folder.parent.read_text() == "a file"


def test_without_a_home_nothing_is_saved(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailvigil.saved_results.cache_folder", lambda _environ: None)

    assert again() == again()
    assert len(made) == 2


@pytest.mark.posix
def test_others_can_read_neither_the_folder_nor_an_entry(folder: Path) -> None:
    again()

    assert folder.stat().st_mode & 0o777 == 0o700
    assert [entry.stat().st_mode & 0o777 for entry in entries(folder)] == [0o600]


@pytest.mark.posix
def test_a_folder_that_others_may_write_to_is_not_used(folder: Path, made: list[str]) -> None:
    again()
    folder.chmod(0o777)
    again()
    again("T | count")

    assert made == [KQL, KQL, "T | count"]
    assert len(entries(folder)) == 1


@pytest.mark.parametrize(
    ("kql", "error"),
    [("T | evaluate bag_unpack(A)", UnsupportedKqlError), ("T | wherex", InvalidKqlError)],
)
def test_a_query_that_is_refused_is_not_saved(
    kql: str, error: type[Exception], folder: Path
) -> None:
    for _ in range(2):
        with pytest.raises(error):
            again(kql)
    assert not folder.exists()


def test_a_query_that_sets_values_of_its_own_is_not_saved(folder: Path) -> None:
    kql = "declare query_parameters(n:int = 3); print n"

    again(kql)

    assert translate(kql, SCHEMA, FUNCTIONS).parameters == {"kqlp0": 3}
    assert not folder.exists()


def test_the_entries_that_were_not_used_for_longest_go_first(tmp_path: Path) -> None:
    def key(number: int) -> str:
        return f"{number}" * 100

    SavedResults(tmp_path).put(key(0), "SELECT 0")
    (entry,) = entries(tmp_path)
    saved = SavedResults(tmp_path, most_bytes=3 * entry.stat().st_size)
    for number in (1, 2):
        saved.put(key(number), f"SELECT {number}")
    for age, path in enumerate(entries(tmp_path)):
        os.utime(path, (age, age))
    oldest = json.loads(gzip.decompress(entries(tmp_path)[0].read_bytes()))["key"]
    assert saved.get(oldest)

    saved.put(key(3), "SELECT 3")

    left = {number for number in range(4) if saved.get(key(number))}
    assert len(left) == 3
    assert {3, int(oldest[0])} < left


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"MAILVIGIL_CACHE_DIR": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/mailvigil"),
        ({"LOCALAPPDATA": "/local"}, "/local/mailvigil"),
        ({}, "/home/adele/.cache/mailvigil"),
    ],
)
def test_results_are_in_the_users_cache_folder(
    environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/adele"))

    assert cache_folder(environ) == Path(expected)


def test_a_user_without_a_home_has_no_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", home)

    assert cache_folder({}) is None


def test_the_folder_is_looked_at_when_it_is_first_written_to_and_when_it_gets_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    real = os.scandir

    def counting(folder: Path) -> object:
        looked.append(folder)
        return real(folder)

    monkeypatch.setattr("mailvigil.saved_results.os.scandir", counting)
    SavedResults(tmp_path).put("a", 1)
    (entry,) = entries(tmp_path)
    saved = SavedResults(tmp_path, most_bytes=4 * entry.stat().st_size)
    looked.clear()

    for key in "bcd":
        saved.put(key, 1)
    assert looked == [tmp_path]
    saved.put("e", 1)

    assert len(looked) == 2
    assert len(entries(tmp_path)) == 4
