"""What a made-up tenant is asked to be: profiles, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from mailvigil.errors import InputError

MIN_MAILBOXES = 20
"""Five executives, two assistants, three shared, and enough others for each kind of phone."""

LEAST_MAILBOXES, LEAST_DAYS = 100, 14
"""Fewer mailboxes have not enough people for every attack; fewer days teach less than a week."""

MOST_LEARNING = 14
"""Days that a rule remembers."""

SATURDAY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One tenant over some days. Equal profiles give equal bytes.

    ``start`` is a midnight, aware, in UTC; day 0 begins there. Days are counted from 0. What
    would fall outside ``days`` does not happen.

    Attributes:
        reads_a_day: Records of mail that a person reads on a working day, over all clients.
        operations: Other operations of a person, each with how often it happens for each
            record of mail read.
        drift_day: When Microsoft begins to replace the id of Outlook on the web.
        rollout_day: When an application comes that the tenant approves.
        changes: Whether more changes, as in real tenants: people travel, get new networks and
            computers and stand in for each other; mailboxes are moved, licences taken, jobs run
            at the end of a month, and the list of approved applications is updated late.
        intrusion_days: When Storm-0558 reads, if these are working days. ``records`` only.
        foreign_tokens: The part of its records that name the consumer tenant.
        throttled_day: When the archiving service reads a whole mailbox again, until Exchange
            logs no more of it. ``records`` only.
        repeats: The part of the records that come twice. ``records`` only.

    Raises:
        InputError: A value cannot make a tenant.

    """

    seed: int = 1
    mailboxes: int
    start: datetime = datetime(2026, 6, 1, tzinfo=UTC)
    days: int = 30
    reads_a_day: float = 24.0
    operations: tuple[tuple[str, float], ...]
    drift_day: int = 11
    rollout_day: int = 14
    changes: bool = False
    intrusion_days: tuple[int, ...] = ()
    foreign_tokens: float = 0.3
    throttled_day: int | None = None
    repeats: float = 0.0

    def __post_init__(self) -> None:
        if self.start.utcoffset() != timedelta() or self.start.time() != time():
            raise InputError("profile", "start is not a midnight in UTC", "give one")
        if self.mailboxes < MIN_MAILBOXES:
            raise InputError("profile", f"{self.mailboxes} mailboxes", f"{MIN_MAILBOXES} or more")

    @property
    def learning(self) -> int:
        """Days that only teach a rule: half of the time, at most 14."""
        return min(self.days // 2, MOST_LEARNING)

    @property
    def judged(self) -> tuple[datetime, datetime]:
        """The time in which alerts count: [from, until)."""
        return self.midnight(self.learning), self.midnight(self.days)

    def midnight(self, day: int) -> datetime:
        """Return when *day* begins, in UTC."""
        return self.start + timedelta(days=day)

    def works(self, day: int) -> bool:
        """Return whether *day* is a Monday to Friday."""
        return self.midnight(day).weekday() < SATURDAY


DEMO = Profile(
    mailboxes=60,
    operations=(
        ("Send", 0.1),
        ("MoveToDeletedItems", 0.1),
        ("HardDelete", 0.05),
        ("FileAccessed", 0.1),
        ("UserLoggedIn", 0.05),
    ),
    intrusion_days=(17, 18, 19, 20, 21, 22),
    throttled_day=24,
    repeats=0.03,
)
"""The tenant that ``mailvigil demo`` hunts in."""

MILLION = replace(
    DEMO,
    mailboxes=2_000,
    operations=(("Send", 0.1), ("FileAccessed", 0.1)),
    intrusion_days=tuple(range(17, 30)),
    throttled_day=None,
)
"""The tenant of the benchmarks."""


def ordinary_month(mailboxes: int = 500, days: int = 14, seed: int = 1) -> Profile:
    """Return an ordinary month for a backtest: what changes does so after the learning days.

    Raises:
        InputError: The tenant or the time is too small to show anything.

    """
    if mailboxes < LEAST_MAILBOXES:
        raise InputError("backtest", f"{mailboxes} mailboxes", f"{LEAST_MAILBOXES} or more")
    if days < LEAST_DAYS:
        raise InputError("backtest", f"{days} days", f"{LEAST_DAYS} or more")
    made = Profile(
        seed=seed,
        mailboxes=mailboxes,
        start=datetime(2026, 6, 15, tzinfo=UTC),
        days=days,
        reads_a_day=8.0,
        operations=(("Send", 0.125),),
        changes=True,
    )
    return replace(made, drift_day=made.learning + 2, rollout_day=made.learning + 1)


MONTH = ordinary_month()
"""The tenant that ``mailvigil backtest`` replays the rules in."""
