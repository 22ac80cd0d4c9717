"""Which extra of the package holds what a command needs and the base installation lacks."""

from __future__ import annotations

from importlib.util import find_spec

from mailvigil.errors import InputError

EXTRA_OF = {
    "jsonschema": "workbench",
    "prompt_toolkit": "workbench",
    "py_mini_racer": "workbench",
    "stix2": "stix",
}
"""The extra of each package that the base installation lacks."""


def missing_extra(package: str | None) -> str | None:
    """Say in one sentence how to install *package*, or return None if it is of no extra."""
    extra = EXTRA_OF.get((package or "").partition(".")[0])
    if extra is None:
        return None
    return str(_absent(package or "", extra))


def need(package: str) -> None:
    """Refuse to go on without *package*.

    Raises:
        InputError: It is not installed; the message says which extra has it.

    """
    if find_spec(package) is None:
        raise _absent(package, EXTRA_OF[package])


def _absent(package: str, extra: str) -> InputError:
    todo = f"pip install 'mailvigil[{extra}]'; in a checkout, make install"
    return InputError(package, "not installed", todo)
