"""Files that are generated from the content: which of them are stale, and writing them.

``make content`` writes all of them, commands write some. ``docs/proof.md`` and
``bench/results.md`` are measured, so they are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mailvigil.compiler.compile import compiled
from mailvigil.compiler.targets import Target
from mailvigil.errors import InputError, RuleError
from mailvigil.rules.rule import Rule
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.workbench.lock import lock_path, lock_text, locked, read_lock, renewed, unversioned
from mailvigil.workbench.rule_pages import pages


@dataclass(frozen=True, slots=True)
class Generated:
    """Files that are made together: path to bytes, None where there must not be a file.

    ``problems`` are why some of them cannot be made, each ``file: what (what to do)``.
    """

    files: Mapping[Path, bytes | None]
    problems: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many files there are when none is stale."""
        return sum(data is not None for data in self.files.values())

    def sound(self) -> Self:
        """Return this.

        Raises:
            RuleError: Some of the files cannot be made.

        """
        if self.problems:
            raise RuleError(self.problems)
        return self

    def stale(self) -> tuple[Path, ...]:
        """Return the files that are missing, differ or must go, by path."""
        return tuple(path for path, data in sorted(self.files.items()) if _bytes(path) != data)

    def renewed(self, *, check: bool) -> Iterator[str]:
        """Yield a line for each stale file. Unless it is only to *check*, each is written.

        Raises:
            InputError: A file cannot be written.

        """
        for path in self.stale():
            yield f"{path}: {'out of date' if check else self._renew(path)}"

    def _renew(self, path: Path) -> str:
        data = self.files[path]
        try:
            if data is None:
                path.unlink()
                return "removed"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise InputError(str(path), f"cannot be written: {type(error).__name__}") from None
        return "written"


def compiled_queries(
    rules: Sequence[Rule], root: Path, targets: Sequence[Target], out: Path | None = None
) -> tuple[Generated, tuple[str, ...]]:
    """Return the compiled *rules*, and the reasons for those that a target cannot have.

    They belong into *out*, where other files are left alone, else into ``kql/generated``, where
    a query without a rule must go.

    Raises:
        RuleError: A rule does not compile for Sentinel, which all rules must.

    """
    texts, refused = compiled(rules, root, targets)
    folder = out or root / "kql" / "generated"
    wanted = {
        folder / target.folder / f"{name}.kql": text for (target, name), text in texts.items()
    }
    folders = () if out else tuple(folder / target.folder for target in targets)
    return _generated(wanted, (path for place in folders for path in place.glob("*.kql"))), refused


def rule_pages(root: Path) -> Generated:
    """Return the rules' pages, the coverage table and the layer; a page without a rule must go.

    Raises:
        RuleError: A rule, its tests or a hunting query is broken.

    """
    return _generated(pages(root), (root / "docs" / "rules").glob("*.md"))


def lock(root: Path, pack: Pack) -> Generated:
    """Return the lock of *pack*; a change without a higher version is a problem of it.

    Raises:
        InputError: The lock that is there cannot be read.

    """
    path = lock_path(root)
    old, now = read_lock(path), locked(pack)
    problems = tuple(f"{path}: {problem}" for problem in unversioned(old, now))
    return Generated({} if problems else {path: lock_text(renewed(old, now)).encode()}, problems)


def _generated(wanted: Mapping[Path, str], on_disk: Iterator[Path]) -> Generated:
    leftover = dict.fromkeys(on_disk)
    return Generated({**leftover, **{path: text.encode() for path, text in wanted.items()}})


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
