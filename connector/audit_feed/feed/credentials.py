"""Credentials and tokens, by Microsoft's own library."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from audit_feed import certificate
from audit_feed.clouds import Cloud
from audit_feed.errors import ConfigError, RetryError, SignInError
from audit_feed.feed.bounded_transport import bounded_transport
from audit_feed.settings import Credential, Tenant

_BOUNDED: Mapping[str, Any] = {  # keyword arguments of azure-core, which are untyped
    "retry_total": 1,
    "retry_status": 0,
}
"""The library would sleep for as long as a Retry-After says, in the middle of a delivery that has
a deadline. A lost connection is tried once more; an answer is an answer."""

_TIMEOUTS: Mapping[str, Any] = {"connection_timeout": 10, "read_timeout": 20}
ANSWER_SECONDS = 30.0
"""How long an answer to a sign-in may take to its end."""


def credential(tenant: Tenant, cloud: Cloud) -> TokenCredential:
    """Return the library's credential for *tenant*.

    Raises:
        ConfigError: The certificate's file cannot be used.

    """
    try:
        return _made(tenant.id, tenant.credential, _options(cloud))
    except (ValueError, OSError) as error:
        raise ConfigError([f"tenant {tenant.id}: credential: {type(error).__name__}"]) from None


def _made(tenant: str, given: Credential, options: Mapping[str, Any]) -> TokenCredential:
    values = given.values
    match given.kind:
        case "secret":
            return ClientSecretCredential(tenant, values["client_id"], values["secret"], **options)
        case "certificate":
            return CertificateCredential(
                tenant, values["client_id"], **_certificate(values["certificate"]), **options
            )
        case "federated":
            return WorkloadIdentityCredential(
                tenant_id=tenant,
                client_id=values["client_id"],
                token_file_path=str(Path(values["token_file"])),
                **options,
            )
        case _:
            return identity(values.get("client_id", ""))


def identity(client_id: str) -> ManagedIdentityCredential:
    """Return the app's own identity, or the user-assigned one that *client_id* names."""
    transport = bounded_transport(ANSWER_SECONDS, **_TIMEOUTS)
    return ManagedIdentityCredential(client_id=client_id or None, transport=transport, **_BOUNDED)


def _certificate(given: str) -> dict[str, Any]:  # keyword arguments of azure-identity
    data = certificate.content(given)
    return {"certificate_data": data} if data else {"certificate_path": given}


def _options(cloud: Cloud) -> dict[str, Any]:  # keyword arguments of azure-core, which are untyped
    known = cloud.login.endswith((".microsoftonline.com", ".microsoftonline.us"))
    verify: dict[str, Any] = {"connection_verify": cloud.ca} if cloud.ca else {}
    return {
        "authority": cloud.login,
        "disable_instance_discovery": not known,
        "transport": bounded_transport(ANSWER_SECONDS, **_TIMEOUTS, **verify),
        **_BOUNDED,
    }


_REFUSAL = re.compile(r"AADSTS\d{4,9}")
_BUSY = re.compile(r"HTTP Error: (429|5\d\d)|^App Service managed identity .*\) (429|5\d\d), ")
"""How the library's messages report a passing fault of Entra and of the app's identity endpoint,
where they do not give the answer itself."""

_TOKEN = re.compile(r"[!-~]+")
"""What can stand in a header."""

PASSING = frozenset({"AADSTS90033", "AADSTS90055"})
"""Refusals that say "try again". Source: Entra ID, "Authentication and authorization error
codes"."""


REMEDIES: Mapping[str, str] = {
    "AADSTS90002": "there is no such tenant: check its id, and the cloud",
    "AADSTS700016": "the tenant does not know the client: check client_id, and consent",
    "AADSTS7000215": "the secret is wrong: take its value, not its id",
    "AADSTS7000222": "the secret has expired: make a new one",
    "AADSTS700027": "the certificate or the clock is wrong: check both",
    "AADSTS500011": "the tenant does not know the API: grant the permission, with admin consent",
}
"""Refusal to how to fix it. Source: the same as of ``PASSING``."""


class FeedTokens:
    """Bearer tokens for the feed; the library keeps and renews them."""

    def __init__(self, make: Callable[[], TokenCredential], audience: str) -> None:
        """Take tokens from what *make* returns, now and after each :meth:`replace`."""
        self._make = make
        self._credential = make()
        self._scope = f"{audience.rstrip('/')}/.default"

    def replace(self) -> None:
        """Make a new credential: the library gives no other way past a token in its cache.

        Where that cannot be made now, as its file is being renewed, the old one stays.
        """
        with suppress(ConfigError):
            self._credential = self._make()

    def __call__(self) -> str:
        """Return a token; see ``tokens.Tokens``."""
        try:
            token = self._credential.get_token(self._scope).token
        except ClientAuthenticationError as error:
            raise sign_in_error(error) from None
        except AzureError as error:
            raise RetryError("sign-in", f"no token: {type(error).__name__}") from None
        if not _TOKEN.fullmatch(token):  # the error of the header that it goes into would show it
            raise RetryError("sign-in", "no token: the answer holds none that can be sent")
        return token


def sign_in_error(error: ClientAuthenticationError) -> SignInError | RetryError:
    """Return what a failed sign-in means.

    The library gives a lost connection the same type as a refusal. A refusal carries Entra's
    code; its text is dropped, because it can hold ids.
    """
    if busy := _BUSY.search(str(error.message)):
        return RetryError("sign-in", f"no token: HTTP {busy[1] or busy[2]}")
    if isinstance(error, CredentialUnavailableError):
        return SignInError("sign-in", "this credential does not work here", "check its kind")
    code = _REFUSAL.search(str(error.message))
    if code and code[0] not in PASSING:
        todo = REMEDIES.get(code[0], "check tenant, client, secret and consent")
        return SignInError("sign-in", f"refused: {code[0]}", todo)
    why = code[0] if code else f"HTTP {error.status_code}" if error.status_code else "no answer"
    return RetryError("sign-in", f"no token: {why}")
