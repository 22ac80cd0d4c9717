"""The real clients at their loudest, under all faults: nothing private is ever told."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import StringIO
from pathlib import Path
from sqlite3 import connect
from typing import get_args

import azure.monitor.ingestion  # noqa: F401 - its loggers must be there before they are turned up
import pytest
import requests  # noqa: F401 - and its

from audit_feed.log_redaction import LOUD
from detections.collect.conftest import TYPES, publish, record, run
from mailvigil.lab.server.collect_config import CredentialKind, write_collect_config
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import FeedOptions, LabOptions
from mailvigil.lab.server.tokens import Mint

SEEDS = (1, 2, 3)
KINDS: Mapping[int, CredentialKind] = {1: "secret", 2: "certificate", 3: "federated"}
"""Which credential is used with each seed."""

PRIVATE = ("private-subject", "adele@contoso.example", "192.0.2.10", "Bearer eyJ", "eyJ")
ASKED = ("PublisherIdentifier=", "nextPage=", "startTime=", "client_secret=", "client_assertion=")


@pytest.fixture
def heard() -> Iterator[StringIO]:
    """Hear everything that any logger says, tracebacks too."""
    text = StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    names = [*LOUD, *logging.root.manager.loggerDict]
    before = {name: logging.getLogger(name).level for name in names}
    root, factory = logging.root.level, logging.getLogRecordFactory()
    logging.root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(1)
    logging.root.setLevel(1)
    yield text
    logging.root.removeHandler(handler)
    logging.root.setLevel(root)
    logging.setLogRecordFactory(factory)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def minted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep every token that a lab signs."""
    real, found = Mint.signed, list[str]()

    def signed(self: Mint, claims: Mapping[str, object]) -> str:
        found.append(real(self, claims))
        return found[-1]

    monkeypatch.setattr(Mint, "signed", signed)
    return found


def told(seed: int, folder: Path) -> str:
    """Collect from a lab with all faults; return what the commands printed and kept."""
    options = LabOptions(chaos=seed, feed=FeedOptions(page_size=2))
    folder.mkdir()
    with Lab(options) as lab:
        publish(lab, blobs=5)
        private = record(99, Subject="private-subject", Text="x" * 70_000)
        lab.publish(TYPES[0], lab.clock.now(), [private])
        path = write_collect_config(lab, folder / "c.yaml", kind=KINDS[seed], content_types=TYPES)
        commands = (("collect", "--once"), ("doctor",), ("ledger",), ("ledger", "--format", "json"))
        ran = [run(*words, "--config", path) for words in commands]
    assert "6 blobs delivered" in ran[0].out, ran[0].err
    with closing(connect(folder / "ledger.sqlite")) as con:
        errors = str(con.execute("SELECT last_error FROM blobs").fetchall())
    return "\n".join([*(one.out + one.err for one in ran), errors])


@pytest.mark.slow
def test_no_secret_or_record_comes_into_a_log_or_a_message(
    tmp_path: Path, heard: StringIO, minted: list[str]
) -> None:
    with ThreadPoolExecutor(len(SEEDS)) as pool:
        texts = list(pool.map(lambda seed: told(seed, tmp_path / str(seed)), SEEDS))

    text = "\n".join([heard.getvalue(), *texts])
    for family in ("azure", "msal", "urllib3"):
        assert f" {family}." in text
    assert "/activity/feed/subscriptions/content?…" in text
    assert len(minted) > 2 * len(SEEDS)
    secret = LabOptions().tenants[0].secret
    for word in (secret, *minted, *PRIVATE, *ASKED):
        assert word not in text


def test_every_kind_of_credential_is_covered_by_the_leak_test() -> None:
    assert {*KINDS.values(), "managed_identity"} == set(get_args(CredentialKind))
