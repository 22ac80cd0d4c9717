"""The machine's own settings for TLS and identities, which no test may take for those of a lab."""

from __future__ import annotations

PRESET = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "AZURE_AUTHORITY_HOST",
)
