"""Who publishes the solution in Content Hub, as the publisher's own settings say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mailvigil.errors import InputError, SettingsError
from mailvigil.sentinel.content_files import AUTHOR_DIVIDER, Solution
from mailvigil.sentinel.guide_checks import OFFER, PUBLISHER
from mailvigil.sentinel.solution_checks import COMMUNITY, MAIL, TIERS
from mailvigil.sentinel.solution_place import LOGO_FOLDERS
from mailvigil.yaml_input import YamlError, load_yaml

REPOSITORY = "https://raw.githubusercontent.com/Azure/Azure-Sentinel/master"
"""The guide asks for a logo that is in the repository itself."""

_REQUIRED = ("name", "email", "link")
_WHAT_TO_WRITE = "write name, email and link, as docs/content-hub.md says"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Who publishes. ``email`` and ``link`` are where users get support, ``tier`` whose it is.

    ``id`` and ``offer`` are those of Microsoft's Partner Center.
    """

    name: str
    email: str
    link: str
    tier: str
    id: str
    offer: str

    def of(self, solution: Solution) -> Solution:
        """Return *solution* as this publisher's, with the logo that a pull request brings."""
        support = {"name": self.name, "email": self.email, "tier": self.tier, "link": self.link}
        return replace(
            solution,
            author=f"{self.name}{AUTHOR_DIVIDER}{self.email}",
            publisher=self.id,
            offer=self.offer,
            support=support,
            logo=f"{REPOSITORY}/{LOGO_FOLDERS[0]}/{solution.name}.svg",
        )


def load_publisher(path: Path, solution: Solution) -> Publisher:
    """Return what *path* says; ``tier``, ``publisherId`` and ``offerId`` may be *solution*'s.

    Raises:
        InputError: It cannot be read, or settings are missing or wrong; all of them are named.

    """
    given = _read(path)
    publisher = Publisher(
        name=given.get("name", "").strip(),
        email=given.get("email", "").strip(),
        link=given.get("link", "").strip(),
        tier=given.get("tier", solution.support["tier"]),
        id=given.get("publisherId", solution.publisher),
        offer=given.get("offerId", solution.offer),
    )
    unknown = sorted(set(given) - {*_REQUIRED, "tier", "publisherId", "offerId"})
    problems = [f"unknown setting {key}" for key in unknown] + list(_problems(publisher))
    if problems:
        raise SettingsError(str(path), problems, _WHAT_TO_WRITE)
    return publisher


def _read(path: Path) -> Mapping[str, str]:
    try:
        data: Any = load_yaml(path.read_text(encoding="utf-8"))
    except YamlError as error:
        raise InputError(str(path), str(error), _WHAT_TO_WRITE) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), "cannot be read", _WHAT_TO_WRITE) from error
    if not isinstance(data, dict):
        raise InputError(str(path), "holds no settings", _WHAT_TO_WRITE)
    return {str(key): str(value) for key, value in data.items()}


def _problems(publisher: Publisher) -> Iterator[str]:
    if not publisher.name or AUTHOR_DIVIDER in publisher.name:
        yield "name is missing, or has ' - ' in it, which the packaging tool puts before an e-mail"
    if not MAIL.fullmatch(publisher.email):
        yield "email is missing, or is not an address such as support@contoso.com"
    if not publisher.link.startswith("https://"):
        yield "link is missing, or does not begin with https://"
    if publisher.tier not in TIERS:
        yield f"tier is not one of {', '.join(TIERS)}"
    if not PUBLISHER.fullmatch(publisher.id):
        yield "publisherId is not of up to 50 small letters and digits"
    if publisher.tier == "Community" and publisher.id != COMMUNITY:
        yield f"publisherId of the tier Community is not {COMMUNITY}"
    if not OFFER.fullmatch(publisher.offer):
        yield "offerId is not of up to 50 small letters, with 'sentinel' in it"
