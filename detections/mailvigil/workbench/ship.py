"""Write what ships the content: the folder to import, and the lock of its versions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mailvigil.errors import RuleError
from mailvigil.sentinel.compiled_content import Pack, load_pack
from mailvigil.sentinel.content_files import load_solution
from mailvigil.sentinel.package_folder import write_folder
from mailvigil.sentinel.package_layout import files
from mailvigil.sentinel.publisher import load_publisher
from mailvigil.sentinel.pull_request import pull_request
from mailvigil.sentinel.repository_folder import left_to_do, write_pull_request
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
    pack = _checked(root)
    written = files(pack)
    write_folder(out, written)
    return ShippedPack(pack, len(written))


def package_for_hub(root: Path, place: Path, settings: Path) -> tuple[ShippedPack, list[str]]:
    """Check the content below *root* and write it into *place* as a pull request to Azure-Sentinel.

    *settings* says who publishes. With it comes what is left for a person to do, a line each.

    Raises:
        RuleError: The content has problems.
        InputError: The settings are wrong, or *place* cannot be written.

    """
    publisher = load_publisher(settings, load_solution(root))
    pack = _checked(root)
    request = pull_request(pack, publisher)
    write_pull_request(place, request)
    return ShippedPack(pack, len(request.files) + 1), list(left_to_do(place, request))


def _checked(root: Path) -> Pack:
    checked = check_content(root)
    if checked.problems or checked.pack is None:
        raise RuleError(checked.problems)
    return checked.pack


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
