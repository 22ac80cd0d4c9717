"""Renews the types that `mailvigil infra build` holds every resource against.

They are taken from a checkout of https://github.com/Azure/bicep-types-az (MIT), given by its path:
of each resource the newest stable version, its objects, and the list of published versions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mailvigil.sentinel.resource_types import READ_ONLY, REQUIRED, TYPES_FILE

TARGET = Path(__file__).resolve().parent.parent / "detections/mailvigil/sentinel" / TYPES_FILE
REPOSITORY = "https://github.com/Azure/bicep-types-az"
LICENCE = "MIT, Copyright (c) Microsoft Corporation"

RESOURCES: Mapping[str, tuple[str, ...]] = {
    "Microsoft.Authorization/roleAssignments": (),
    "Microsoft.Insights/components": (),
    "Microsoft.Insights/dataCollectionRules": (),
    "Microsoft.Insights/workbooks": (),
    "Microsoft.KeyVault/vaults": (),
    "Microsoft.ManagedIdentity/userAssignedIdentities": (),
    "Microsoft.Network/networkSecurityGroups": (),
    "Microsoft.Network/privateDnsZones": (),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": (),
    "Microsoft.Network/privateEndpoints": (),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": (),
    "Microsoft.Network/virtualNetworks": (),
    "Microsoft.OperationalInsights/workspaces": (),
    "Microsoft.OperationalInsights/workspaces/savedSearches": (),
    "Microsoft.OperationalInsights/workspaces/summaryLogs": (),
    "Microsoft.OperationalInsights/workspaces/tables": (),
    "Microsoft.Resources/deployments": (),
    "Microsoft.SecurityInsights/alertRules": ("Scheduled", "NRT"),
    "Microsoft.SecurityInsights/dataConnectorDefinitions": ("Customizable",),
    "Microsoft.SecurityInsights/onboardingStates": (),
    "Microsoft.SecurityInsights/watchlists": (),
    "Microsoft.Storage/storageAccounts": (),
    "Microsoft.Storage/storageAccounts/blobServices": (),
    "Microsoft.Storage/storageAccounts/blobServices/containers": (),
    "Microsoft.Web/serverfarms": (),
    "Microsoft.Web/sites": (),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": ("ftp", "scm"),
    "Microsoft.Web/sites/config": ("appsettings",),
    "Microsoft.Web/sites/extensions": ("onedeploy",),
}
"""What is deployed, and of a type with several forms those that are used; none names all."""

PREVIEWS = {"Microsoft.SecurityInsights/alertRules": ("2025-07-01-preview",)}
"""Previews that are used beside the stable version: they alone have rules of kind NRT."""

_PRIMITIVES = {
    "StringType": "string", "IntegerType": "int", "BooleanType": "bool", "AnyType": "any",
    "NullType": "any",
}  # fmt: skip
_IS_REQUIRED, _IS_READ_ONLY = 1, 2
"""Flags of a property."""


def main(argv: Sequence[str]) -> int:
    """Write the types anew and print which they are. Exit 1 when the checkout has not all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="of Azure/bicep-types-az")
    parser.add_argument("--out", type=Path, default=TARGET, help="file to write")
    args = parser.parse_args(argv)
    try:
        resources = carried(args.checkout / "generated")
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"{args.checkout}: not a checkout with these types: {error}\n")
        return 1
    source = {"repository": REPOSITORY, "version": _version(args.checkout), "licence": LICENCE}
    args.out.write_text(as_text(source, resources), encoding="utf-8")
    sys.stdout.write(f"{args.out}: {len(resources)} types of {source['version']}\n")
    return 0


def carried(generated: Path) -> dict[str, Any]:
    """Return each of ``RESOURCES`` with its published versions and the shapes that are carried.

    Raises:
        ValueError, KeyError, OSError: The checkout lacks one, or is of another form.

    """
    index = json.loads((generated / "index.json").read_text(encoding="utf-8"))["resources"]
    published: dict[str, dict[str, str]] = {}
    for title, place in index.items():
        name, _, version = title.partition("@")
        published.setdefault(name.lower(), {})[version] = place["$ref"]
    return {name: _resource(generated, name, published.get(name.lower(), {})) for name in RESOURCES}


def _resource(generated: Path, name: str, published: Mapping[str, str]) -> dict[str, Any]:
    stable = [version for version in published if not version.endswith("-preview")]
    if not stable:
        raise ValueError(f"{name} has no stable version")
    wanted = (max(stable), *PREVIEWS.get(name, ()))
    return {
        "published": sorted(published),
        "shapes": {version: _shape(generated, name, published[version]) for version in wanted},
    }


