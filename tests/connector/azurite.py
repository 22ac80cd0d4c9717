"""Microsoft's storage emulator, in a process of its own on free ports."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

NAME = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every Azurite has; documented, and no secret."""

PATIENCE_SECONDS = 60
_CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = _CHECKOUT / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"


@dataclass(frozen=True, slots=True)
class Azurite:
    """Its ports."""

    blob: int
    queue: int
    table: int

    @property
    def connection_string(self) -> str:
        """What the storage libraries take."""
        ends = (("Blob", self.blob), ("Queue", self.queue), ("Table", self.table))
        urls = "".join(f"{kind}Endpoint=http://127.0.0.1:{port}/{NAME};" for kind, port in ends)
        return f"DefaultEndpointsProtocol=http;AccountName={NAME};AccountKey={KEY};{urls}"


@contextmanager
def azurite(folder: Path) -> Iterator[Azurite]:
    """Run one for the length of the ``with`` block; what it prints goes to *folder*."""
    ports = Azurite(*_free_ports(3))
    command = [
        *(_node(), str(SCRIPT), "--inMemoryPersistence", "--skipApiVersionCheck"),
        *("--disableTelemetry", "--silent", "--blobPort", str(ports.blob)),
        *("--queuePort", str(ports.queue), "--tablePort", str(ports.table)),
    ]
    log = folder / "azurite.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
        try:
            _wait(process, ports, log)
            yield ports
        finally:
            process.kill()
            process.wait()


def _node() -> str:
    """Return the machine's Node.js, or the one that ``.ci/npm`` has installed."""
    return shutil.which("node") or str(_CHECKOUT / ".tools" / "node" / "bin" / "node")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(process: subprocess.Popen[bytes], ports: Azurite, log: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    for port in (ports.blob, ports.queue, ports.table):
        while not _answers(port):
            ended = process.poll() is not None
            if ended or time.monotonic() > end:
                raise RuntimeError(f"Azurite did not start: {log.read_text(errors='replace')}")
            time.sleep(0.02)


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
