"""The error answers of the four services: code, HTTP status, text. One row each.

Codes and texts are the documented ones in short; the documents give no statuses, so these
are what clients have seen. Throttling as 403 is one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import orjson

from mailvigil.lab.server.messages import Response

JSON = ("Content-Type", "application/json; charset=utf-8")

FEED: Mapping[str, tuple[int, str]] = {
    "AF10001": (
        401,
        (
            "The permission set ({0}) sent in the request did not include the expected "
            "permission ActivityFeed.Read."
        ),
    ),
    "AF20001": (400, "Missing parameter: {0}."),
    "AF20002": (400, "Invalid parameter type: {0}. Expected type: {1}"),
    "AF20003": (400, "Expiration {0} provided is set to past date and time."),
    "AF20010": (
        401,
        (
            "The tenant ID passed in the URL ({0}) does not match the tenant ID passed "
            "in the access token ({1})."
        ),
    ),
    "AF20011": (
        400,
        ("Specified tenant ID ({0}) does not exist in the system or has been deleted."),
    ),
    "AF20012": (
        400,
        ("Specified tenant ID ({0}) is incorrectly configured in the system."),
    ),
    "AF20013": (400, "The tenant ID passed in the URL ({0}) is not a valid GUID."),
    "AF20020": (400, "The specified content type is not valid."),
    "AF20021": (400, "The webhook endpoint ({0}) could not be validated. {1}"),
    "AF20022": (400, "No subscription found for the specified content type."),
    "AF20023": (403, "The subscription was disabled by {0}."),
    "AF20024": (400, "The subscription is already enabled. No property change."),
    "AF20030": (
        400,
        (
            "Start time and end time must both be specified (or both omitted) and must "
            "be less than or equal to 24 hours apart, with the start time no more than "
            "7 days in the past."
        ),
    ),
    "AF20031": (400, "Invalid nextPage Input: {0}."),
    "AF20050": (404, "The specified content ({0}) does not exist."),
    "AF20051": (
        400,
        (
            "Content requested with the key {0} has already expired. Content older than "
            "7 days cannot be retrieved."
        ),
    ),
    "AF20052": (400, "Content ID {0} in the URL is invalid."),
    "AF20055": (
        400,
        (
            "Start time and end time must both be specified (or both omitted) and must "
            "be less than or equal to 24 hours apart, with the start time prior to end "
            "time and start time no more than 7 days in the past."
        ),
    ),
    "AF429": (403, "Too many requests. Method={0}, PublisherId={1}"),
    "AF50000": (500, "An internal error occurred. Retry the request."),
    "AF50005": (500, "An internal error occurred. Retry the request."),
    "AF50006": (500, "An internal error occurred. Retry the request."),
}

INGESTION: Mapping[int, tuple[str, str]] = {
    400: ("InvalidPayload", "The payload is not a JSON array of objects."),
    401: ("InvalidAuthenticationToken", "The authentication token is missing or not valid."),
    403: (
        "OperationFailed",
        (
            "The authentication token provided does not have access to ingest "
            "data for the data collection rule with immutable Id '{0}'."
        ),
    ),
    404: ("NotFound", "Data collection rule with immutable Id '{0}' not found."),
    413: (
        "ContentLengthLimitExceeded",
        ("Maximum allowed content length: {0} bytes. Provided content length: {1} bytes."),
    ),
    429: ("TooManyRequests", "The limit of requests or bytes a minute was reached."),
    500: ("InternalServerError", "An internal error occurred."),
    503: ("ServiceUnavailable", "The service is not available."),
}

GRAPH: Mapping[str, tuple[int, str, str]] = {
    "NoToken": (401, "InvalidAuthenticationToken", "Access token is empty."),
    "BadToken": (401, "InvalidAuthenticationToken", "Access token validation failure."),
    "ExpiredToken": (
        401,
        "InvalidAuthenticationToken",
        "Lifetime validation failed, the token is expired.",
    ),
    "WrongAudience": (
        401,
        "InvalidAuthenticationToken",
        "Access token validation failure. Invalid audience.",
    ),
    "Denied": (
        403,
        "Authorization_RequestDenied",
        "Insufficient privileges to complete the operation.",
    ),
    "NotFound": (
        404,
        "Request_ResourceNotFound",
        (
            "Resource '{0}' does not exist or one of its queried reference-property objects "
            "are not present."
        ),
    ),
    "NoMethod": (
        405,
        "Request_BadRequest",
        "Specified HTTP method is not allowed for the request target.",
    ),
    "NoSegment": (400, "BadRequest", "Resource not found for the segment '{0}'."),
    "InvalidId": (400, "Request_BadRequest", "Invalid object identifier '{0}'."),
    "InvalidFilter": (400, "BadRequest", "Invalid filter clause"),
    "UnsupportedFilter": (
        400,
        "Request_UnsupportedQuery",
        "Unsupported or invalid query filter clause specified for property '{0}'.",
    ),
    "InvalidTop": (
        400,
        "Request_UnsupportedQuery",
        "Invalid page size specified: '{0}'. Must be between 1 and 999 inclusive.",
    ),
    "ExpiredPage": (
        400,
        "Directory_ExpiredPageToken",
        (
            "The specified page token value has expired and can no longer be included in "
            "your request."
        ),
    ),
    "NoContentType": (
        400,
        "BadRequest",
        "Write requests (excluding DELETE) must contain the Content-Type header declaration.",
    ),
    "NotJson": (
        400,
        "BadRequest",
        (
            "Unable to read JSON request payload. Please ensure Content-Type header is set "
            "and payload is of valid JSON format."
        ),
    ),
    "InvalidProperty": (
        400,
        "Request_BadRequest",
        "Invalid value specified for property '{0}' of resource 'AppRoleAssignment'.",
    ),
    "OtherPrincipal": (
        400,
        "Request_BadRequest",
        "The service principal in the address is another than the one in the body.",
    ),
    "NoRole": (
        400,
        "Request_BadRequest",
        "Permission being assigned was not found on application '{0}'.",
    ),
    "RoleExists": (
        400,
        "Request_BadRequest",
        "Permission being assigned already exists on the object",
    ),
}
"""Errors of Microsoft Graph. The text of OtherPrincipal is the lab's own: none is documented."""

