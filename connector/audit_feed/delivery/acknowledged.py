"""Which bodies of a failed blob were acknowledged, so that they are not sent again. Pure."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from audit_feed.blobs import ContentBlob, Stream
from audit_feed.records.batches import Body

MOST_BLOBS = 1_000
"""Failed blobs that are remembered; of those before them, all is sent again."""


class AcknowledgedBodies:
    """Bodies that the sink took of blobs that are not delivered. Safe for threads.

    It is memory of this process: after a restart, or by another worker of the app, a blob is sent
    again from its beginning. Readers drop repeats.
    """

    def __init__(self) -> None:
        self._by_blob: OrderedDict[tuple[Stream, str], set[bytes]] = OrderedDict()
        self._lock = Lock()

    def add(self, blob: ContentBlob, body: Body) -> None:
        """Remember that *body* of *blob* was acknowledged."""
        key = (blob.stream, blob.id)
        with self._lock:
            self._by_blob.setdefault(key, set()).add(body.digest)
            self._by_blob.move_to_end(key)
            if len(self._by_blob) > MOST_BLOBS:
                self._by_blob.popitem(last=False)

    def holds(self, blob: ContentBlob, body: Body) -> bool:
        """Return whether *body* of *blob* was acknowledged before."""
        with self._lock:
            digests = self._by_blob.get((blob.stream, blob.id))
            return bool(digests) and body.digest in (digests or ())

    def forget(self, blob: ContentBlob) -> None:
        """Forget *blob*: it is delivered, or it is gone."""
        with self._lock:
            self._by_blob.pop((blob.stream, blob.id), None)
