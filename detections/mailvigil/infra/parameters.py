"""Define every parameter of the template, with its meaning and its bounds."""

from __future__ import annotations

from collections.abc import Mapping

from audit_feed.clouds import CLOUDS
from audit_feed.settings import PROFILES
from mailvigil.infra.resources import Json

LONGEST_PREFIX = 11
"""With 13 letters of ``uniqueString`` a storage account's name is full: 24 letters."""

MOST_DAYS = 730
"""Interactive retention of a table. Source: Azure Monitor, "Manage data retention"."""
TOTAL_DAYS = (
    90,
    180,
    365,
    730,
    1_095,
    1_460,
    1_826,
    2_191,
    2_556,
    2_922,
    3_288,
    3_653,
    4_018,
    4_383,
)
"""Total retention: above two years the service takes whole years alone. Source: the same."""


def _choice(kind: str, default: object, description: str, **bounds: object) -> Json:
    return {
        "type": kind,
        "defaultValue": default,
        **bounds,
        "metadata": {"description": description},
    }


def _switch(description: str, *, default: bool) -> Json:
    return _choice("bool", default, description)


_NAMES: Mapping[str, Json] = {
    "namePrefix": _choice(
        "string",
        "mailvigil",
        "What the names of all resources begin with: 3 to 11 lower-case letters and digits, first"
        " a letter.",
        minLength=3,
        maxLength=LONGEST_PREFIX,
    ),
    "location": _choice(
        "string",
        "[resourceGroup().location]",
        "Region of all resources. With an existing workspace it must be the workspace's region.",
    ),
}
_WORKSPACE: Mapping[str, Json] = {
    "existingWorkspaceId": _choice(
        "string",
        "",
        "Resource id of the Log Analytics workspace to use; empty makes a new one. It may be in"
        " another resource group: the deployment then makes the tables there.",
    ),
    "activityPlan": _choice(
        "string",
        "Analytics",
        "Plan of the table M365Activity_CL. Analytics rules read the plan Analytics alone: with"
        " Basic they are refused.",
        allowedValues=["Analytics", "Basic"],
    ),
    "retentionDays": _choice(
        "int",
        90,
        "Days that the tables can be queried at no extra effort. The plan Basic has its own.",
        minValue=4,
        maxValue=MOST_DAYS,
    ),
    "totalRetentionDays": _choice(
        "int",
        365,
        "Days after which the rows are deleted; never fewer than they can be queried.",
        allowedValues=list(TOTAL_DAYS),
    ),
}
AT_FIRST: Mapping[str, object] = {
    "tenantIds": "[subscription().tenantId]",
    "contentTypes": ["Audit.Exchange", "Audit.AzureActiveDirectory"],
    "cloud": "worldwide",
    "since": "24h",
    "profile": "full",
    "startSubscriptions": "true",
}
"""What the app begins with where such a parameter is empty. Rules read both content types."""


def _kept(name: str, kind: str, description: str, **bounds: object) -> Json:
    """Return a parameter whose default, the empty one, leaves the app's setting as it is."""
    first = AT_FIRST[name]
    words = " and ".join(first) if isinstance(first, list) else first
    if name == "tenantIds":
        words = "the subscription's tenant"
    empty: object = [] if kind == "array" else ""
    return _choice(
        kind, empty, f"{description} Empty: what the app has, at first {words}.", **bounds
    )


