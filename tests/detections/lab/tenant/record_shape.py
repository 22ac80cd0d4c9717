"""What every generated record of mail read must look like, as real ones do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address, ip_network

GUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
DOCUMENTATION = [
    ip_network(text)
    for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]

Record = Mapping[str, object]


def text(record: Record, name: str) -> str:
    value = record.get(name, "")
    assert isinstance(value, str), f"{name} is not a text"
    return value


def caller(record: Record) -> str:
    return text(record, "ClientAppId") or text(record, "AppId") or "none"


def protocol(record: Record) -> str:
    return text(record, "ClientInfoString").partition(";")[0].removeprefix("Client=")


def properties(record: Record) -> dict[str, str]:
    pairs = record["OperationProperties"]
    assert isinstance(pairs, list)
    return {pair["Name"]: pair["Value"] for pair in pairs}


def named_messages(record: Record) -> list[str]:
    folders = record.get("Folders", [])
    assert isinstance(folders, list)
    return [item["InternetMessageId"] for folder in folders for item in folder["FolderItems"]]


def bare_address(written: str) -> str:
    """Return the address without port, brackets and IPv4's IPv6 clothing."""
    if written.startswith("["):
        written = written[1:].partition("]")[0]
    elif written.count(":") == 1:
        written = written.partition(":")[0]
    address = ip_address(written)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def check_access(record: Record) -> None:
    """Fail when *record* is not what Exchange writes when mail is read."""
    assert record["Operation"] == "MailItemsAccessed"
    assert record["Workload"] == "Exchange"
    assert TIME.fullmatch(text(record, "CreationTime"))
    assert all(GUID.fullmatch(text(record, name)) for name in ("Id", "OrganizationId"))
    assert text(record, "MailboxOwnerUPN").endswith("@contoso.example")
    assert text(record, "OriginatingServer").endswith(")\r\n")
    assert text(record, "ClientInfoString").startswith("Client=")
    assert properties(record).keys() == {"MailAccessType", "IsThrottled"}
    check_address(text(record, "ClientIPAddress"))
    if properties(record)["MailAccessType"] == "Sync":
        _check_sync(record)
    else:
        _check_bind(record)


def check_address(written: str) -> None:
    if written:
        address = ip_address(bare_address(written))
        assert any(address in network for network in DOCUMENTATION), written


def _check_sync(record: Record) -> None:
    assert record["RecordType"] == 2
    assert record["ClientIP"] == record["ClientIPAddress"]
    assert protocol(record) == "MSExchangeRPC"
    assert not {"AppId", "ClientAppId", "Folders", "OperationCount"} & record.keys()
    item = record["Item"]
    assert isinstance(item, dict)
    assert item["ParentFolder"].keys() == {"Id", "Name", "Path"}


def _check_bind(record: Record) -> None:
    assert record["RecordType"] == 50
    assert not {"ClientIP", "Item"} & record.keys()
    messages = named_messages(record)
    assert messages
    assert record["OperationCount"] == len(messages)
    assert all(re.fullmatch(r"<[^<>@]+@[^<>@]+>", message) for message in messages)
