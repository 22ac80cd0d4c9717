"""Which request goes wrong, and how: by script, or at random with a seed. Pure.

Random faults end: each resource has a few bad turns at most, then it is served honestly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Lock
from typing import Final, Literal, TypeGuard, cast, get_args

import yaml

from mailvigil.errors import InputError
from mailvigil.lab.server.counts import CountedResource, Kind
from mailvigil.lab.tenant.dice import Dice

FaultKind = Literal[
    "drop",
    "truncate",
    "cut_json",
    "slow",
    "late_answer",
    "drip",
    "status",
    "error",
    "throttle",
    "unauthorized",
    "not_json",
    "body",
    "odd_elements",
    "expired",
    "empty_page",
    "endless_pages",
    "same_page",
    "date",
    "lost_reply",
]
"""drop: the connection ends without an answer. truncate: it ends in mid-body. cut_json: an answer
that is whole for HTTP holds half of the JSON. slow: the body takes ``seconds``. late_answer: the
first byte takes ``seconds``. drip: the body comes a few bytes at a time and takes ``seconds``, so
that no single read waits long. status: an error of that number. error: the error ``code`` of the
feed. throttle: AF429 from the feed, as 403 or as the ``status`` 429; 429 from the others.
unauthorized: 401. not_json: 200 and a page of HTML. body: 200 and the ``text``. odd_elements: the
JSON array has the odd elements named ``text`` (all for "") before its own. expired: AF20051.
empty_page: no content, and a next page that has it. endless_pages: the content, and always a new
next page. same_page: the content, and the page itself as its next; all three are for the feed and
the Graph alone. date: the header Date is ``text``, or is not there. lost_reply: the work is done,
but the connection ends without an answer."""

RetryAfterForm = Literal["seconds", "date"]
"""The two forms of the header Retry-After."""

CHANCE: Final = 0.35
MAX_TURNS: Final = 3
SLOW_SECONDS: Final = 0.3
RANDOM_SLOW_SECONDS: Final = 0.05
THROTTLE_SHARE: Final = 0.1
"""Of the random throttles, those that are one: each halts all of an honest client."""

RETRY_AFTER_SHARE: Final = 0.75
"""Of the random throttles, those with a Retry-After."""


_FEED: tuple[FaultKind, ...] = ("drop", "truncate", "slow", "status", "throttle", "not_json")
_AT_RANDOM: Mapping[Kind, tuple[FaultKind, ...]] = {
    "blob": (*_FEED, "unauthorized"),
    "page": (*_FEED, "unauthorized", "empty_page"),
    "subscription": ("drop", "status", "throttle", "not_json"),
    "upload": ("drop", "lost_reply", "status", "throttle"),
    "token": ("drop", "status"),
    "graph": ("drop", "lost_reply", "status", "throttle"),
    "identity": (),
    "other": (),
}
_STATUSES: Mapping[Kind, tuple[int, ...]] = {
    "upload": (403, 500, 503, 503),
    "token": (500, 503),
}
_SERVER_ERRORS = (500, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to go wrong. ``retry_after`` (seconds) is sent only when it is given.

    ``retry_after_form`` writes it as seconds or as a date by the service's clock. ``revoke``
    makes an ``unauthorized`` last: the token stays refused.
    """

    kind: FaultKind
    status: int = 500
    code: str = "AF50000"
    text: str = ""
    retry_after: int | None = None
    retry_after_form: RetryAfterForm = "seconds"
    seconds: float = SLOW_SECONDS
    after_bytes: int | None = None
    revoke: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """A rule: which requests a fault strikes.

    ``path`` is a pattern (``*`` for anything) of path and query. ``nth`` counts, from 1, the
    requests that match, or with ``each`` those for one resource; empty means all of them.
    """

    fault: Fault
    method: str = ""
    path: str = "*"
    kind: Kind | Literal[""] = ""
    nth: tuple[int, ...] = ()
    each: bool = False

    def fits(self, method: str, target: str, resource: CountedResource) -> bool:
        """Return whether the rule is about such a request."""
        return (
            self.method in {"", method}
            and self.kind in {"", resource.kind}
            and fnmatchcase(target, self.path)
        )


class Faults:
    """Decides for each request. ``scripted`` may be replaced while the lab runs."""

    def __init__(self, scripted: Sequence[Scripted], chaos: int | None) -> None:
        self._lock = Lock()
        self._chaos = chaos
        self._scripted: tuple[Scripted, ...] = ()
        self._seen: list[int] = []
        self.script(scripted)

    def script(self, scripted: Sequence[Scripted]) -> None:
        """Use these rules from now on, and count from 1 again."""
        with self._lock:
            self._scripted = tuple(scripted)
            self._seen = [0] * len(self._scripted)

    def of(self, method: str, target: str, resource: CountedResource, turn: int) -> Fault | None:
        """Return what shall go wrong with the *turn*-th request (from 1) for *resource*."""
        with self._lock:
            for place, rule in enumerate(self._scripted):
                if rule.fits(method, target, resource):
                    self._seen[place] += 1
                    number = turn if rule.each else self._seen[place]
                    if not rule.nth or number in rule.nth:
                        return rule.fault
        if self._chaos is None or turn > MAX_TURNS:
            return None
        return at_random(self._chaos, resource, turn)


