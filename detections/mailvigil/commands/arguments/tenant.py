"""The arguments of ``mailvigil tenant``."""

from __future__ import annotations

import argparse
from pathlib import Path

from audit_feed.blobs import CONTENT_TYPES
from audit_feed.clouds import CLOUDS
from audit_feed.settings import GUID
from mailvigil.commands.arguments.values import add_verbosity, examples

SIGN_INS = ("azure-cli", "device-code", "certificate", "managed-identity")
TYPES = ("Audit.Exchange", "Audit.AzureActiveDirectory")
"""What the shipped rules read."""

_OBJECT = "33333333-aaaa-4bbb-8ccc-000000000003"
_OTHERS = """
sign-in:
  azure-cli          who is signed in by az login, in a government cloud after az cloud set; an
                     application without an Azure role: az login --allow-no-subscriptions
  device-code        a person, in a browser anywhere; nothing has to be installed
  certificate        an application: --tenant, --client-id, --certificate
  managed-identity   the identity of the Azure machine that this runs on

exit codes: 0 done, or nothing to do; 1 a step was refused or failed, and is named; 2 wrong usage;
4 an option or a file cannot be used; 130 Ctrl-C
"""

_MAILBOX_CODES = """
exit codes: 0 every mailbox is set to send MailItemsAccessed to the feed; 1 one or more are to mend,
left as they are or not judged, or something keeps all of them from it; 2 wrong usage; 4 the export
is not whole or cannot be used
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``tenant`` and what is below it."""
    tenant = commands.add_parser("tenant", help="set up in a tenant what no template can")
    examples(tenant, "mailvigil tenant grant --help")
    below = tenant.add_subparsers(required=True, metavar="COMMAND")
    _add_show(below)
    _add_grant(below)
    _add_subscribe(below)
    _add_mailboxes(below)


