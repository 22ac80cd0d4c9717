"""What a generated month is asked to hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from mailvigil.errors import InputError

MIN_MAILBOXES = 20
"""Five executives, two assistants, three shared, and enough others for each kind of phone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One tenant over some days. Equal scenarios give equal bytes.

    ``start`` is a midnight, aware, in UTC; day 0 begins there. Days are counted from 0:
    the first day of the intrusion, of Outlook on the web's new id (``drift_day``), of the
    approved app that comes in mid-month (``rollout_day``), of the throttled mailbox
    (``throttled_day``, not one when it is None). What would fall outside ``days`` does
    not happen. ``records_per_mailbox_day`` is the mail a person reads on a working day;
    other operations, repeats and programs come on top.

    ``foreign_token_share`` is the part of the intruder's records that name the consumer
    tenant in TokenTenantId; the others have no TokenTenantId.

    Raises:
        InputError: When a value cannot make a tenant.

    """

    seed: int = 1
    mailboxes: int = 60
    start: datetime = datetime(2026, 6, 1, tzinfo=UTC)
    days: int = 30
    records_per_mailbox_day: float = 24.0
    repeats: float = 0.03
    intrusion: bool = True
    intrusion_day: int = 17
    intrusion_days: int = 6
    foreign_token_share: float = 0.3
    drift_day: int = 11
    rollout_day: int = 14
    throttled_day: int | None = 24

    def __post_init__(self) -> None:
        if self.start.utcoffset() != timedelta() or self.start.time() != time():
            raise InputError("scenario", "start is not a midnight in UTC", "give one")
        if self.mailboxes < MIN_MAILBOXES:
            raise InputError("scenario", f"{self.mailboxes} mailboxes", f"{MIN_MAILBOXES} or more")


DEMO = Scenario()
"""The tenant that ``mailvigil demo`` hunts in."""
