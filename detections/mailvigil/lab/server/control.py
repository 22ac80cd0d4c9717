"""The lab's own endpoint, ``/lab/…``: its clock, counts, faults and what it plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import get_args

import orjson

from mailvigil.errors import InputError
from mailvigil.lab.server.activity import ActivityApi
from mailvigil.lab.server.counts import Kind
from mailvigil.lab.server.errors_by_code import as_json
from mailvigil.lab.server.faults import Faults, load_script
from mailvigil.lab.server.landing import Landing
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.options import CONTENT_TYPES
from mailvigil.lab.server.publishing import LabRecord
from mailvigil.times import parse_utc

PREFIX = "/lab/"
COUNTED: tuple[Kind, ...] = ("blob", "page", "upload", "token", "subscription")

Publish = Callable[[str, datetime, list[LabRecord], str], str]
"""Content type, creation time, records and tenant to the new blob's id."""


@dataclass(frozen=True, slots=True)
class Control:
    """What a user may ask and change while the lab runs."""

    api: ActivityApi
    faults: Faults
    landing: Landing
    publish: Publish

    def answer(self, request: HttpRequest) -> Response:
        """Do what *request* asks; a body is a JSON object (YAML for the faults)."""
        name = request.path.removeprefix(PREFIX)
        try:
            if request.method == "GET" and name in {"clock", "counts"}:
                return as_json(self._clock({}) if name == "clock" else self._counts(request))
            if request.method == "POST" and name == "faults":
                self.faults.script(load_script(request.body.decode(), "faults"))
                return Response(status=204)
            if request.method == "POST" and (do := self._actions().get(name)):
                return as_json(do(_object(request.body)))
        except (InputError, ValueError, KeyError, TypeError) as error:
            return as_json({"error": str(error)}, 400)
        return as_json({"error": f"there are {', '.join(sorted(self._actions()))}"}, 404)

    def _actions(self) -> Mapping[str, Callable[[Mapping[str, object]], object]]:
        return {
            "clock": self._clock,
            "checkpoint": self._checkpoint,
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
        return {"contentId": self.publish(str(asked["content_type"]), created, records, tenant)}

    def _revoke(self, _asked: Mapping[str, object]) -> object:
        self.api.mint.revoke_all()
        return {}

    def _subscription(self, asked: Mapping[str, object]) -> object:
        """Disable a subscription as an admin does (``disabled_by``), or turn it on."""
        content_type = str(asked["content_type"])
        if content_type not in CONTENT_TYPES:
            raise InputError("subscription", "no such content type")
        tenant = str(asked.get("tenant") or next(iter(self.api.directory.tenants)))
        subscription = self.api.model.subscriptions.of(tenant, content_type)
        now = self.api.clock.now()
        if by := str(asked.get("disabled_by") or ""):
            subscription.stop(now, by)
        else:
            subscription.start(now)
        return subscription.shown(now)

    def _tenant(self, asked: Mapping[str, object]) -> object:
        """Change a tenant: ``auditing``, and of its apps ``roles`` and ``granted``."""
        tenant_id = str(asked.get("tenant") or next(iter(self.api.directory.tenants)))
        tenant = self.api.directory.tenants[tenant_id]
        tenant.auditing = bool(asked.get("auditing", tenant.auditing))
        roles = asked.get("roles")
        for app in tenant.apps.values():
            app.granted = bool(asked.get("granted", app.granted))
            if isinstance(roles, list):
                app.roles = set(map(str, roles))
        return {"tenant": tenant.id, "auditing": tenant.auditing}


def _object(body: bytes) -> Mapping[str, object]:
    asked = orjson.loads(body or b"{}")
    if not isinstance(asked, dict):
        raise InputError("/lab/", "the body is not a JSON object")
    return asked
