"""Azure CLI as the page of the deployment uses it: it answers from a small state in a file.

Azure is made up; what is asked of Microsoft Graph goes to the lab's, with a token. Run by its path,
as ``az`` on PATH would be; ``FAKE_AZ`` names the file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import time
from typing import Any
from zipfile import ZipFile

import jmespath

GRAPH = "https://graph.microsoft.com"

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
    parser.add_argument("--yes", action="store_true")
    return parser.parse_args(words)


def token(state: State, args: argparse.Namespace) -> Answer:
    """Return a token of who is signed in."""
    if not state["tokens"]:
        raise Refused("Please run 'az login' to setup account.")
    return {"accessToken": state["tokens"][args.resource], "expires_on": int(time()) + 3_600}


def rest(state: State, args: argparse.Namespace) -> Answer:
    """Ask the lab's Microsoft Graph in place of the real one."""
    import requests  # noqa: PLC0415 - takes longer than most calls

    if not args.url.startswith(f"{GRAPH}/"):
        raise Refused(f"a token for {GRAPH} is not sent to {args.url}")
    name, _, value = args.headers.partition("=")
    answer = requests.request(
        args.method or "get",
        args.url.replace(GRAPH, state["graph"], 1),
        data=args.body or None,
        headers={"Authorization": f"Bearer {state['tokens'][GRAPH]}", name or "Accept": value},
        verify=state["ca"],
        timeout=20,
    )
    if not answer.ok:
        raise Refused(f"{answer.reason}({answer.text})")
    found: Answer = answer.json() if answer.text else None
    return found


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
    known = {"principalId": state["identity"], "appName": APP, "workspaceName": LOGS}
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


def show(answer: Answer, args: argparse.Namespace) -> None:
    found = jmespath.search(args.query, answer) if args.query else answer
    if args.output == "tsv":
        sys.stdout.write(f"{'' if found is None else found}\n")
    elif args.output != "none":
        sys.stdout.write(f"{json.dumps(found)}\n")


COMMANDS: Mapping[str, Callable[[State, argparse.Namespace], Answer]] = {
    "account get-access-token": token,
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
    args = options(words)
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