def _shape(generated: Path, name: str, place: str) -> dict[str, Any]:
    file, _, number = place.partition("#/")
    types = json.loads((generated / file).read_text(encoding="utf-8"))
    converter = Converter(types)
    body = converter.root(types[int(number)]["body"], RESOURCES[name])
    return {"body": body, "objects": dict(sorted(converter.objects.items()))}


class Converter:
    """One file of types, whose objects become ``objects``, each once."""

    def __init__(self, types: Sequence[Mapping[str, Any]]) -> None:
        self._types = types
        self._names: dict[int, str] = {}
        self.objects: dict[str, Any] = {}

    def root(self, reference: Mapping[str, str], forms: Sequence[str]) -> dict[str, Any]:
        """Return the body of a resource without what the template has for itself.

        Raises:
            ValueError: It has not all of *forms*.

        """
        declared = self._types[_number(reference)]
        body = self._object(declared, forms)
        if missing := set(forms) - set(body.get("of", ())):
            raise ValueError(f"no form {', '.join(sorted(missing))}")
        for shape in [body, *body.get("of", {}).values()]:
            for key in ("type-", "apiVersion-"):
                shape.get("object", {}).pop(key, None)
        return body

    def shape(self, reference: Mapping[str, str]) -> Any:  # noqa: ANN401 - a shape
        """Return the shape at *reference*: a primitive, a choice, an array, or an object's name."""
        number = _number(reference)
        declared = self._types[number]
        kind = declared["$type"]
        if kind in _PRIMITIVES:
            return _PRIMITIVES[kind]
        if kind.endswith("LiteralType"):
            return {"enum": [declared["value"]]}
        if kind == "ArrayType":
            return {"array": self.shape(declared["itemType"])}
        if kind == "UnionType":
            return self._union(declared)
        return self._named(number, declared)

    def _named(self, number: int, declared: Mapping[str, Any]) -> str:
        if number not in self._names:
            name = str(declared["name"])
            name = f"{name}.{number}" if name in self.objects else name
            self._names[number], self.objects[name] = name, None
            self.objects[name] = self._object(declared, ())
        return f"#{self._names[number]}"

    def _union(self, declared: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a shape
        members = [self._types[_number(reference)] for reference in declared["elements"]]
        values = [member["value"] for member in members if "value" in member]
        others = {member["$type"] for member in members if "value" not in member}
        if not values or others - {"StringType"}:
            return "any"
        return {"known" if others else "enum": values}

    def _object(self, declared: Mapping[str, Any], forms: Sequence[str]) -> dict[str, Any]:
        kind = declared["$type"]
        if kind == "DiscriminatedObjectType":
            return self._forms(declared, forms)
        if kind != "ObjectType":
            raise ValueError(f"a type of kind {kind} is not known here")
        shape: dict[str, Any] = {"object": dict(self._properties(declared["properties"]))}
        if "additionalProperties" in declared:
            shape["map"] = self.shape(declared["additionalProperties"])
        return shape

    def _forms(self, declared: Mapping[str, Any], forms: Sequence[str]) -> dict[str, Any]:
        shared = dict(self._properties(declared.get("baseProperties", {})))
        of = {}
        for value, reference in declared["elements"].items():
            if not forms or value in forms:
                form = self._object(self._types[_number(reference)], ())
                of[value] = {**form, "object": {**shared, **form["object"]}}
        return {"by": declared["discriminator"], "of": of}

    def _properties(self, declared: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, property_ in declared.items():
            flags = property_["flags"]
            if flags & _IS_READ_ONLY:
                yield f"{name}{READ_ONLY}", "any"
            else:
                mark = REQUIRED if flags & _IS_REQUIRED else ""
                yield f"{name}{mark}", self.shape(property_["type"])


def _number(reference: Mapping[str, str]) -> int:
    return int(reference["$ref"].rpartition("/")[2])


def _version(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return f"Azure/bicep-types-az {done.stdout.strip() or 'of an unknown commit'}"


def as_text(source: Mapping[str, str], resources: Mapping[str, Any]) -> str:
    """Return the file: an object of a type on each line, so that a renewal shows what changed."""
    parts = [f'{{\n"source": {json.dumps(source, indent=1)},\n"resources": {{\n']
    parts.append(",\n".join(f"{json.dumps(k)}: {_entry(v)}" for k, v in resources.items()))
    return "".join([*parts, "\n}\n}\n"])


def _entry(entry: Mapping[str, Any]) -> str:
    shapes = ",\n".join(f" {json.dumps(k)}: {_lines(v)}" for k, v in entry["shapes"].items())
    return f'{{"published": {json.dumps(entry["published"])}, "shapes": {{\n{shapes}}}}}'


def _lines(shape: Mapping[str, Any]) -> str:
    objects = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in shape["objects"].items()
    )
    return f'{{"body": {json.dumps(shape["body"])},\n  "objects": {{\n{objects}}}}}'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
