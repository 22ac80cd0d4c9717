"""The lean profile: leave out what no rule and no hunting query reads, and count the saving. Pure.

Most of the volume of ``MailItemsAccessed`` is ``Folders``; of each item only the message id is
used. What is left out is gone: use the full profile, or keep it elsewhere, where it may be needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

import orjson

from audit_feed.records.shape import Record

LEFT_OUT: Mapping[str, str] = {
    "LogonUserSid": "repeats UserId in another form",
    "MailboxOwnerSid": "repeats MailboxGuid in another form",
    "MailboxOwnerMasterAccountSid": "repeats MailboxGuid in another form",
    "OriginatingServer": "a server of Microsoft's",
    "Version": "of the record's schema",
    "ClientRequestId": "of one request, joined to nothing",
    "SessionPolicies": "no rule reads it",
}
"""Field to why no rule and no hunting query misses it."""

ITEM_KEPT = "InternetMessageId"
FOLDER_KEPT = "Path"


@dataclass(slots=True)
class Saving:
    """Bytes of JSON left out so far, over all threads."""

    left_out: int = 0
    lock: Lock = field(default_factory=Lock)

    def add(self, size: int) -> None:
        """Count *size* more bytes."""
        with self.lock:
            self.left_out += size


def lean(record: Record, saving: Saving) -> Record:
    """Return *record* without what the profile leaves out, and count that in *saving*."""
    thinned = {name: value for name, value in record.items() if name not in LEFT_OUT}
    folders = record.get("Folders")
    if isinstance(folders, list):
        thinned["Folders"] = [_folder(folder) for folder in folders]
    dropped = {name: value for name, value in record.items() if name in LEFT_OUT}
    thinner = len(orjson.dumps(folders)) - len(orjson.dumps(thinned.get("Folders")))
    saving.add(max(thinner, 0) + (len(orjson.dumps(dropped)) if dropped else 0))
    return thinned


def _folder(folder: object) -> object:
    if not isinstance(folder, dict):
        return folder
    items = folder.get("FolderItems")
    if not isinstance(items, list):
        return folder
    return {FOLDER_KEPT: folder.get(FOLDER_KEPT), "FolderItems": [_item(item) for item in items]}


def _item(item: object) -> object:
    if isinstance(item, dict) and ITEM_KEPT in item:
        return {ITEM_KEPT: item[ITEM_KEPT]}
    return item
