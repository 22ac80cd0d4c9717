"""What every test may use."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from connector.azurite import Azurite, azurite

CHECKOUT = Path(__file__).resolve().parent.parent
REAL_DATA = CHECKOUT.parent / "shared" / "data" / "real"

# A deadline would judge the machine and not the code. `make proof` runs every property again with
# the second profile.
settings.register_profile("mailvigil", deadline=None, print_blob=True, max_examples=25)
settings.register_profile("proof", settings.get_profile("mailvigil"), max_examples=500)
settings.load_profile("mailvigil")

# Every process of the tests saves and reads translations here, also those that tests start. A
# saved one depends on its text and on the versions, so it stays right from run to run.
os.environ["MAILVIGIL_CACHE_DIR"] = str(CHECKOUT / "build" / "tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long files first, and leave out on Windows what needs a POSIX system."""
    items.sort(key=_turn(items))
    if os.name != "nt":
        return
    reason = "Windows has no such signals and file modes, and perhaps no shell"
    for item in items:
        if item.get_closest_marker("posix"):
            item.add_marker(pytest.mark.skip(reason=reason))


def _turn(items: Sequence[pytest.Item]) -> Callable[[pytest.Item], tuple[bool, int, Path]]:
    """Return when a test's turn comes: files with long tests first, of them those with many.

    A process of the tests takes a file at a time: a long one that comes last has no other beside.
    """
    counted = Counter(item.path for item in items)
    marked = (item for item in items for name in ("slow", "proof") if item.get_closest_marker(name))
    long = {item.path for item in marked}
    return lambda item: (item.path not in long, -counted[item.path], item.path)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the project's folder."""
    return CHECKOUT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real audit logs, which lies beside a checkout or nowhere."""
    if not REAL_DATA.is_dir():
        pytest.skip("no real audit logs beside this checkout")
    return REAL_DATA


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Return an empty storage account: tables, queues and blobs."""
    with azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many histories were simulated, and what happened in them."""
    total: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") != "call":
                continue
            for name, value in report.user_properties:
                if name == "simulated":
                    total.update(value)
    if total:
        named = ("seeds", "steps", "kills", "faults", "hours checked", "rows", "doubled rows")
        counts = ", ".join(f"{name} {total[name]:,}" for name in named)
        terminalreporter.write_line(f"simulated: {counts}; lost and falsely complete: see failures")
