"""The private network, when it is asked for: storage and vault without a public endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailvigil.infra.names import (
    APP_SUBNET,
    ENDPOINT_SUBNET,
    ENDPOINT_SUBNET_ID,
    NETWORK_ID,
    STORAGE_ID,
    VAULT_ID,
)
from mailvigil.infra.resources import (
    ENDPOINT,
    NETWORK,
    SECURITY_GROUP,
    ZONE,
    ZONE_GROUP,
    ZONE_LINK,
    Json,
    formula,
    parameter,
    resource,
    resource_id,
    variable,
)

_PRIVATE = parameter("privateNetwork")
_WITH_VAULT = f"and({_PRIVATE}, {variable('withVault')})"
_GROUP_ID = resource_id(SECURITY_GROUP, variable("groupName"))
_LOCATION = formula(parameter("location"))


@dataclass(frozen=True, slots=True)
class Reach:
    """One service that is reached privately; the fields are expressions without brackets."""

    word: str
    target: str
    zone: str
    condition: str

    @property
    def name(self) -> str:
        """Return what names the endpoint."""
        return f"concat({parameter('namePrefix')}, '-{self.word}-', {variable('suffix')})"

    @property
    def endpoint_id(self) -> str:
        """Return the endpoint's id."""
        return resource_id(ENDPOINT, self.name)

    @property
    def zone_id(self) -> str:
        """Return the id of the zone that its name is looked up in."""
        return resource_id(ZONE, self.zone)

    @property
    def link_id(self) -> str:
        """Return the id of what lets the network look names up in the zone."""
        return resource_id(ZONE_LINK, self.zone, variable("networkName"))

    @property
    def group_id(self) -> str:
        """Return the id of what writes the endpoint's address into the zone."""
        return resource_id(ZONE_GROUP, self.name, "'default'")


def _storage(service: str) -> Reach:
    zone = f"concat('privatelink.{service}.', environment().suffixes.storage)"
    return Reach(service, STORAGE_ID, zone, _PRIVATE)


_VAULT_ZONE = (
    "concat('privatelink', replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.'))"
)
REACHES = (
    _storage("blob"),
    _storage("queue"),
    _storage("table"),
    Reach("vault", VAULT_ID, _VAULT_ZONE, _WITH_VAULT),
)
NETWORK_PARTS = (
    NETWORK_ID,
    *(identifier for reach in REACHES for identifier in (reach.group_id, reach.link_id)),
)
"""Ids, without brackets, of what the app needs before it starts."""


def network() -> Iterator[Json]:
    """Return the network and what hangs on it."""
    yield _security_group()
    yield _network()
    for reach in REACHES:
        yield from _reach(reach)


def _security_group() -> Json:
    """Return who may talk to the endpoints: the app alone, by HTTPS."""
    app = f"cidrSubnet({parameter('addressSpace')}, 26, 0)"
    return resource(
        SECURITY_GROUP,
        formula(variable("groupName")),
        condition=formula(_PRIVATE),
        location=_LOCATION,
        properties={
            "securityRules": [
                _traffic("app-by-https", formula(app), "Allow", 100),
                _traffic("nobody-else", "*", "Deny", 200),
            ]
        },
    )


def _traffic(name: str, source: str, access: str, priority: int) -> Json:
    return {
        "name": name,
        "properties": {
            "direction": "Inbound",
            "access": access,
            "priority": priority,
            "protocol": "Tcp" if access == "Allow" else "*",
            "sourceAddressPrefix": source,
            "sourcePortRange": "*",
            "destinationAddressPrefix": "*",
            "destinationPortRange": "443" if access == "Allow" else "*",
        },
    }


def _network() -> Json:
    space = parameter("addressSpace")
    return resource(
        NETWORK,
        formula(variable("networkName")),
        condition=formula(_PRIVATE),
        location=_LOCATION,
        dependsOn=[formula(_GROUP_ID)],
        properties={
            "addressSpace": {"addressPrefixes": [formula(space)]},
            "subnets": [
                {
                    "name": APP_SUBNET,
                    "properties": {
                        "addressPrefix": formula(f"cidrSubnet({space}, 26, 0)"),
                        "delegations": [
                            {
                                "name": "functions",
                                "properties": {"serviceName": "Microsoft.App/environments"},
                            }
                        ],
                    },
                },
                {
                    "name": ENDPOINT_SUBNET,
                    "properties": {
                        "addressPrefix": formula(f"cidrSubnet({space}, 26, 1)"),
                        "defaultOutboundAccess": False,
                        "privateEndpointNetworkPolicies": "Enabled",
                        "networkSecurityGroup": {"id": formula(_GROUP_ID)},
                    },
                },
            ],
        },
    )


def _reach(reach: Reach) -> Iterator[Json]:
    condition = formula(reach.condition)
    yield resource(ZONE, formula(reach.zone), condition=condition, location="global", properties={})
    yield resource(
        ZONE_LINK,
        formula(f"concat({reach.zone}, '/', {variable('networkName')})"),
        condition=condition,
        location="global",
        dependsOn=[formula(reach.zone_id), formula(NETWORK_ID)],
        properties={
            "registrationEnabled": False,
            "virtualNetwork": {"id": formula(NETWORK_ID)},
        },
    )
    yield _endpoint(reach)
    yield resource(
        ZONE_GROUP,
        formula(f"concat({reach.name}, '/default')"),
        condition=condition,
        dependsOn=[formula(reach.endpoint_id), formula(reach.zone_id)],
        properties={
            "privateDnsZoneConfigs": [
                {
                    "name": reach.word,
                    "properties": {"privateDnsZoneId": formula(reach.zone_id)},
                }
            ]
        },
    )


def _endpoint(reach: Reach) -> Json:
    return resource(
        ENDPOINT,
        formula(reach.name),
        condition=formula(reach.condition),
        location=_LOCATION,
        dependsOn=[formula(reach.target), formula(NETWORK_ID)],
        properties={
            "subnet": {"id": formula(ENDPOINT_SUBNET_ID)},
            "privateLinkServiceConnections": [
                {
                    "name": reach.word,
                    "properties": {
                        "privateLinkServiceId": formula(reach.target),
                        "groupIds": [reach.word],
                    },
                }
            ],
        },
    )