_FEED: Mapping[str, Json] = {
    "tenantIds": _kept(
        "tenantIds",
        "string",
        "Ids (GUID) of the tenants to collect from, with commas between. More than one needs a"
        " certificate, as a managed identity signs in to its own tenant alone; the workspace's"
        " tenant then stands first.",
    ),
    "contentTypes": _kept(
        "contentTypes",
        "array",
        "Content types of the feed: Audit.Exchange, Audit.AzureActiveDirectory, Audit.SharePoint,"
        " Audit.General, DLP.All. The rules read the first two.",
    ),
    "cloud": _kept("cloud", "string", "Cloud of the tenants.", allowedValues=["", *CLOUDS]),
    "since": _kept(
        "since",
        "string",
        "How far back the first pass reads, such as 24h or 7d; the feed keeps 7 days.",
        maxLength=4,
    ),
    "profile": _kept(
        "profile",
        "string",
        "full keeps every field; lean leaves out what no rule reads, which is most of the volume.",
        allowedValues=["", *PROFILES],
    ),
    "startSubscriptions": _kept(
        "startSubscriptions",
        "string",
        "Whether the app starts the subscriptions that are missing, once its identity may read the"
        " feed. What an administrator stopped stays stopped.",
        allowedValues=["", "true", "false"],
    ),
    "settings": _choice(
        "secureObject",
        {},
        "Further settings of the app, name to text, such as AUDIT_FEED_KEEP to 60d. They hold"
        " before anything else; one that is not named here stays as the app has it.",
    ),
}
_ACCESS: Mapping[str, Json] = {
    "useCertificate": _switch(
        "Read the feed as an application with a certificate from a Key Vault, which is made for"
        " it; otherwise the managed identity reads it, and there is neither vault nor secret.",
        default=False,
    ),
    "applicationClientId": _choice(
        "string",
        "",
        "With a certificate: application (client) id of the application that reads the feed.",
    ),
    "applicationObjectId": _choice(
        "string",
        "",
        "With a certificate: object id of that application's service principal in this tenant. It"
        " gets the role on the data collection rule, in place of the managed identity.",
    ),
    "certificateName": _choice(
        "string",
        "mailvigil-feed",
        "With a certificate: its name in the Key Vault. Put it there after the deployment,"
        " with a private network from inside of that.",
        minLength=1,
        maxLength=127,
    ),
    "vaultName": _choice(
        "string",
        "",
        "With a certificate: name of the Key Vault, which no other one in Azure may have. Empty: a"
        " name that follows from the resource group. Choose another one where a removed vault"
        " still holds it.",
        maxLength=24,
    ),
    "privateNetwork": _switch(
        "Make a virtual network: the app reaches its storage (and vault) by private endpoints,"
        " and they have no public one. The feed and the workspace are reached over the internet."
        " The provider Microsoft.App must be registered in the subscription.",
        default=False,
    ),
    "addressSpace": _choice(
        "string",
        "10.20.30.0/24",
        "With a private network: its addresses, a range from /10 to /24 that nothing else uses.",
    ),
    "allowedAddresses": _choice(
        "array",
        [],
        "Addresses and ranges (192.0.2.1, 192.0.2.0/24, 2001:db8::/32) that may call the app's HTTP"
        " functions, health and notify."
        " None: nobody from outside can; collecting needs no caller.",
    ),
}
_SCALE: Mapping[str, Json] = {
    "maximumInstances": _choice(
        "int",
        40,
        "Most instances of the app at once.",
        minValue=40,
        maxValue=1_000,
    ),
    "instanceMemory": _choice(
        "int",
        2_048,
        "Memory of an instance, in MB.",
        allowedValues=[512, 2_048, 4_096],
    ),
    "packageUri": _choice(
        "string",
        "",
        "Address of the app's zip, to bring in the code with this deployment; empty to do that"
        " afterwards. The zip there must be named released-package.zip.",
    ),
}
PARAMETERS: Mapping[str, Json] = {
    **_NAMES,
    **_WORKSPACE,
    **_FEED,
    **_ACCESS,
    **_SCALE,
}
"""Every parameter in the order of the form. Each has a default: an empty form deploys."""

EXAMPLE: Mapping[str, object] = {
    "namePrefix": "mailvigil",
    "tenantIds": "00000000-0000-4000-8000-000000000001",
    "retentionDays": 90,
    "totalRetentionDays": 365,
}
"""What most owners set; everything else has a default."""
