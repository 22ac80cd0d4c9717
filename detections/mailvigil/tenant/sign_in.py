"""Sign in for a set-up, through Microsoft's library: its credentials, and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity import (
    AzureCliCredential,
    CertificateCredential,
    CredentialUnavailableError,
    DeviceCodeCredential,
)

from audit_feed.clouds import Cloud
from audit_feed.errors import RetryError, SignInError, file_fault
from audit_feed.feed.bounded_transport import bounded_transport
from audit_feed.feed.credentials import ANSWER_SECONDS, identity, sign_in_error
from mailvigil.errors import InputError
from mailvigil.tenant.steps import AGAIN, MAKE_FEED_APP, REACH_IT, SetupError

CLI_SECONDS = 60
"""How long Azure CLI may take for a token; its first start of a day takes tens of seconds."""

LEFT_SECONDS = 60
"""A token with less time left is not used."""

WHERE = "sign-in"

_TOKEN = re.compile(r"[!-~]+")
"""What can stand in a header."""

_NO_NETWORK = re.compile(
    r"getaddrinfo|name resolution|name or service|nameresolution|max retries|connection"
    r"|timed out|network is unreachable",
    re.IGNORECASE,
)
"""How Azure CLI's messages tell a network that does not work."""

_NOBODY, _REFUSED = "no token: no answer", "refused: "
"""How ``sign_in_error`` says that the login host gave no answer, or refuses with a code."""

_EXPIRED = "the sign-in has expired or was revoked"
_MORE = "the tenant asks for more than the sign-in has shown, such as a second factor"
_NOT_FOR_PEOPLE = "a person may not sign in to this API"
_AS_COLLECTOR = (
    "sign in as the application that collects: --sign-in certificate, or az login "
    "--service-principal --allow-no-subscriptions"
)
_CHECK = "check --tenant, --client-id and --cloud"
_ANEW = ""
"""What to do is to sign in again, in the way that was used."""

REFUSALS: Mapping[str, tuple[str, str]] = {
    "AADSTS700082": (_EXPIRED, _ANEW),
    "AADSTS700084": (_EXPIRED, _ANEW),
    "AADSTS70043": (_EXPIRED, _ANEW),
    "AADSTS70008": (_EXPIRED, _ANEW),
    "AADSTS50078": (_EXPIRED, _ANEW),
    "AADSTS50132": (_EXPIRED, _ANEW),
    "AADSTS50133": (_EXPIRED, _ANEW),
    "AADSTS50173": (_EXPIRED, _ANEW),
    "AADSTS70019": ("the code has expired", _ANEW),
    "AADSTS70020": ("the code has expired", _ANEW),
    "AADSTS50076": (_MORE, _ANEW),
    "AADSTS50079": (_MORE, _ANEW),
    "AADSTS53003": (
        "a Conditional Access policy of the tenant blocks it",
        "sign in from where the policy allows it, or by another --sign-in",
    ),
    "AADSTS65001": (_NOT_FOR_PEOPLE, _AS_COLLECTOR),
    "AADSTS650057": (_NOT_FOR_PEOPLE, _AS_COLLECTOR),
    "AADSTS500011": ("the tenant does not have the API, or --cloud is wrong", MAKE_FEED_APP),
    "AADSTS50020": ("the account is not of this tenant", "name the tenant: --tenant TENANT-ID"),
    "AADSTS90002": ("there is no such tenant", _CHECK),
    "AADSTS700016": ("the tenant does not know the client", _CHECK),
    "AADSTS700027": ("the certificate or the clock is wrong", "check both"),
    "AADSTS7000222": ("the secret has expired", "make a new one, then sign in with it"),
}
"""Refusal to what is wrong and how to fix it. Source: Entra ID, "Authentication and authorization
error codes"."""

