"""``mailvigil tenant``: permissions and subscriptions of a collector."""

from __future__ import annotations

import argparse
import ssl
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import BinaryIO, TextIO

from audit_feed.errors import file_fault
from audit_feed.log_redaction import guard
from mailvigil.errors import InputError
from mailvigil.exit_codes import EXIT_FAILED, EXIT_OK
from mailvigil.printable import visible
from mailvigil.tenant.feed_subscriptions import SubscribeRequest, subscribe, subscribed_feed
from mailvigil.tenant.graph_client import GraphClient, graph_judge
from mailvigil.tenant.hosts import SetupHosts, hosts_of
from mailvigil.tenant.permissions import GrantRequest, grant, roles_named, show
from mailvigil.tenant.service import Service, session_for
from mailvigil.tenant.sign_in import SetupSignIn, SetupTokens, credential_of
from mailvigil.tenant.steps import StepErrors, StepResult, failed


def run_show(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Print which permissions an identity has, and return the exit code."""
    return _print(show(_graph(args, err), args.identity), out, err)


def run_grant(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Give or take permissions, and return the exit code."""
    request = GrantRequest(
        identity=args.identity,
        roles=roles_named(dlp=args.dlp, undo=args.undo),
        undo=args.undo,
        what_if=args.what_if,
    )
    return _print(grant(_graph(args, err), request), out, err)


def run_subscribe(args: argparse.Namespace, _stdin: BinaryIO, out: TextIO, err: TextIO) -> int:
    """Start or stop subscriptions, and return the exit code."""
    request = SubscribeRequest(
        types=args.types, restart=args.restart, undo=args.undo, what_if=args.what_if
    )
    return _print(_subscribed(args, request, err), out, err)


def _subscribed(
    args: argparse.Namespace, request: SubscribeRequest, err: TextIO
) -> Iterator[StepResult]:
    hosts, sign_in = _hosts(args), _sign_in(args, err)
    tokens = _tokens(hosts, hosts.cloud.feed_audience, sign_in)
    session = session_for(hosts.cloud.feed, hosts.cloud.ca)
    try:
        feed = subscribed_feed(hosts.cloud.feed, args.tenant or "", tokens, session, _wait)
    except StepErrors as error:
        yield failed(error)
        return
    yield from subscribe(feed, request)


def _graph(args: argparse.Namespace, err: TextIO) -> GraphClient:
    hosts, sign_in = _hosts(args), _sign_in(args, err)
    tokens = _tokens(hosts, hosts.graph_audience, sign_in)
    session = session_for(hosts.graph, hosts.cloud.ca)
    return GraphClient(Service(hosts.graph, tokens, session, _wait, graph_judge(sign_in.again)))


def _print(results: Iterable[StepResult], out: TextIO, err: TextIO) -> int:
    code = EXIT_OK
    for result in results:
        if result.failed:
            print(f"mailvigil: {visible(result.line)}", file=err, flush=True)
            code = EXIT_FAILED
        else:
            print(visible(result.line), file=out, flush=True)
    return code


def _hosts(args: argparse.Namespace) -> SetupHosts:
    places = {name: getattr(args, name, None) for name in ("login", "graph", "feed")}
    return hosts_of(args.cloud, **places, ca=_authorities(args.ca))


def _authorities(file: Path | None) -> str:
    """Return the path of a file of authorities; without one in it each request would fail.

    Raises:
        InputError: It cannot be used.

    """
    if file is None:
        return ""
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise InputError(str(file), "holds no certificate", "it takes PEM") from None
    except OSError as error:
        raise InputError(str(file), file_fault(error)[0], "name a file that can be read") from None
    return str(file)


def _sign_in(args: argparse.Namespace, err: TextIO) -> SetupSignIn:
    return SetupSignIn(
        kind=args.sign_in,
        tenant=args.tenant or "",
        client_id=args.client_id or "",
        certificate=args.certificate,
        prompt=lambda line: print(f"mailvigil: {line}", file=err, flush=True),
    )


def _tokens(hosts: SetupHosts, audience: str, sign_in: SetupSignIn) -> SetupTokens:
    guard()
    return SetupTokens(credential_of(sign_in, hosts.cloud), audience, sign_in)


def _wait(length: timedelta) -> None:
    sleep(length.total_seconds())
