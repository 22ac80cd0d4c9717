"""The portal's form: each parameter of the template asked for in words, with its bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping

from audit_feed.blobs import CONTENT_TYPES
from mailvigil.infra import form_patterns
from mailvigil.infra.parameters import AT_FIRST, LONGEST_PREFIX, PARAMETERS
from mailvigil.infra.resources import WORKSPACE, Json

_SCHEMA = (
    "https://schema.management.azure.com/schemas/0.1.2-preview/CreateUIDefinition.MultiVm.json#"
)

PROVIDERS = (
    "Microsoft.App",
    "Microsoft.Insights",
    "Microsoft.KeyVault",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.OperationalInsights",
    "Microsoft.Storage",
    "Microsoft.Web",
)
"""Registered in the subscription by the form. ``Microsoft.App`` has the app's subnet."""

STEPS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "workspace": (
        "Workspace",
        {
            "activityPlan": "Plan of the records' table",
            "retentionDays": "Retention in days",
            "totalRetentionDays": "Days until deletion",
        },
    ),
    "feed": (
        "Tenants",
        {
            "tenantIds": "Tenant ids",
            "contentTypes": "Content types",
            "cloud": "Cloud of the tenants",
            "since": "First pass reads",
            "profile": "Profile",
            "startSubscriptions": "Start missing subscriptions",
            "settings": "Further settings, as JSON",
        },
    ),
    "access": (
        "Access",
        {
            "useCertificate": "Sign in with a certificate",
            "applicationClientId": "Application (client) id",
            "applicationObjectId": "Object id of its service principal",
            "certificateName": "Name of the certificate",
            "vaultName": "Name of the Key Vault",
            "privateNetwork": "Private network",
            "addressSpace": "Addresses of the network",
            "allowedAddresses": "Addresses that may call the app",
        },
    ),
    "scale": (
        "Size",
        {
            "maximumInstances": "Most instances",
            "instanceMemory": "Memory of an instance",
            "packageUri": "Address of the app's zip",
        },
    ),
}
"""Step of the form to its title and to its questions, each named as its parameter."""

_REGEX: Mapping[str, tuple[str, str]] = {
    "namePrefix": (
        f"^[a-z][a-z0-9]{{2,{LONGEST_PREFIX - 1}}}$",
        "3 to 11 lower-case letters and digits, first a letter",
    ),
    "tenantIds": (
        form_patterns.tenants(),
        "GUIDs with commas between, each once; several in lower case",
    ),
    "since": (r"^([1-7]d|([1-9]\d?|1[0-5]\d|16[0-8])h)$", "Such as 24h, at most 168h or 7d"),
    "settings": (
        form_patterns.settings(),
        'An object, such as {"AUDIT_FEED_KEEP": "60d"}; others in the parameters of the template',
    ),
    "applicationClientId": (f"^{form_patterns.GUID}$", "A GUID"),
    "applicationObjectId": (f"^{form_patterns.GUID}$", "A GUID"),
    "certificateName": ("^[0-9a-zA-Z-]{1,127}$", "Letters, digits and hyphens"),
    "vaultName": (
        r"^([a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9])?$",
        "3 to 24 letters and digits, single hyphens between",
    ),
    "addressSpace": (
        form_patterns.ADDRESS_SPACE,
        "A range of /10 to /24 that begins where it says, such as 10.20.30.0/24",
    ),
    "allowedAddresses": (
        form_patterns.callers(),
        "Addresses or ranges with commas between, such as 192.0.2.0/24, 2001:db8::/32",
    ),
    "packageUri": (
        form_patterns.PACKAGE,
        "Begins with https:// and ends with /released-package.zip",
    ),
}
_SHOWN_WITH: Mapping[str, str] = {
    "applicationClientId": "useCertificate",
    "applicationObjectId": "useCertificate",
    "certificateName": "useCertificate",
    "vaultName": "useCertificate",
    "addressSpace": "privateNetwork",
}
_OPTIONAL = frozenset({"allowedAddresses", "packageUri", "vaultName"})
_KEEP = "keepSettings"
"""The question whether an app that is there keeps the settings below it."""

_LISTS: Mapping[str, tuple[str, ...]] = {"contentTypes": tuple(CONTENT_TYPES)}
_UNITS: Mapping[str, str] = {"retentionDays": "days"}


def form() -> Json:
    """Return ``createUiDefinition.json``. Its outputs are the template's parameters."""
    return {
        "$schema": _SCHEMA,
        "handler": "Microsoft.Azure.CreateUIDef",
        "version": "0.1.2-preview",
        "parameters": {
            "config": {
                "isWizard": False,
                "basics": {"subscription": {"resourceProviders": list(PROVIDERS)}},
            },
            "basics": [_asked("namePrefix", "Names begin with", "")],
            "steps": [_step(name) for name in STEPS],
            "outputs": _outputs(),
        },
    }


def _step(name: str) -> Json:
    title, questions = STEPS[name]
    elements = [_asked(parameter_name, label, name) for parameter_name, label in questions.items()]
    return {
        "name": name,
        "label": title,
        "elements": [*_choosers(name), *elements],
    }