_SIGN_IN_AGAIN: Mapping[str, str] = {
    "azure-cli": "sign in again: az login",
    "device-code": f"sign in again: {AGAIN}, and enter the new code",
    "certificate": f"sign in again; {_CHECK}",
    "managed-identity": "run it on the Azure machine that has the identity",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupSignIn:
    """How to sign in: its kind, and what that kind needs, ``""`` where the kind decides.

    ``prompt`` shows a person a line: where to enter which code.
    """

    kind: str
    tenant: str = ""
    client_id: str = ""
    certificate: Path | None = None
    prompt: Callable[[str], None] = print

    @property
    def again(self) -> str:
        """What somebody does who has to sign in again."""
        return _SIGN_IN_AGAIN[self.kind]


def credential_of(sign_in: SetupSignIn, cloud: Cloud) -> TokenCredential:
    """Return the library's credential. Nothing is asked of anybody yet.

    Raises:
        InputError: An option is missing, or the certificate cannot be used.

    """
    named: dict[str, Any] = {"tenant_id": sign_in.tenant} if sign_in.tenant else {}
    match sign_in.kind:
        case "certificate":
            return _certificate(sign_in, cloud)
        case "device-code":
            if sign_in.client_id:
                named["client_id"] = sign_in.client_id
            return DeviceCodeCredential(
                prompt_callback=_prompt(sign_in.prompt), **named, **_options(cloud)
            )
        case "managed-identity":
            return identity(sign_in.client_id)
        case _:
            return AzureCliCredential(process_timeout=CLI_SECONDS, **named)


def _certificate(sign_in: SetupSignIn, cloud: Cloud) -> CertificateCredential:
    file = sign_in.certificate
    if not (sign_in.tenant and sign_in.client_id and file):
        what = "takes --tenant, --client-id and --certificate"
        raise InputError("--sign-in certificate", what, "name all three")
    try:
        data = file.read_bytes()
        return CertificateCredential(
            sign_in.tenant, sign_in.client_id, certificate_data=data, **_options(cloud)
        )
    except OSError as error:
        raise InputError(str(file), file_fault(error)[0], "name a file that can be read") from None
    except (ValueError, TypeError):  # a key with a password is a TypeError
        what = "holds no certificate with its private key that can be read"
        raise InputError(str(file), what, "it takes PEM or PFX, without a password") from None


def _options(cloud: Cloud) -> dict[str, Any]:  # keyword arguments of azure-core, which are untyped
    known = cloud.login.endswith((".microsoftonline.com", ".microsoftonline.us"))
    verify = {"connection_verify": cloud.ca} if cloud.ca else {}
    return {
        "authority": cloud.login,
        "disable_instance_discovery": not known,
        "transport": bounded_transport(ANSWER_SECONDS, **verify),
        "retry_total": 1,
        "retry_status": 0,  # the library would sleep for as long as a Retry-After says
    }


def _prompt(say: Callable[[str], None]) -> Callable[[str, str, datetime], None]:
    def prompt(address: str, code: str, until: datetime) -> None:
        minutes = max((until - datetime.now(UTC)).total_seconds() // 60, 1)
        say(f"open {address} and enter {code} within {minutes:.0f} minutes")

    return prompt


class SetupTokens:
    """Bearer tokens of one audience; see ``audit_feed.feed.tokens.Tokens``.

    A token is used until shortly before its end: Azure CLI takes a second for each.
    """

    def __init__(
        self,
        credential: TokenCredential,
        audience: str,
        sign_in: SetupSignIn,
        seconds: Callable[[], float] = time,
    ) -> None:
        self._credential = credential
        self._scope = f"{audience}/.default"
        self._sign_in = sign_in
        self._seconds = seconds
        self._cached = AccessToken("", 0)

    def replace(self) -> None:
        """Ask for another token the next time; the credential stays, as it is seconds old."""
        self._cached = AccessToken("", 0)

    def __call__(self) -> str:
        """Return a token.

        Raises:
            SetupError, SignInError: There is none; the message says what to do.
            RetryError: A passing fault.

        """
        if self._cached.expires_on - self._seconds() < LEFT_SECONDS:
            self._cached = self._asked()
        return self._cached.token

    def _asked(self) -> AccessToken:
        try:
            token = self._credential.get_token(self._scope)
        except ClientAuthenticationError as error:
            raise refusal(error, self._sign_in) from None
        except AzureError:
            raise unreachable() from None
        if not _TOKEN.fullmatch(
            token.token
        ):  # the error of the header that it goes into would show it
            raise RetryError(WHERE, "the answer holds no token that can be sent")
        return token


def refusal(error: ClientAuthenticationError, sign_in: SetupSignIn) -> Exception:
    """Return what a failed sign-in means; of its text, which can hold ids, only the code stays."""
    meant = sign_in_error(error)
    code = meant.what.removeprefix(_REFUSED) if meant.what.startswith(_REFUSED) else ""
    if code in REFUSALS:
        what, todo = REFUSALS[code]
        return SetupError(WHERE, f"{what} ({code})", todo or sign_in.again)
    if code:
        return SetupError(WHERE, meant.what, sign_in.again)
    if sign_in.kind == "azure-cli":
        return meant if _is_passing(meant) else _of_azure_cli(error)
    if isinstance(meant, RetryError):
        return meant if _is_passing(meant) else unreachable()
    what = "there is no managed identity here, or not that of --client-id"
    return SetupError(WHERE, what, sign_in.again)


def _is_passing(meant: SignInError | RetryError) -> bool:
    return isinstance(meant, RetryError) and meant.what != _NOBODY


def unreachable(by: str = "") -> SetupError:
    """Return the error of a login host that gives no answer."""
    return SetupError(WHERE, f"the login host cannot be reached{by}", REACH_IT)


def _of_azure_cli(error: ClientAuthenticationError) -> SetupError:
    """Return what Azure CLI says, or the library of it, without a code of Entra's."""
    text = str(error.message)
    if "not found on path" in text:
        how = "install it, or sign in by --sign-in device-code"
        return SetupError(WHERE, "there is no Azure CLI here", how)
    if "az login" in text:
        how = "az login; an application without an Azure role adds --allow-no-subscriptions"
        return SetupError(WHERE, "Azure CLI is not signed in", how)
    if _NO_NETWORK.search(text):
        return unreachable(" by Azure CLI")
    what = "Azure CLI failed"
    if isinstance(error, CredentialUnavailableError):
        what = f"Azure CLI does not run, or gave no answer within {CLI_SECONDS} s"
    return SetupError(WHERE, what, "az account get-access-token says why")
