"""Find the plain files behind paths: folders, patterns, standard input, gzip and zip, nested.

The first bytes of a file decide what it is. Archives are unpacked under the scratch folder,
one member at a time, and counted on the way: what unpacks to too much is refused.
"""

from __future__ import annotations

import glob
import gzip
import itertools
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, cast

from mailvigil.errors import InputError
from mailvigil.exports.load_progress import NO_PROGRESS, LoadProgress

STDIN = "-"
"""The path that means standard input."""

_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_CHUNK_BYTES = 1 << 20
_MAX_DEPTH = 4
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError)
_IN_PATTERN = set("*?[{")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may unpack to before it is refused as a bomb.

    ``max_unpacked_bytes`` bounds everything that one given archive holds, nested archives
    included. ``max_ratio`` bounds unpacked to packed bytes, and counts only above
    ``ratio_from_bytes`` unpacked: audit logs pack to a twentieth, a bomb to a thousandth.
    """

    max_unpacked_bytes: int = 64 << 30
    max_ratio: int = 400
    ratio_from_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """A plain file to read. ``given`` is the path of the command line that led to it.

    ``source`` is the file on disk that it is or was packed in; while the member is yielded it
    is there.

    ``explicit``: the user named this very file, so that it must be an audit log.
    ``temporary``: it lies in the scratch folder and may go once it is read.
    """

    name: str
    path: Path
    given: str
    explicit: bool
    temporary: bool
    source: Path


@dataclass(frozen=True, slots=True)
class _Unpacked:
    """A file being unpacked; ``at`` gives how many bytes of it were read, for progress."""

    source: IO[bytes]
    name: str
    kind: str
    at: Callable[[], int]


class Members:
    """Finds the plain files behind the paths. ``scratch`` is a folder that exists."""

    def __init__(
        self,
        scratch: Path,
        limits: Limits,
        stdin: BinaryIO | None = None,
        progress: LoadProgress = NO_PROGRESS,
    ) -> None:
        self._scratch = scratch
        self._progress = progress
        self._limits = limits
        self._stdin = stdin
        self._numbers = itertools.count(1)
        self._seen: set[Path] = set()

    def find(self, paths: Sequence[str]) -> Iterator[Member]:
        """Yield the plain files in order, each once ever. The caller unlinks temporary ones.

        Raises:
            InputError: A path does not exist or cannot be read, or an archive is damaged,
                encrypted or unpacks to more than the limits.

        """
        for given in paths:
            files = list(self._files(given))
            if not files:
                raise InputError(given, "no file in it")
            for path, explicit in files:
                real = path.resolve()
                if real in self._seen:
                    continue
                self._seen.add(real)
                name = given if given == STDIN else str(path)
                member = Member(name, path, given, explicit, given == STDIN, path)
                yield from self._unpacked(member, _Budget(name, self._limits), 0)

    def count(self, paths: Sequence[str]) -> int:
        """Return how many files on disk *paths* lead to; standard input is one."""
        return sum(
            1 if given == STDIN else sum(1 for _ in self._files(given))
            for given in paths
            if given == STDIN or Path(given).exists() or _IN_PATTERN & set(given)
        )

    def spool(self) -> Path:
        """Return a fresh path in the scratch folder."""
        return self._scratch / f"member{next(self._numbers)}"

    def _files(self, given: str) -> Iterator[tuple[Path, bool]]:
        if given == STDIN:
            yield self._spool_stdin(), True
            return
        path = Path(given)
        if path.is_dir():
            yield from ((p, False) for p in sorted(path.rglob("*")) if p.is_file())
        elif path.exists():
            yield path, True
        elif _IN_PATTERN & set(given):
            matches = [Path(p) for p in sorted(glob.glob(given, recursive=True))]  # noqa: PTH207 - takes an absolute pattern too
            if not matches:
                raise InputError(given, "no file matches this pattern")
            yield from ((p, False) for p in matches if p.is_file())
        else:
            raise InputError(given, "no such file or folder")

    def _spool_stdin(self) -> Path:
        if self._stdin is None:
            raise InputError(STDIN, "there is no standard input to read")
        path = self.spool()
        with path.open("wb") as out:
            shutil.copyfileobj(self._stdin, out, _CHUNK_BYTES)
        return path

    def _unpacked(self, member: Member, budget: _Budget, depth: int) -> Iterator[Member]:
        head = _head(member)
        if not head.startswith((_GZIP, *_ZIP)):
            yield member
            return
        if depth == _MAX_DEPTH:
            raise InputError(member.name, f"archives nested more than {_MAX_DEPTH} deep")
        try:
            if head.startswith(_GZIP):
                yield from self._gunzip(member, budget, depth)
            else:
                yield from self._unzip(member, budget, depth)
        finally:
            if member.temporary:
                member.path.unlink(missing_ok=True)

    def _gunzip(self, member: Member, budget: _Budget, depth: int) -> Iterator[Member]:
        budget.packed(member.path.stat().st_size)
        self._progress.part(f"unpacking {member.name}", member.path.stat().st_size)
        with member.path.open("rb") as packed, gzip.open(packed) as source:
            unpacked = _Unpacked(cast("IO[bytes]", source), member.name, "gzip", packed.tell)
            path = self._write(unpacked, budget)
        inner = replace(member, path=path, temporary=True)
        yield from self._unpacked(inner, budget, depth + 1)

    def _unzip(self, member: Member, budget: _Budget, depth: int) -> Iterator[Member]:
        try:
            archive = zipfile.ZipFile(member.path)
        except zipfile.BadZipFile as error:
            raise _damaged(member.name, "zip", error) from error
        with archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            if member.explicit and not files:
                raise InputError(member.name, "no file in it")
            for info in files:
                name = f"{member.name}!{info.filename}"
                if info.flag_bits & 1:
                    raise InputError(name, "the zip is encrypted", "unpack it first")
                budget.packed(info.compress_size)
                path = self._extract(archive, info, name, budget)
                inner = replace(member, name=name, path=path, explicit=False, temporary=True)
                yield from self._unpacked(inner, budget, depth + 1)

    def _extract(
        self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, budget: _Budget
    ) -> Path:
        self._progress.part(f"unpacking {name}", info.file_size)
        try:
            with archive.open(info) as source:
                return self._write(_Unpacked(source, name, "zip", source.tell), budget)
        except _DAMAGED as error:
            raise _damaged(name, "zip", error) from error

    def _write(self, unpacked: _Unpacked, budget: _Budget) -> Path:
        path = self.spool()
        try:
            with path.open("wb") as out:
                while chunk := unpacked.source.read(_CHUNK_BYTES):
                    budget.unpacked(len(chunk))
                    out.write(chunk)
                    self._progress.at(unpacked.at())
        except _DAMAGED as error:
            path.unlink()
            raise _damaged(unpacked.name, unpacked.kind, error) from error
        except InputError:
            path.unlink()
            raise
        return path


class _Budget:
    """Bytes that one given archive has unpacked to, against the limits."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name = name
        self._limits = limits
        self._packed = 0
        self._unpacked = 0

    def packed(self, count: int) -> None:
        self._packed += count

    def unpacked(self, count: int) -> None:
        self._unpacked += count
        most = self._limits.max_unpacked_bytes
        if self._unpacked > most:
            raise InputError(self._name, f"unpacks to more than {most:,} bytes", "unpack it first")
        ratio = self._limits.max_ratio
        if self._unpacked > max(self._limits.ratio_from_bytes, ratio * self._packed):
            what = f"unpacks to more than {ratio} times its size, as a zip bomb does"
            raise InputError(self._name, what, "unpack it first if it is to be trusted")


def _head(member: Member) -> bytes:
    try:
        with member.path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise InputError(member.name, f"cannot be read: {error.strerror}") from error


def _damaged(name: str, kind: str, error: Exception) -> InputError:
    return InputError(name, f"the {kind} is damaged or cut short: {error}", "fetch it again")
