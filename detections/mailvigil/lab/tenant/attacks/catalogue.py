"""All attacks by name, and the rules that must find each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mailvigil.lab.tenant.attacks import apps, insiders, token_theft
from mailvigil.lab.tenant.attacks.story import Attack, World

_MAKERS: tuple[Callable[[World], Attack], ...] = (
    token_theft.storm_0558,
    token_theft.storm_0558_common_id,
    apps.slow_graph_app,
    apps.consent_phishing,
    token_theft.phished_session,
    token_theft.synced_mailbox,
    token_theft.throttled_bulk,
    token_theft.foreign_token,
    insiders.delegate_abuse,
    insiders.bypass_then_read,
    insiders.licence_removed_then_read,
    token_theft.ews_script,
    token_theft.spray,
    apps.stolen_app,
)


def attacks(world: World) -> Mapping[str, Attack]:
    """Return every attack on *world*, by name."""
    made = [make(world) for make in _MAKERS]
    return {attack.name: attack for attack in made}
