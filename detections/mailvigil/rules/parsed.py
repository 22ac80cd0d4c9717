"""Parses the files of the content one by one, so that a wrong one does not hide the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

from mailvigil.errors import RuleError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """What the files of one kind hold, and the problems of those that could not be parsed."""

    items: tuple[T, ...]
    problems: tuple[str, ...]

    def whole(self) -> tuple[T, ...]:
        """Return the items if every file could be parsed.

        Raises:
            RuleError: One or more could not; it names all problems of all files.

        """
        if self.problems:
            raise RuleError(self.problems)
        return self.items


@lru_cache(maxsize=512)
def _parsed(parse: Callable[[Path, str], T], path: Path, text: str) -> T:
    """Parse a text that was not parsed before: some commands read the content several times."""
    return parse(path, text)


def parse_files(files: Iterable[Path], ending: str, parse: Callable[[Path, str], T]) -> Parsed[T]:
    """Return what *parse* makes of each of *files*, whose names must have *ending*.

    Files that are not YAML by their name, and tests (``*.test.yaml``), are passed over.
    """
    items: list[T] = []
    problems: list[str] = []
    for path in sorted(files):
        if path.suffix not in {".yml", ".yaml"} or path.name.endswith(".test.yaml"):
            continue
        if path.suffix != ending:
            problems.append(f"{path}: its name does not end in {ending} (rename it)")
            continue
        try:
            items.append(_parsed(parse, path, path.read_text(encoding="utf-8")))
        except RuleError as error:
            problems.extend(error.problems)
        except UnicodeDecodeError:
            problems.append(f"{path}: is not text in UTF-8 (write it in UTF-8)")
        except OSError as error:
            why = error.strerror or "the system refuses it"
            problems.append(f"{path}: cannot be read: {why} (correct it or take it away)")
    return Parsed(tuple(items), tuple(problems))