def _choosers(step: str) -> list[Json]:
    """Return the choice of a workspace; it is not typed as text."""
    if step == "feed":
        return [_keep()]
    if step != "workspace":
        return []
    return [
        _element(
            "newWorkspace",
            "Microsoft.Common.CheckBox",
            "Make a new workspace",
            defaultValue=True,
            toolTip=_description("existingWorkspaceId"),
        ),
        _element(
            "existingWorkspaceId",
            "Microsoft.Solutions.ResourceSelector",
            "Workspace",
            resourceType=WORKSPACE,
            toolTip=_description("location"),
            constraints={"required": True},
            options={"filter": {"subscription": "all", "location": "onBasics"}},
            visible="[not(steps('workspace').newWorkspace)]",
        ),
    ]


def _keep() -> Json:
    return _element(
        _KEEP,
        "Microsoft.Common.CheckBox",
        "Upgrade: keep the settings that the app has",
        defaultValue=False,
        toolTip="What is asked for below stays as the app that is there has it.",
    )


def _element(name: str, kind: str, label: str, /, **rest: object) -> Json:
    return {"name": name, "type": kind, "label": label, **rest}


def _description(name: str) -> str:
    return str(PARAMETERS[name]["metadata"]["description"])


def _asked(name: str, label: str, step: str) -> Json:
    declared = PARAMETERS[name]
    shown = _SHOWN_WITH.get(name)
    rest: Json = {"toolTip": _description(name)}
    if shown:
        rest["visible"] = f"[steps('{step}').{shown}]"
    if name in AT_FIRST:
        rest["visible"] = f"[not(steps('{step}').{_KEEP})]"
    if name in _LISTS or "allowedValues" in declared:
        return _drop_down(name, label, rest)
    if declared["type"] == "bool":
        rest = {"defaultValue": declared["defaultValue"], **rest}
        return _element(name, "Microsoft.Common.CheckBox", label, **rest)
    if declared["type"] == "int":
        return _slider(name, label, rest)
    return _text_box(name, label, rest)


def _drop_down(name: str, label: str, rest: Json) -> Json:
    many = name in _LISTS
    values = _LISTS.get(name) or [value for value in PARAMETERS[name]["allowedValues"] if value]
    default = _first(name)
    choice = [{"label": str(value), "value": value} for value in values]
    return _element(
        name,
        "Microsoft.Common.DropDown",
        label,
        defaultValue=default if many else str(default),
        multiselect=many,
        constraints={"allowedValues": choice, "required": True},
        **rest,
    )


def _slider(name: str, label: str, rest: Json) -> Json:
    declared = PARAMETERS[name]
    unit = {"subLabel": _UNITS[name]} if name in _UNITS else {}
    return _element(
        name,
        "Microsoft.Common.Slider",
        label,
        min=declared["minValue"],
        max=declared["maxValue"],
        defaultValue=declared["defaultValue"],
        constraints={"required": True},
        **unit,
        **rest,
    )


def _text_box(name: str, label: str, rest: Json) -> Json:
    default = _first(name)
    regex, message = _REGEX[name]
    return _element(
        name,
        "Microsoft.Common.TextBox",
        label,
        defaultValue=_default_text(default),
        constraints={
            "required": name not in _OPTIONAL,
            "regex": regex,
            "validationMessage": message,
        },
        **rest,
    )


def _first(name: str) -> object:
    """Return what a question begins with: what the app begins with, or the default."""
    return AT_FIRST.get(name, PARAMETERS[name]["defaultValue"])


def _default_text(default: object) -> str:
    """Return a default as the form knows it: arrays are typed with commas."""
    if isinstance(default, dict):
        return json.dumps(default)
    if isinstance(default, list):
        return ",".join(str(item) for item in default)
    return str(default)


def _outputs() -> Json:
    read = {
        name: f"[steps('{step}').{name}]"
        for step, (_, questions) in STEPS.items()
        for name in questions
    }
    ranges = "replace(steps('access').allowedAddresses, ' ', '')"
    chosen = "steps('workspace')"
    return {
        "namePrefix": "[basics('namePrefix')]",
        "location": "[location()]",
        "existingWorkspaceId": (
            f"[if({chosen}.newWorkspace, '', {chosen}.existingWorkspaceId.id)]"
        ),
        **read,
        **{
            name: f"[if(steps('access').{switch}, steps('access').{name}, '{_default(name)}')]"
            for name, switch in _SHOWN_WITH.items()
        },
        **{name: _unless_kept(name) for name in AT_FIRST},
        "settings": "[parse(steps('feed').settings)]",
        "allowedAddresses": f"[if(empty({ranges}), parse('[]'), split({ranges}, ','))]",
    }


def _unless_kept(name: str) -> str:
    empty = "parse('[]')" if PARAMETERS[name]["type"] == "array" else "''"
    return f"[if(steps('feed').{_KEEP}, {empty}, steps('feed').{name})]"


def _default(name: str) -> str:
    return str(PARAMETERS[name]["defaultValue"])
