"""Who lives in the made-up tenant: mailboxes, their owners' habits and addresses."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache

from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.profile import Profile

DOMAIN = "contoso.example"

EXECUTIVES = ("adele", "marten", "ingrid", "tariq", "noor")
"""The people an intruder would read. Their mailboxes are the first five."""

ASSISTANTS = ("petra", "colin")
"""They read the executives' mail every working day, with permission."""

SHARED = ("support", "invoices", "info")
"""Mailboxes without a person, the last three of every tenant."""

STAFF = (
    "alma",
    "bruno",
    "carla",
    "diego",
    "elsa",
    "farid",
    "greta",
    "hamid",
    "irina",
    "jonas",
    "kaja",
    "leo",
    "mila",
    "nils",
    "olga",
    "pavel",
    "quinn",
    "rosa",
    "samir",
    "tilda",
    "ulf",
    "vera",
    "wanda",
    "xenia",
    "yusuf",
    "zora",
    "anton",
    "berit",
    "cyril",
    "dora",
    "emil",
    "fiona",
    "gustav",
    "hanna",
    "ivo",
    "jana",
    "karim",
    "lena",
    "milan",
    "nadia",
    "otto",
    "paula",
    "rafael",
    "selma",
    "timo",
    "una",
    "viktor",
    "yara",
)

SURNAMES = (
    "berg",
    "costa",
    "dahl",
    "engel",
    "fontaine",
    "grau",
    "holm",
    "ivers",
    "jansen",
    "kovac",
    "lund",
    "moreau",
    "novak",
)

FOLDERS = (
    ("Inbox", "\\Inbox", "AAEM"),
    ("Sent Items", "\\Sent Items", "AAEJ"),
    ("Drafts", "\\Drafts", "AAEP"),
    ("Deleted Items", "\\Deleted Items", "AAEK"),
    ("Projects", "\\Inbox\\Projects", "AB7C"),
    ("Archive", "\\Archive", "AB2D"),
)
"""Name, path and the folder's part of its id. Inbox first: most mail is read there."""

SELDOM = (
    ("Junk Email", "\\Junk Email", "AAEa"),
    ("Outbox", "\\Outbox", "AAEL"),
    ("Conversation History", "\\Conversation History", "AAEs"),
    ("Board", "\\Inbox\\Board", "AB7D"),
    ("Contracts", "\\Inbox\\Contracts", "AB7E"),
    ("Invoices", "\\Inbox\\Invoices", "AB7F"),
    ("Travel", "\\Inbox\\Travel", "AB7G"),
    ("Personal", "\\Personal", "AB3A"),
    ("2024", "\\Archive\\2024", "AB2E"),
    ("2025", "\\Archive\\2025", "AB2F"),
)
"""Folders in which little happens: the whole mailbox has them, an ordinary day mostly not. The
one public mailbox whose whole download we have seen had 22 folders."""

FILING = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Part of a person's synchronised folders that is one of ``SELDOM``; one in five files much."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of one mailbox."""

    id: str
    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """One mailbox and the person behind it (a shared mailbox has a person's fields too).

    Addresses are from the documentation ranges. ``server`` is the machine the mailbox
    lives on, as it is written in message ids and in ``OriginatingServer``.
    """

    number: int
    upn: str
    guid: str
    sid: str
    user_key: str
    object_id: str
    server: str
    office_ip: str
    home_ip: str
    mobile_ip: str
    folders: tuple[Folder, ...]

    @property
    def busy(self) -> tuple[Folder, ...]:
        """The folders in which most happens, Inbox first."""
        return self.folders[: len(FOLDERS)]

    @property
    def seldom(self) -> tuple[Folder, ...]:
        """The folders in which little happens."""
        return self.folders[len(FOLDERS) :]

    @property
    def filing(self) -> float:
        """The part, from 0 to 1, of what is synchronised that lies in ``seldom``."""
        return FILING[self.number % len(FILING)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUpTenant:
    """The organisation. ``mailboxes`` are ordered: executives, assistants, staff, shared."""

    organization_id: str
    name: str
    mailboxes: tuple[Mailbox, ...]

    @property
    def executives(self) -> tuple[Mailbox, ...]:
        """The mailboxes worth an intruder's while."""
        return self.mailboxes[: len(EXECUTIVES)]

    @property
    def people(self) -> tuple[Mailbox, ...]:
        """The mailboxes that a person owns."""
        return self.mailboxes[: -len(SHARED)]

    @property
    def shared(self) -> tuple[Mailbox, ...]:
        """The mailboxes without a person."""
        return self.mailboxes[-len(SHARED) :]

    @property
    def staff(self) -> tuple[Mailbox, ...]:
        """The mailboxes of ordinary people."""
        return self.people[len(EXECUTIVES) + len(ASSISTANTS) :]

    @property
    def assistants(self) -> tuple[Mailbox, ...]:
        """The people who read the executives' mail with permission."""
        return self.mailboxes[len(EXECUTIVES) : len(EXECUTIVES) + len(ASSISTANTS)]


def tenant_of(profile: Profile) -> MadeUpTenant:
    """Return the tenant of *profile*: the same people for the same seed and number."""
    return _tenant(profile.seed, profile.mailboxes)


@lru_cache(maxsize=4)
def _tenant(seed: int, mailboxes: int) -> MadeUpTenant:
    dice = Dice(seed, "tenant")
    domain_sid = "-".join(str(dice.below(2**31)) for _ in range(3))
    names = _names(mailboxes)
    return MadeUpTenant(
        organization_id=dice.guid(),
        name=DOMAIN,
        mailboxes=tuple(
            _mailbox(Dice(seed, "mailbox", number), number, name, domain_sid)
            for number, name in enumerate(names)
        ),
    )


def _names(count: int) -> list[str]:
    """Return *count* distinct local parts, the shared mailboxes last."""
    people = [*EXECUTIVES, *ASSISTANTS, *STAFF]
    room = max(count - len(SHARED), 0)
    while len(people) < room:
        turn, place = divmod(len(people), len(STAFF))
        surname = SURNAMES[turn % len(SURNAMES)]
        again = turn // len(SURNAMES)
        people.append(f"{STAFF[place]}.{surname}{again or ''}")
    return [*people[:room], *SHARED[: count - room]]


def _mailbox(dice: Dice, number: int, name: str, domain_sid: str) -> Mailbox:
    server = f"AM{dice.below(9)}PR04MB{2000 + dice.below(7000)}"
    return Mailbox(
        number=number,
        upn=f"{name}@{DOMAIN}",
        guid=dice.guid(),
        sid=f"S-1-5-21-{domain_sid}-{25_000_000 + number}",
        user_key=f"1003200{dice.hexed(16)[:9].upper()}",
        object_id=dice.guid(),
        server=server,
        office_ip=f"192.0.2.{10 + number % 12}",
        home_ip=_home(dice, number),
        mobile_ip=f"203.0.113.{1 + dice.below(180)}",
        folders=_folders(dice),
    )


def _home(dice: Dice, number: int) -> str:
    if dice.chance(0.4):
        return f"2001:db8:{0x1000 + number % 0xE000:x}::{1 + dice.below(0xFFFE):x}"
    return f"198.51.100.{1 + dice.below(230)}"


def _folders(dice: Dice) -> tuple[Folder, ...]:
    store = b64encode(bytes.fromhex(dice.hexed(64))).decode()[:40]
    return tuple(
        Folder(f"LgAAAAD{store}AAAAA{part}AAAB", name, path)
        for name, path, part in (*FOLDERS, *SELDOM)
    )
