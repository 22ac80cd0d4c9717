"""The lab's own endpoint, ``/lab/…``: its clock, counts, faults and what it plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import get_args

import orjson

from mailvigil.errors import InputError
from mailvigil.lab.server.activity import ActivityApi
from mailvigil.lab.server.contents import Blob
from mailvigil.lab.server.counts import Kind
from mailvigil.lab.server.errors_by_code import as_json
from mailvigil.lab.server.faults import Faults, load_script
from mailvigil.lab.server.ingestion import IngestionApi
from mailvigil.lab.server.landing import Landing
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.options import CONTENT_TYPES, changed, plain
from mailvigil.lab.server.publishing import LabRecord, body_of
from mailvigil.times import parse_utc

PREFIX = "/lab/"
COUNTED: tuple[Kind, ...] = ("blob", "page", "upload", "token", "subscription")

Publish = Callable[[str, datetime, datetime, list[LabRecord], str], str]
"""Content type, times of creation and listing, records and tenant to the new blob's id."""


@dataclass(frozen=True, slots=True)
class Control:
    """What a user may ask and change while the lab runs."""

    api: ActivityApi
    ingestion: IngestionApi
    faults: Faults
    landing: Landing
    publish: Publish

    def answer(self, request: HttpRequest) -> Response:
        """Do what *request* asks; a body is a JSON object (YAML for the faults)."""
        name = request.path.removeprefix(PREFIX)
        try:
            if request.method == "GET" and name == "counts":
                return as_json(self._counts(request))
            if request.method == "GET" and name in {"clock", "feed", "ingestion"}:
                return as_json(self._actions()[name]({}))
            if request.method == "POST" and name == "faults":
                self.faults.script(load_script(request.body.decode(), "faults"))
                return Response(status=204)
            if request.method == "POST" and (do := self._actions().get(name)):
                return as_json(do(_object(request.body)))
        except (InputError, ValueError, KeyError, TypeError, OverflowError) as error:
            return as_json({"error": str(error)}, 400)
        return as_json({"error": f"there are {', '.join(sorted(self._actions()))}"}, 404)

    def _actions(self) -> Mapping[str, Callable[[Mapping[str, object]], object]]:
        return {
            "clock": self._clock,
            "checkpoint": self._checkpoint,
            "feed": self._feed,
            "ingestion": self._ingestion,
            "grow": self._grow,
            "publish": self._publish,
            "revoke": self._revoke,
            "subscription": self._subscription,
            "tenant": self._tenant,
        }

    def _clock(self, asked: Mapping[str, object]) -> object:
        """Set (ISO 8601), move (seconds) or run (rate) the clock; say what it shows."""
        clock, keep = self.api.clock, bool(asked.get("keep_tokens"))
        if "set" in asked:
            clock.set(parse_utc(str(asked["set"])), keep_tokens=keep)
        if "move" in asked:
            clock.move(timedelta(seconds=float(str(asked["move"]))), keep_tokens=keep)
        if "rate" in asked:
            clock.run(float(str(asked["rate"])))
        return {"now": clock.now().isoformat(), "rate": clock.rate}

    def _feed(self, asked: Mapping[str, object]) -> object:
        """Change options of the feed, a span of time in seconds; say what they are."""
        self.api.model.options = changed(self.api.model.options, asked)
        return plain(self.api.model.options)

    def _ingestion(self, asked: Mapping[str, object]) -> object:
        """Change options of the ingestion; say what they are."""
        self.ingestion.options = changed(self.ingestion.options, asked)
        return plain(self.ingestion.options)

    def _counts(self, request: HttpRequest) -> object:
        counts = self.api.model.counts
        counted: dict[str, object] = {f"{kind}s": asdict(counts.tally(kind)) for kind in COUNTED}
        counted |= counts.plain()
        if (kind := request.params.get("detail")) in get_args(Kind):
            counted["asked"] = counts.asked(kind)  # type: ignore[arg-type]  # it is a Kind
            counted["answered"] = counts.answered(kind)  # type: ignore[arg-type]  # it is a Kind
        return counted

    def _checkpoint(self, _asked: Mapping[str, object]) -> object:
        self.landing.checkpoint()
        return {"workspace": str(self.landing.workspace)}

    def _publish(self, asked: Mapping[str, object]) -> object:
        records = asked["records"]
        if not isinstance(records, list):
            raise InputError("publish", "`records` is not a list")
        created = parse_utc(str(asked["created"]))
        tenant = str(asked.get("tenant") or next(iter(self.api.directory.tenants)))
        available = parse_utc(str(asked["available"])) if "available" in asked else created
        name = self.publish(str(asked["content_type"]), created, available, records, tenant)
        return {"contentId": name}

    def _grow(self, asked: Mapping[str, object]) -> object:
        """Let a blob hold other ``records`` from now on; ``expiration`` is its later end.

        With ``address`` it is listed under that one beside its own, which answers with the
        code ``refusal``. ``element`` lists it as that JSON value.
        """
        blob = self.api.model.contents.get(str(asked["contentId"]))
        if blob is None:
            raise InputError("grow", "no such blob")
        self.api.model.publish(_grown(blob, asked, self.api.model.now(self.api.clock.now())))
        return {"contentId": blob.id}

    def _revoke(self, _asked: Mapping[str, object]) -> object:
        self.api.mint.revoke_all()
        return {}

    def _subscription(self, asked: Mapping[str, object]) -> object:
        """Disable a subscription as an admin does, turn it off as a client does, or turn it on.

        ``disabled_by`` and ``locked`` disable it, ``off`` turns it off, ``at`` is when.
        """
        content_type = str(asked["content_type"])
        if content_type not in CONTENT_TYPES:
            raise InputError("subscription", "no such content type")
        tenant = str(asked.get("tenant") or next(iter(self.api.directory.tenants)))
        subscription = self.api.model.subscriptions.of(tenant, content_type)
        now = self.api.model.now(self.api.clock.now())
        at = parse_utc(str(asked["at"])) if "at" in asked else now
        by = str(asked.get("disabled_by") or "")
        if by or asked.get("off"):
            subscription.stop(at, by, locked=bool(asked.get("locked")))
        else:
            subscription.start(at)
        return subscription.shown(now)

    def _tenant(self, asked: Mapping[str, object]) -> object:
        """Change a tenant: ``auditing``, ``feed_api``, and its app's ``roles`` and ``granted``.

        The app is the one that collects. ``graph_roles`` are its roles in Microsoft Graph.
        """
        tenant_id = str(asked.get("tenant") or next(iter(self.api.directory.tenants)))
        tenant = self.api.directory.tenants[tenant_id]
        tenant.auditing = bool(asked.get("auditing", tenant.auditing))
        tenant.feed_api = bool(asked.get("feed_api", tenant.feed_api))
        roles, graph_roles = asked.get("roles"), asked.get("graph_roles")
        for app in tenant.apps.values():
            granted = bool(asked.get("granted", app.granted))
            app.grant(self.api.clock.now(), granted=granted)
            if isinstance(roles, list):
                app.roles = set(map(str, roles))
            if isinstance(graph_roles, list):
                app.graph_roles = set(map(str, graph_roles))
        return {"tenant": tenant.id, "auditing": tenant.auditing}


def _grown(blob: Blob, asked: Mapping[str, object], now: datetime) -> Blob:
    """Return the next version of *blob*, or its second address."""
    grown = replace(blob, available=now)
    records = asked.get("records")
    if isinstance(records, list):
        ids = tuple(str(record.get("Id")) for record in records if isinstance(record, dict))
        grown = replace(grown, body=body_of(records), record_ids=ids)
    if "expiration" in asked:
        grown = replace(grown, expiration=parse_utc(str(asked["expiration"])))
    if "element" in asked:
        grown = replace(grown, element=orjson.dumps(asked["element"]))
    named = {key: str(asked[key]) for key in ("address", "refusal") if key in asked}
    return replace(grown, **named)  # type: ignore[arg-type]  # both are texts


def _object(body: bytes) -> Mapping[str, object]:
    asked = orjson.loads(body or b"{}")
    if not isinstance(asked, dict):
        raise InputError("/lab/", "the body is not a JSON object")
    return asked
