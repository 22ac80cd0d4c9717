"""Signed tokens: those that the lab gives out, and the assertions that clients send it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha1, sha256
from uuid import uuid4

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mailvigil.lab.server.clock import LabClock

Claims = Mapping[str, object]

KEY_ID = "lab-key"
REMEMBERED = 10_000
SKEW = timedelta(minutes=5)
"""How far the clock of the signer of an assertion may be off."""

_SIGNATURES: Mapping[str, padding.AsymmetricPadding] = {
    "RS256": padding.PKCS1v15(),
    "PS256": padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH),
}


class TokenError(Exception):
    """A token or assertion that is not to be trusted. The text says why."""


class Mint:
    """Signs access tokens, and verifies those that it signed."""

    def __init__(
        self, clock: LabClock, seconds: int, ahead: Callable[[], timedelta] = timedelta
    ) -> None:
        """Tokens last *seconds* by *clock*; the services' own clock is *ahead* of that."""
        self._clock = clock
        self._ahead = ahead
        self.seconds = seconds
        self._key = _signing_key()
        self._lab = uuid4().hex
        self._known: dict[str, Claims] = {}
        self._revoked: set[str] = set()

    def access_token(self, claims: Claims) -> str:
        """Return a token with *claims* and the times that the services' clock gives."""
        ahead = self._ahead()
        now = int((self._clock.now() + ahead).timestamp())
        times = {
            "iat": now,
            "nbf": now,
            "exp": now + self.seconds,
            "lab": self._lab,
            "lab_ahead": ahead.total_seconds(),
            "lab_outlived": self._clock.outlived.total_seconds(),
        }
        return self.signed({**claims, **times, "uti": uuid4().hex, "ver": "1.0"})

    def signed(self, claims: Claims) -> str:
        """Return a JWT with exactly *claims*."""
        head = {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}
        text = f"{_encoded(orjson.dumps(head))}.{_encoded(orjson.dumps(claims))}"
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_encoded(signature)}"

    def read(self, token: str) -> Claims:
        """Return the claims of an own token that is still good.

        Raises:
            TokenError: It is not ours, is revoked, or its time is over.

        """
        claims = self._known.get(token)
        if claims is None:
            claims = verified(token, self._key.public_key())
            if claims.get("lab") != self._lab:
                raise TokenError("of another lab")
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[token] = claims
        if token in self._revoked:
            raise TokenError("revoked")
        outlived = self._clock.outlived.total_seconds() - _seconds(claims, "lab_outlived")
        end = _seconds(claims, "exp") - _seconds(claims, "lab_ahead") + outlived
        if self._clock.now().timestamp() >= end:
            raise TokenError("expired")
        return claims

    def revoke(self, token: str) -> None:
        """Refuse *token* from now on."""
        self._revoked.add(token)

    def revoke_all(self) -> None:
        """Refuse every token that was used so far."""
        self._revoked.update(self._known)

    def public_keys(self) -> Mapping[str, object]:
        """Return the JSON Web Key Set that the tokens are verified with."""
        numbers = self._key.public_key().public_numbers()
        key = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": KEY_ID,
            "n": _encoded(numbers.n.to_bytes(256, "big")),
            "e": _encoded(numbers.e.to_bytes(3, "big")),
        }
        return {"keys": [key]}

    def federated_claims(self, assertion: str, wall: datetime) -> Claims:
        """Return the claims of a workload's token, which this lab signed too.

        Raises:
            TokenError: Another signed it, or its time at *wall* (aware) is over.

        """
        claims = verified(assertion, self._key.public_key())
        _check_times(claims, wall)
        return claims


@cache
def _signing_key() -> rsa.RSAPrivateKey:
    """Make the key of this process: making one takes longer than all else of a lab."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def verified(token: str, key: rsa.RSAPublicKey) -> Claims:
    """Return the claims of *token* after its signature was found to be *key*'s.

    Raises:
        TokenError: It is not a JWT, or the signature is another's.

    """
    head, claims, signature, text = _parts(token)
    scheme = _SIGNATURES.get(str(head.get("alg")))
    if scheme is None:
        raise TokenError("not signed by RS256 or PS256")
    try:
        key.verify(signature, text.encode(), scheme, hashes.SHA256())
    except InvalidSignature:
        raise TokenError("signature is not valid") from None
    return claims


def certified(
    assertion: str, certificates: Mapping[str, x509.Certificate], wall: datetime
) -> Claims:
    """Return the claims of an assertion that one of *certificates* (by thumbprint) signed.

    Raises:
        TokenError: No such certificate, a wrong signature, or out of its time at *wall*.

    """
    head = _parts(assertion)[0]
    thumbprint = str(head.get("x5t#S256") or head.get("x5t") or "")
    certificate = certificates.get(thumbprint.rstrip("="))
    if certificate is None:
        raise TokenError("the key was not found")
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise TokenError("not an RSA key")
    claims = verified(assertion, key)
    _check_times(claims, wall)
    return claims


def thumbprints(certificate: x509.Certificate) -> tuple[str, str]:
    """Return the thumbprints (SHA-1 and SHA-256) that the head of an assertion may name."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    return _encoded(sha1(der, usedforsecurity=False).digest()), _encoded(sha256(der).digest())


def _check_times(claims: Claims, wall: datetime) -> None:
    now = wall.timestamp()
    if not now - SKEW.total_seconds() < _seconds(claims, "exp"):
        raise TokenError("expired")
    if _seconds(claims, "nbf") > now + SKEW.total_seconds():
        raise TokenError("not valid yet")


def _seconds(claims: Claims, name: str) -> float:
    value = claims.get(name, 0)
    return value if isinstance(value, int | float) else 0.0


def _parts(token: str) -> tuple[Claims, Claims, bytes, str]:
    text, _, signature = token.rpartition(".")
    head, _, claims = text.partition(".")
    try:
        parts = orjson.loads(_decoded(head)), orjson.loads(_decoded(claims))
        raw = _decoded(signature)
    except (ValueError, binascii.Error):
        raise TokenError("no JWT") from None
    if not all(isinstance(part, dict) for part in parts):
        raise TokenError("no JWT")
    return parts[0], parts[1], raw, text


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