def at_random(seed: int, resource: CountedResource, turn: int) -> Fault | None:
    """Return the fault of that turn: the same for the same seed, name and turn."""
    kinds = _AT_RANDOM[resource.kind]
    dice = Dice(seed, resource.kind, resource.name)
    turns = 1 + dice.below(MAX_TURNS) if kinds and dice.chance(CHANCE) else 0
    if turn > turns:
        return None
    drawn = [_drawn(dice, resource.kind) for _ in range(turn)]
    return drawn[-1]


def _drawn(dice: Dice, resource: Kind) -> Fault:
    kind = dice.pick(_AT_RANDOM[resource])
    status = dice.pick(_STATUSES.get(resource, _SERVER_ERRORS))
    rare, has_retry_after = dice.chance(THROTTLE_SHARE), dice.chance(RETRY_AFTER_SHARE)
    if kind == "throttle" and not rare:
        kind = "status"
    return Fault(
        kind=kind,
        status=status,
        retry_after=1 if has_retry_after and kind == "throttle" else None,
        seconds=RANDOM_SLOW_SECONDS,
    )


def read_script(file: Path) -> tuple[Scripted, ...]:
    """Read the rules in *file*; see :func:`load_script`.

    Raises:
        InputError: It cannot be read, or is not such a list.

    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(file), "cannot be read", str(error)) from error
    return load_script(text, str(file))


def load_script(text: str, where: str) -> tuple[Scripted, ...]:
    """Read rules from YAML: a list of mappings with ``fault`` and what it strikes.

    Raises:
        InputError: It is not such a list; all that is wrong is named.

    """
    try:
        items = yaml.safe_load(text) or []
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a 13th month
        raise InputError(where, "is not YAML", str(error).splitlines()[0]) from error
    if not isinstance(items, list):
        raise InputError(where, "is not a list of faults", "begin each with `- fault:`")
    problems: list[str] = []
    rules = [_scripted(item, place, problems) for place, item in enumerate(items, 1)]
    if problems:
        raise InputError(where, "; ".join(problems))
    return tuple(rule for rule in rules if rule)


_FAULT_KEYS = {field.name for field in fields(Fault)} - {"kind"}
_RULE_KEYS = {field.name for field in fields(Scripted)} - {"fault"}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "status": (int,),
    "code": (str,),
    "text": (str,),
    "retry_after": (int,),
    "retry_after_form": (str,),
    "seconds": (int, float),
    "after_bytes": (int,),
    "revoke": (bool,),
    "method": (str,),
    "path": (str,),
    "kind": (str,),
    "each": (bool,),
}


def _scripted(item: object, place: int, problems: list[str]) -> Scripted | None:
    name = f"fault {place}"
    if not isinstance(item, dict) or not _is_kind(item.get("fault")):
        problems.append(f"{name}: `fault` is none of {', '.join(get_args(FaultKind))}")
        return None
    settings = {str(key): value for key, value in item.items() if key != "fault"}
    nth = settings.pop("nth", [])
    numbers = nth if isinstance(nth, list) else [nth]
    wrong = [f"{name}: {text}" for text in _wrong(settings, numbers)]
    if wrong:
        problems += wrong
        return None
    # The values were checked one by one above.
    fault = Fault(kind=item["fault"], **{k: v for k, v in settings.items() if k in _FAULT_KEYS})
    given = {k: v for k, v in settings.items() if k in _RULE_KEYS}
    return Scripted(fault=fault, nth=tuple(cast("list[int]", numbers)), **given)


def _is_kind(value: object) -> TypeGuard[FaultKind]:
    return value in get_args(FaultKind)


def _wrong(settings: Mapping[str, object], numbers: Sequence[object]) -> list[str]:
    unknown = sorted(settings.keys() - _FAULT_KEYS - _RULE_KEYS)
    problems = [f"unknown key `{key}`" for key in unknown]
    problems += [
        f"`{key}` is not {' or '.join(kind.__name__ for kind in kinds)}"
        for key, kinds in _TYPES.items()
        if key in settings and type(settings[key]) not in kinds
    ]
    if not all(type(number) is int and number > 0 for number in numbers):
        problems.append("`nth` holds something that is not a number from 1")
    if settings.get("retry_after_form", "seconds") not in get_args(RetryAfterForm):
        problems.append("`retry_after_form` is neither seconds nor date")
    if settings.get("text") and any(c in str(settings["text"]) for c in "\r\n"):
        problems.append("`text` has a line break")
    if settings.get("kind", "other") not in get_args(Kind):
        problems.append(f"`kind` is none of {', '.join(get_args(Kind))}")
    return problems
