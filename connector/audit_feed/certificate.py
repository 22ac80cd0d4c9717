"""Read a certificate with its key that is the value of a setting, as Key Vault gives it. Pure."""

from __future__ import annotations

import binascii
from base64 import b64decode

_PEM = "-----BEGIN"
_SEQUENCE = b"\x30"
"""How DER begins, which is what a PFX is."""

_LEAST_CHARACTERS = 500
"""A key and a certificate are longer; a path is not, and has a dot or a separator in it."""


def content(text: str) -> bytes | None:
    """Return the certificate that *text* is, as PEM or PFX; None where it is a path.

    Key Vault keeps a certificate as PEM text, or as a PFX in base64 without a password.
    """
    if _PEM in text:
        return text.replace("\\n", "\n").encode()
    if len(text) < _LEAST_CHARACTERS:
        return None
    try:
        data = b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        return None
    return data if data.startswith(_SEQUENCE) else None
