"""Write what ships the content: the folder to import, and the lock of its versions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mailvigil.errors import RuleError
from mailvigil.sentinel.compiled_content import Pack, load_pack
from mailvigil.sentinel.package_folder import write_folder
from mailvigil.sentinel.package_layout import files
from mailvigil.workbench import generated
from mailvigil.workbench.content_checks import check_content
from mailvigil.workbench.lock import lock_path, locked, read_lock


@dataclass(frozen=True, slots=True)
class ShippedPack:
    """The content that was written, and into how many files."""

    pack: Pack
    files: int


@dataclass(frozen=True, slots=True)
class LockChange:
    """What a new lock holds: all entries, those new or changed, and those now retired."""

    path: Path
    locked: int
    changed: int
    retired: int


def package(root: Path, out: Path) -> ShippedPack:
    """Check the content below *root* and write it into the folder *out*.

    Raises:
        RuleError: The content has problems.
        InputError: *out* cannot be written.

    """
    checked = check_content(root)
    if checked.problems or checked.pack is None:
        raise RuleError(checked.problems)
    written = files(checked.pack)
    write_folder(out, written)
    return ShippedPack(checked.pack, len(written))


def renew_lock(root: Path) -> LockChange:
    """Write the lock of the content below *root*.

    Raises:
        RuleError: The content does not compile, or changed without a higher version.
        InputError: The lock cannot be read or written.

    """
    path, pack = lock_path(root), load_pack(root)
    old, now = read_lock(path).entries, locked(pack)
    list(generated.lock(root, pack).sound().renewed(check=False))
    changed = sum(1 for number, entry in now.items() if old.get(number) != entry)
    return LockChange(path, len(now), changed, len(set(old) - set(now)))
