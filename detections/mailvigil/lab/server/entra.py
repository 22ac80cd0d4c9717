"""Entra ID: discovery, keys, and the v1 and v2 token endpoints for applications."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from mailvigil.lab.server.directory import App, Directory
from mailvigil.lab.server.errors_by_code import as_json
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.tokens import Claims, Mint, TokenError, certified

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FEDERATION_AUDIENCE = "api://AzureADTokenExchange"


class RefusedError(Exception):
    """The endpoint's answer to a request that it does not grant."""

    def __init__(self, status: int, error: str, number: int, text: str) -> None:
        self.status = status
        self.error = error
        self.number = number
        super().__init__(f"AADSTS{number}: {text}")


@dataclass(frozen=True, slots=True)
class Entra:
    """The endpoints. ``roles_at`` has for an audience what the app's roles there are.

    A tenant without the feed's service principal has no token for ``feed_audience``.
    Assertions are judged by ``wall`` (aware), the clock that their makers have; the lab's
    own decides how long a token lasts.
    """

    directory: Directory
    mint: Mint
    audiences: tuple[str, ...]
    roles_at: Mapping[str, Callable[[App], Collection[str]]]
    wall: Callable[[], datetime]
    feed_audience: str

    def answer(self, request: HttpRequest, base: str) -> Response:
        """Answer *request*; *base* is the scheme and host that the client used."""
        tenant_id, _, operation = request.path[1:].partition("/")
        if operation.endswith(".well-known/openid-configuration"):
            return as_json(self.configuration(base, tenant_id))
        if operation in {"discovery/v2.0/keys", "discovery/keys"}:
            return as_json(self.mint.public_keys())
        if operation in {"oauth2/v2.0/token", "oauth2/token"} and request.method == "POST":
            return self._token(request, tenant_id, base, v2="v2.0" in operation)
        return as_json({"error": "not_found", "error_description": "No such page."}, 404)

    def configuration(self, base: str, tenant_id: str) -> Mapping[str, object]:
        """Return the OpenID configuration of one tenant."""
        root = f"{base}/{tenant_id}"
        return {
            "issuer": f"{root}/v2.0",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{root}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tenant_region_scope": "EU",
        }

    def token_for(self, app: App, tenant_id: str, audience: str) -> str:
        """Return an access token of *app* for one of the audiences, without a question."""
        roles_of = self.roles_at.get(audience.rstrip("/"))
        roles = sorted(roles_of(app)) if roles_of else []
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{tenant_id}/",
            "appid": app.client_id,
            "idtyp": "app",
            "oid": app.object_id,
            "sub": app.object_id,
            "tid": tenant_id,
        }
        return self.mint.access_token({**claims, **({"roles": roles} if roles else {})})

    def known_audience(self, resource: str, tenant_id: str) -> str | None:
        """Return *resource*, with or without a slash, if tokens are made for it there."""
        name, tenant = resource.rstrip("/"), self.directory.tenants.get(tenant_id.lower())
        absent = name == self.feed_audience and tenant is not None and not tenant.feed_api
        return resource if name in self.audiences and not absent else None

    def _token(self, request: HttpRequest, tenant_id: str, base: str, *, v2: bool) -> Response:
        form = request.form
        try:
            app = self._app(form, tenant_id)
            urls = {f"{base}/{tenant_id}/oauth2/v2.0/token", f"{base}/{tenant_id}/oauth2/token"}
            self._authenticate(app, form, urls)
            audience = self._audience(form, tenant_id, v2=v2)
        except RefusedError as refused:
            return _refusal(refused, self.wall())
        token = self.token_for(app, tenant_id.lower(), audience)
        lasts = self.mint.seconds
        if v2:
            return as_json(
                {
                    "token_type": "Bearer",
                    "expires_in": lasts,
                    "ext_expires_in": lasts,
                    "access_token": token,
                }
            )
        now = int(self.wall().timestamp())
        return as_json(
            {
                "token_type": "Bearer",
                "expires_in": str(lasts),
                "ext_expires_in": str(lasts),
                "expires_on": str(now + lasts),
                "not_before": str(now),
                "resource": audience,
                "access_token": token,
            }
        )

    def _app(self, form: Mapping[str, str], tenant_id: str) -> App:
        if form.get("grant_type") != "client_credentials":
            text = "The app requested a grant type that is not supported."
            raise RefusedError(400, "unsupported_grant_type", 70003, text)
        if tenant_id.lower() not in self.directory.tenants:
            raise RefusedError(400, "invalid_request", 90002, f"Tenant '{tenant_id}' not found.")
        client_id = form.get("client_id", "")
        app = self.directory.app(tenant_id, client_id)
        if app is None:
            text = f"Application with identifier '{client_id}' was not found in the directory."
            raise RefusedError(400, "unauthorized_client", 700016, text)
        return app

    def _authenticate(self, app: App, form: Mapping[str, str], urls: set[str]) -> None:
        if "client_assertion" in form and form.get("client_assertion_type") == ASSERTION:
            self._assert(app, form["client_assertion"], urls)
        elif "client_secret" not in form:
            text = "The request body must contain 'client_assertion' or 'client_secret'."
            raise RefusedError(401, "invalid_client", 7000218, text)
        elif form["client_secret"] not in app.secrets:
            text = (
                "Invalid client secret provided. Ensure the secret being sent in the request is "
                "the client secret value, not the client secret ID."
            )
            raise RefusedError(401, "invalid_client", 7000215, text)

    def _assert(self, app: App, assertion: str, urls: set[str]) -> None:
        try:
            claims = certified(assertion, app.certificates, self.wall())
        except TokenError as wrong:
            self._federate(app, assertion, wrong)
            return
        if claims.get("aud") not in urls or not (
            claims.get("iss") == claims.get("sub") == app.client_id
        ):
            text = "Client assertion contains an invalid audience, issuer or subject."
            raise RefusedError(401, "invalid_client", 700023, text)

    def _federate(self, app: App, assertion: str, wrong: TokenError) -> None:
        """Accept a workload's token, or refuse as for a certificate that was *wrong*."""
        try:
            claims: Claims = self.mint.federated_claims(assertion, self.wall())
        except TokenError as error:
            if str(error) == "expired" or str(wrong) == "expired":
                text = "Client assertion is not within its valid time range."
                raise RefusedError(401, "invalid_client", 700024, text) from None
            text = f"Client assertion failed signature validation: {wrong}."
            raise RefusedError(401, "invalid_client", 700027, text) from None
        if claims.get("aud") != FEDERATION_AUDIENCE or claims.get("sub") not in app.subjects:
            text = "No matching federated identity record found for presented assertion."
            raise RefusedError(401, "invalid_client", 700213, text)

    def _audience(self, form: Mapping[str, str], tenant_id: str, *, v2: bool) -> str:
        resource = form.get("resource", "")
        if v2:
            scope = next((s for s in form.get("scope", "").split() if "://" in s), "")
            if not scope.endswith("/.default"):
                text = "The provided value for scope is not valid. It must end in /.default."
                raise RefusedError(400, "invalid_scope", 1002012, text)
            resource = scope.removesuffix("/.default")
        audience = self.known_audience(resource, tenant_id)
        if audience is None:
            text = (
                f"The resource principal named {resource} was not found in the tenant named "
                f"{tenant_id}. This can happen if the application has not been installed by the "
                "administrator of the tenant or consented to by any user in the tenant. You "
                "might have sent your authentication request to the wrong tenant."
            )
            raise RefusedError(400, "invalid_resource", 500011, text)
        return audience


def _refusal(refused: RefusedError, wall: datetime) -> Response:
    trace, correlation = str(uuid4()), str(uuid4())
    stamp = f"{wall:%Y-%m-%d %H:%M:%SZ}"
    ids = f"Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}"
    return as_json(
        {
            "error": refused.error,
            "error_description": f"{refused} {ids}",
            "error_codes": [refused.number],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
        },
        refused.status,
    )