GRAPH_FAULTS: Mapping[int, tuple[str, str]] = {
    401: ("InvalidAuthenticationToken", "Access token validation failure."),
    403: ("Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
    429: ("TooManyRequests", "Please retry again later."),
    500: ("generalException", "An unspecified error has occurred."),
    503: ("serviceNotAvailable", "The service is temporarily unavailable."),
}

AUDITING_OFF = "Microsoft.Office.Compliance.Audit.DataServiceException: Tenant {0} does not exist."


def as_json(
    payload: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """Return *payload* as a JSON answer."""
    return Response(status=status, body=orjson.dumps(payload), headers=(JSON, *headers))


def feed_error(code: str, *values: object, status: int | None = None) -> Response:
    """Return the feed's error *code*; *values* fill its text."""
    usual, text = FEED[code]
    return named_error(status or usual, code, text.format(*values))


def start_too_soon(content_type: str) -> Response:
    """Return what a start request gets less than 15 minutes after the last one.

    The documents name the interval and no code, so the code is a sentence, as it sometimes is.
    """
    code = f"StartSubscription [ContentType={content_type}] was requested a short time ago"
    return named_error(400, code, "At least 15 minutes must pass between start requests.")


def retry_after_header(seconds: int, form: str, now: datetime) -> tuple[str, str]:
    """Return Retry-After in the *form* ``seconds``, or as a ``date`` by the clock of *now*."""
    if form == "date":
        return "Retry-After", format_datetime(now + timedelta(seconds=seconds), usegmt=True)
    return "Retry-After", str(seconds)


def feed_unauthorized() -> Response:
    """Return what the feed's front says to a missing or bad token: no code at all."""
    return as_json({"Message": "Authorization has been denied for this request."}, 401)


def auditing_off(tenant: str, content_type: str, app: object, publisher: str) -> Response:
    """Return what a tenant without unified auditing gets: a sentence where the code belongs."""
    names = f"TenantId={tenant},ContentType={content_type},ApplicationId={app}"
    code = f"StartSubscription [{names},PublisherId={publisher}] failed. Exception"
    return named_error(400, code, AUDITING_OFF.format(tenant))


def ingestion_error(
    status: int, *values: object, headers: tuple[tuple[str, str], ...] = (), code: str = ""
) -> Response:
    """Return the ingestion's error for *status*; *values* fill its text."""
    usual, text = INGESTION.get(status, INGESTION[500])
    filled = text.format(*values) if values else text.replace("'{0}'", "given")
    return named_error(status, code or usual, filled, headers)


def graph_error(name: str, *values: object) -> Response:
    """Return the Graph's error *name* of the table; *values* fill its text."""
    status, code, text = GRAPH[name]
    return _graph_answer(status, code, text.format(*values))


def graph_fault(status: int, code: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """Return what the Graph says to a request that fails with *status*; *code* "" is the usual."""
    usual, text = GRAPH_FAULTS.get(status, GRAPH_FAULTS[500])
    return _graph_answer(status, code or usual, text, headers)


def _graph_answer(
    status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """Return an error with the ids that the Graph adds, in the body and in a header."""
    request_id = str(uuid4())
    inner = {"request-id": request_id, "client-request-id": request_id}
    error = {"code": code, "message": message, "innerError": inner}
    return as_json({"error": error}, status, (("request-id", request_id), *headers))


def named_error(
    status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """Return an error in the form that all services share."""
    return as_json({"error": {"code": code, "message": message}}, status, headers)