def _add_show(below: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    show = below.add_parser("show", help="print which permissions of the feed an identity has")
    show.set_defaults(run="mailvigil.commands.tenant:run_show")
    _examples(show, f"mailvigil tenant show --identity {_OBJECT}")
    _add_identity(show)
    _add_sign_in(show)
    _add_place(show, "graph", "Microsoft Graph")


def _add_grant(below: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    grant = below.add_parser(
        "grant",
        help="give an identity the permission to read the feed",
        description="Gives a managed identity, or the service principal of an application, "
        "ActivityFeed.Read of\nthe Office 365 Management APIs. Cloud Application Administrator is "
        "enough for it. What is there\nalready stays.",
    )
    grant.set_defaults(run="mailvigil.commands.tenant:run_grant")
    line = f"mailvigil tenant grant --identity {_OBJECT}"
    _examples(grant, f"{line} --what-if", line, f"{line} --undo")
    _add_identity(grant)
    grant.add_argument("--dlp", action="store_true",
        help="ActivityFeed.ReadDlp too, for DLP.All; with --undo, that alone")  # fmt: skip
    _add_changes(grant, "the two permissions; no other one is touched")
    _add_sign_in(grant)
    _add_place(grant, "graph", "Microsoft Graph")


def _add_subscribe(below: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    subscribe = below.add_parser(
        "subscribe",
        help="start the subscriptions that are missing",
        description="Starts what is missing of the subscriptions of the tenant that is signed in "
        "to. Sign in as the\napplication that collects: the service may keep each application's "
        "subscriptions apart. The Function\napp starts its own.",
    )
    subscribe.set_defaults(run="mailvigil.commands.tenant:run_subscribe")
    _examples(
        subscribe,
        "mailvigil tenant subscribe --what-if",
        "mailvigil tenant subscribe --types Audit.Exchange --restart",
    )
    subscribe.add_argument("--types", type=content_types, default=TYPES, metavar="TYPE,...",
        help=f"which content types (default: {','.join(TYPES)}, which the rules read)")  # fmt: skip
    subscribe.add_argument("--restart", action="store_true",
        help="start also those that are disabled: somebody stopped them")  # fmt: skip
    _add_changes(subscribe, "the subscriptions of --types; what is published meanwhile is lost")
    _add_sign_in(subscribe)
    _add_place(subscribe, "feed", "the Management Activity API")


def _add_mailboxes(below: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    mailboxes = below.add_parser(
        "mailboxes",
        help="say which mailboxes do not log who reads mail, and plan what mends them",
        description="Judges an export of infra/scripts/mailboxes.ps1, and changes nothing. The "
        "same script does what\nthe plan says, and takes it back.",
    )
    mailboxes.set_defaults(run="mailvigil.commands.mailboxes:run")
    line = "mailvigil tenant mailboxes mailboxes.jsonl"
    examples(mailboxes, line, f"{line} --plan plan.jsonl")
    mailboxes.epilog = f"{mailboxes.epilog}\n{_MAILBOX_CODES}"
    mailboxes.add_argument("export", type=Path, metavar="EXPORT",
        help="what mailboxes.ps1 -Export wrote")  # fmt: skip
    mailboxes.add_argument("--plan", type=Path, metavar="FILE",
        help="write a plan for mailboxes.ps1 -Apply to this new file")  # fmt: skip
    add_verbosity(mailboxes)


def _examples(parser: argparse.ArgumentParser, *lines: str) -> None:
    examples(parser, *lines)
    parser.epilog = f"{parser.epilog}\n{_OTHERS}"


def _add_identity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--identity", type=guid, required=True, metavar="OBJECT-ID",
        help="object id of the service principal, which az identity show calls principalId; "
        "not the application's client id")  # fmt: skip


def _add_changes(parser: argparse.ArgumentParser, undone: str) -> None:
    add = parser.add_argument
    add("--undo", action="store_true", help=f"take back {undone}")
    add("--what-if", action="store_true", help="say what would be changed, and change nothing")


def _add_sign_in(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("sign-in").add_argument
    add("--sign-in", choices=SIGN_INS, default=SIGN_INS[0],
        help="how to sign in (default: azure-cli)")  # fmt: skip
    add("--tenant", type=guid, metavar="TENANT-ID",
        help="which tenant to sign in to (default: that of the sign-in)")  # fmt: skip
    add("--client-id", type=guid, metavar="CLIENT-ID",
        help="of the application; with managed-identity, of a user-assigned one")  # fmt: skip
    add("--certificate", type=Path, metavar="FILE",
        help="certificate with its private key, PEM or PFX without a password")  # fmt: skip
    add("--cloud", choices=[*CLOUDS], default="worldwide", help="(default: worldwide)")


def _add_place(parser: argparse.ArgumentParser, service: str, name: str) -> None:
    """Add what names the hosts of a cloud that has no name, or of the lab."""
    add = parser.add_argument_group("other hosts than those of --cloud").add_argument
    add("--login", type=https, metavar="URL", help="where tokens come from")
    add(f"--{service}", type=https, metavar="URL", help=f"where {name} is; the token goes there")
    add("--ca", type=Path, metavar="FILE.pem", help="authorities to trust in place of the usual")


def guid(text: str) -> str:
    """Return a GUID in lower case.

    Raises:
        argparse.ArgumentTypeError: It is none.

    """
    if not GUID.fullmatch(text):
        raise argparse.ArgumentTypeError("must be a GUID")
    return text.lower()


def https(text: str) -> str:
    """Return the address of a service, without a slash at its end.

    Raises:
        argparse.ArgumentTypeError: A token would go in the open.

    """
    if not text.startswith("https://"):
        raise argparse.ArgumentTypeError("must begin with https://, as a token goes there")
    return text.rstrip("/")


def content_types(text: str) -> tuple[str, ...]:
    """Return content types, each once, in the order given.

    Raises:
        argparse.ArgumentTypeError: One is unknown, or there is none.

    """
    names = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in CONTENT_TYPES]
    if unknown or not names:
        what = f"unknown {unknown[0]!r}" if unknown else "none given"
        raise argparse.ArgumentTypeError(f"{what} (there are {', '.join(CONTENT_TYPES)})")
    return tuple(names)
