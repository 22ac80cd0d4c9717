"""What people and programs read mail with: one row a client."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

GRAPH = "00000003-0000-0000-c000-000000000000"
EXCHANGE = "00000002-0000-0ff1-ce00-000000000000"
OWA = "9199bf20-a13f-4107-85dc-02114787ef48"
OFFICE = "d3590ed6-52b3-4102-aeff-aad2292ab01c"
OUTLOOK_MOBILE = "27922004-5251-4030-b22d-91ecd9a37ea4"
TEAMS = "1fec8e78-bce4-4aaf-ab1b-5451cc387264"
APPLE = "f8d98a96-0999-43f5-8af3-69971c7bb423"
SAMSUNG = "8acd33ea-7197-4a96-bc33-d7cc7101262f"
THUNDERBIRD = "9e5f94bc-e8a4-4e73-b8be-63364c29d753"
VAULT = "5b0e7c52-93a1-4d6f-8f0a-2c61d94be735"
"""Made up: the archiving service, approved."""
CRM = "c2d7f4ae-1b86-4e39-9d53-70a8e61f4b92"
"""Made up: the customer database, rolled out in mid-month, approved."""
DESK = "8e4a6f13-d5c2-47b9-a06e-39f1b85d27c4"
"""Made up: the ticket system, which reads the shared mailboxes."""

BROWSERS = (
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/137.0.0.0 Safari/537.36 Edg/137.0.0.0"
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/18.4 Safari/605.1.15"
    ),
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:139.0) Gecko/20100101 Firefox/139.0",
)

Place = Literal["desk", "anywhere", "phone", "cloud"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How one program shows in the records.

    ``info`` is ClientInfoString, with ``{browser}`` where a browser names itself.
    ``share`` is the part of the people who use it, ``weight`` how much of a user's mail
    they read with it, against the other clients they have. Where ``app_id`` is ``""``
    the record has no AppId at all, which is so for desktop Outlook.

    ActiveSync, IMAP and app-only rows follow the documented schema: no public record
    of them was available.
    """

    name: str
    info: str
    place: Place
    app_id: str = ""
    client_app_id: str = ""
    share: float = 0.0
    weight: float = 1.0
    sync: bool = False
    session: bool = False
    process: str = ""

    @property
    def caller(self) -> str:
        """The id of the application that reads, "" for none."""
        return self.client_app_id or self.app_id


def _desktop_outlook(name: str, weight: float) -> Client:
    """Return a part of Outlook on Windows, whose records have no AppId."""
    return Client(
        name=name,
        info="Client=MSExchangeRPC",
        place="desk",
        share=0.8,
        weight=weight,
        session=True,
    )


def _phone(name: str, agent: str, app_id: str, share: float) -> Client:
    """Return a mail program of a phone that synchronises by ActiveSync."""
    info = f"Client=ActiveSync;UserAgent={agent};Action=/Proxy/;"
    return Client(name=name, info=info, place="phone", app_id=app_id, share=share)


def _through_graph(
    name: str, client_app_id: str, share: float = 0.0, weight: float = 1.0
) -> Client:
    """Return an application that reads mail through Microsoft Graph."""
    return Client(
        name=name,
        info="Client=REST;;",
        place="cloud",
        app_id=GRAPH,
        client_app_id=client_app_id,
        share=share,
        weight=weight,
    )


OWA_BEFORE = Client(
    name="owa",
    info="Client=OWA;{browser};",
    place="anywhere",
    app_id=EXCHANGE,
    share=0.75,
    weight=1.4,
    session=True,
)
OWA_AFTER = replace(OWA_BEFORE, name="owa-new", app_id=OWA, share=0.0, weight=1.0)
OWA_PROXY = Client(name="owa-proxy", info="Client=OWA;Action=ViaProxy", place="anywhere")
OUTLOOK_SYNC = replace(_desktop_outlook("outlook-sync", 0.9), sync=True, process="OUTLOOK.EXE")
OUTLOOK_BIND = _desktop_outlook("outlook-bind", 0.8)
PHONE = Client(
    name="outlook-mobile",
    info="Client=REST;Client=RESTSystem;;",
    place="phone",
    app_id=OUTLOOK_MOBILE,
    client_app_id=OUTLOOK_MOBILE,
    share=0.6,
    weight=1.6,
)
IPHONE = _phone("apple-mail", "Apple-iPhone16C2/2206.82", APPLE, 0.2)
GALAXY = _phone("samsung-email", "Android-SAMSUNG-SM-S921B/101.140000", SAMSUNG, 0.15)
MAC = Client(
    name="outlook-mac",
    info=f"Client=WebServices;MacOutlook/16.98.25060824 (Intelx64 Mac OS X 15.5)[AppId={OFFICE}];",
    place="desk",
    app_id=OFFICE,
    share=0.18,
)
TEAMS_GRAPH = _through_graph("teams", TEAMS, share=0.5, weight=0.6)
IMAP = Client(
    name="thunderbird",
    info="Client=POP3/IMAP4;Protocol=IMAP4",
    place="anywhere",
    app_id=THUNDERBIRD,
    share=0.08,
)
TICKETS = _through_graph("tickets", DESK)
CUSTOMERS = _through_graph("customers", CRM)
ARCHIVE = Client(
    name="archive",
    info="Client=WebServices;ExchangeServicesClient/15.00.0913.015;",
    place="cloud",
    app_id=VAULT,
)

PERSONAL = (OWA_BEFORE, OUTLOOK_SYNC, OUTLOOK_BIND, PHONE, IPHONE, GALAXY, MAC, TEAMS_GRAPH, IMAP)
"""The clients a person chooses."""

PHONES = (PHONE, IPHONE, GALAXY)
"""What a new phone brings."""

MIGRATION = replace(ARCHIVE, name="migration", app_id="3f6a9d20-7c14-4b85-9e3b-d85a20c7f613")
"""Made up: the tool that moves mailboxes, app-only; approved before it is used."""
BILLING = replace(ARCHIVE, name="billing", app_id="a9e15c37-2d80-4f6b-b1c4-60e7d3f8a521")
"""Made up: the job that collects invoices at the end of a month, app-only, approved."""
