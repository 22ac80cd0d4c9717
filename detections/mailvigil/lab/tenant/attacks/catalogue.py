"""All attacks by name, and the rules that must find each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mailvigil.lab.tenant.attacks import apps, insiders, tokens
from mailvigil.lab.tenant.attacks.story import Attack, World

_MAKERS: tuple[Callable[[World], Attack], ...] = (
    tokens.storm_0558,
    tokens.storm_0558_common_id,
    apps.slow_graph_app,
    apps.consent_phishing,
    tokens.phished_session,
    tokens.synced_mailbox,
    tokens.throttled_bulk,
    tokens.foreign_token,
    insiders.delegate_abuse,
    insiders.bypass_then_read,
    insiders.licence_removed_then_read,
    tokens.ews_script,
    tokens.spray,
    apps.stolen_app,
)


def attacks(world: World) -> Mapping[str, Attack]:
    """Return every attack on *world*, by name."""
    made = [make(world) for make in _MAKERS]
    return {attack.name: attack for attack in made}
