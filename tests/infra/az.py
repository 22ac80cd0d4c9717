"""Azure CLI as the scripts use it: it notes each call and answers from a small state in a file.

Microsoft Graph and Azure are made up; what is asked of a feed goes to the feed, with a token. Run
by its path, as ``az`` on PATH would be; ``FAKE_AZ`` names the file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import jmespath

API = "c5393580-f805-4401-95e8-94b7a6ef2fc2"
RESOURCE = "aaaaaaaa-0000-4000-8000-00000000feed"
ROLES = {"ActivityFeed.Read": "role-read", "ActivityFeed.ReadDlp": "role-dlp"}

TEXTS = (
    "method", "url", "resource", "query", "output", "body", "headers", "name", "location",
    "resource-group", "template-file", "src", "build-remote", "workspace-name", "workspace",
    "analytics-query",
)  # fmt: skip
APP = "mailvigil-made-up"
LOGS = "mailvigil-logs-made-up"
CUSTOMER = "44444444-aaaa-4bbb-8ccc-000000000004"
KNOWN_AFTER = 3
"""Queries until the workspace knows its functions."""

State = dict[str, Any]  # JSON as it comes
Answer = Mapping[str, object] | list[object] | str | None


class Refused(Exception):  # noqa: N818 - an answer of the service, no fault of this program
    """What az prints on standard error before it ends with 1."""


def options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    parser.add_argument("command", nargs="+")
    for name in TEXTS:
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--parameters", nargs="+", default=[])
    for name in ("only-show-errors", "yes"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser.parse_args(words)


def account(state: State, _args: argparse.Namespace) -> Answer:
    if not state["tenant"]:
        raise Refused("Please run 'az login' to setup account.")
    return {"tenantId": state["tenant"]}


def rest(state: State, args: argparse.Namespace) -> Answer:
    if not args.url.startswith(args.resource) and args.resource != state["audience"]:
        raise Refused(f"a token for {args.resource} is not sent to {args.url}")
    if "/activity/feed/" in args.url:
        return feed(state, args)
    return graph(state, args)


def feed(state: State, args: argparse.Namespace) -> Answer:
    import requests  # noqa: PLC0415 - takes longer than most calls

    answer = requests.request(
        args.method,
        args.url,
        headers={"Authorization": f"Bearer {state['token']}"},
        verify=state["ca"],
        timeout=20,
    )
    if not answer.ok:
        raise Refused(f"{answer.reason}({answer.text})")
    found: Answer = answer.json() if answer.text else None
    return [] if state["stale"] and "subscriptions/list" in args.url else found


def graph(state: State, args: argparse.Namespace) -> Answer:
    path = args.url.partition("/v1.0/servicePrincipals")[2].partition("?")[0]
    if path == f"(appId='{API}')" and state["api"]:
        return {"id": RESOURCE}
    if path == f"/{RESOURCE}":
        return {"appRoles": [_role(name, id_) for name, id_ in ROLES.items()]}
    found = re.fullmatch(r"/([^/]+)(/appRoleAssignments)?(?:/(.+))?", path)
    if not found or found[1] not in state["principals"]:
        raise Refused("Not Found({})")
    if not found[2]:
        return {"displayName": state["principals"][found[1]]}
    return assignments(state, args, found[3])


def assignments(state: State, args: argparse.Namespace, id_: str) -> Answer:
    have: list[dict[str, str]] = state["assignments"]
    match args.method:
        case "get":
            return {"value": [*have]}
        case "post":
            if args.body in state["given_meanwhile"]:
                raise Refused("Permission being assigned already exists on the object")
            have.append({**json.loads(args.body), "id": f"assignment-{len(have)}"})
        case "delete":
            have[:] = [one for one in have if one["id"] != id_]
    return None


def group(state: State, args: argparse.Namespace) -> Answer:
    state["groups"].setdefault(args.name, {"deployed": {}, "code": [], "asked": 0})
    return {"name": args.name}


def group_of(state: State, args: argparse.Namespace) -> State:
    found = state["groups"].get(args.resource_group or args.name)
    if found is None:
        raise Refused("ResourceGroupNotFound")
    assert isinstance(found, dict)
    return found


def template(state: State, args: argparse.Namespace) -> Answer:
    """Refuse what Azure would refuse at once: parameters that are not known, or not given."""
    group_of(state, args)
    declared = json.loads(Path(args.template_file).read_text(encoding="utf-8"))["parameters"]
    given = parameters(args.parameters)
    missing = {name for name, one in declared.items() if "defaultValue" not in one} - {*given}
    odd = {
        name
        for name, one in given.items()
        if one["value"] not in declared.get(name, {}).get("allowedValues", [one["value"]])
    }
    if wrong := sorted(({*given} - {*declared}) | missing | odd):
        raise Refused(f"InvalidTemplate: {', '.join(wrong)}")
    return {"changes": sorted(given)}


def parameters(words: list[str]) -> Mapping[str, Mapping[str, object]]:
    """Return what a file gives, or what is written as NAME=VALUE."""
    given = {}
    for word in words:
        if word.startswith("@"):
            text = Path(word.removeprefix("@")).read_text(encoding="utf-8")
            given.update(json.loads(text)["parameters"])
        else:
            name, _, value = word.partition("=")
            given[name] = {"value": {"true": True, "false": False}.get(value, value)}
    return given


def deploy(state: State, args: argparse.Namespace) -> Answer:
    planned = template(state, args)
    there = group_of(state, args)
    declared = json.loads(Path(args.template_file).read_text(encoding="utf-8"))
    rules = any(one["type"].endswith("/alertRules") for one in declared["resources"])
    if rules and there["asked"] < KNOWN_AFTER:
        raise Refused("BadRequest: Failed to run the analytics rule query.")
    known = {"principalId": next(iter(state["principals"])), "appName": APP, "workspaceName": LOGS}
    outputs = declared.get("outputs", {})
    told = {name: {"value": known.get(name, "made up")} for name in outputs}
    there["deployed"][args.name] = told
    return planned


def deployed(state: State, args: argparse.Namespace) -> Answer:
    return {"properties": {"outputs": group_of(state, args)["deployed"][args.name]}}


def workspace(state: State, args: argparse.Namespace) -> Answer:
    if args.workspace_name != LOGS or not group_of(state, args)["deployed"]:
        raise Refused("ResourceNotFound")
    return {"customerId": CUSTOMER}


def query(state: State, args: argparse.Namespace) -> Answer:
    """Answer a query of the functions, at first that they are not known."""
    [there] = state["groups"].values()
    there["asked"] += 1
    if args.workspace != CUSTOMER or "mailvigil-content" not in there["deployed"]:
        raise Refused("ResourceNotFound")
    if there["asked"] < KNOWN_AFTER:
        raise Refused("SEM0100: 'union' operator: Failed to resolve table expression")
    return []


def app_of(state: State, args: argparse.Namespace) -> State:
    found = group_of(state, args)
    if args.name != APP or not found["deployed"]:
        raise Refused("ResourceNotFound")
    return found


def code(state: State, args: argparse.Namespace) -> Answer:
    with ZipFile(args.src) as archive:
        app_of(state, args)["code"] = sorted(archive.namelist())
    return None


def delete(state: State, args: argparse.Namespace) -> Answer:
    group_of(state, args)
    state["deleted"].append(state["groups"].pop(args.name))
    return None


def _role(name: str, id_: str) -> dict[str, object]:
    return {"id": id_, "value": name, "allowedMemberTypes": ["Application"]}


def show(answer: Answer, args: argparse.Namespace) -> None:
    found = jmespath.search(args.query, answer) if args.query else answer
    if args.output == "tsv":
        sys.stdout.write(f"{'' if found is None else found}\n")
    elif args.output != "none":
        sys.stdout.write(f"{json.dumps(found)}\n")


COMMANDS: Mapping[str, Callable[[State, argparse.Namespace], Answer]] = {
    "account show": account,
    "rest": rest,
    "group create": group,
    "group delete": delete,
    "deployment group what-if": template,
    "deployment group create": deploy,
    "deployment group show": deployed,
    "functionapp deployment source config-zip": code,
    "monitor log-analytics workspace show": workspace,
    "monitor log-analytics query": query,
}


def main(words: list[str]) -> int:
    """Answer one call."""
    file = Path(os.environ["FAKE_AZ"])
    state = json.loads(file.read_text(encoding="utf-8"))
    state["calls"].append(words)
    args = options(words)
    sys.stderr.write(state["warning"])
    if (broken := state["broken"]) and broken["at"] in " ".join(words):
        file.write_text(json.dumps(state), encoding="utf-8")
        sys.stderr.write(f"ERROR: {broken['says']}\n")
        return int(broken["code"])
    try:
        show(COMMANDS[" ".join(args.command)](state, args), args)
    except Refused as refused:
        sys.stderr.write(f"ERROR: {refused}\n")
        return 1
    finally:
        file.write_text(json.dumps(state), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
