"""Tells a tenant's legitimate spike from abuse, and computes the limit that a spike needs."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from checks.inputs import is_tenant
from checks.limits import RUN_LIMIT, RUN_PATH, TENANT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checks.limits import Past, Setting, Use
    from checks.logs import Entry
    from checks.traffic import Rate

Verdict = Literal["legitimate spike", "abuse", "unclear"]
MESSAGE = "rate limit exceeded"
RUN_REASON = "pipeline_run_per_minute"
_GREW_WILDLY = 5.0
_ONE_ENDPOINT = 0.9
_HARDLY_ANSWERED = 0.3
_LARGE = 0.25  # of the tenants by size
_HEADROOM = 1.5
_ROUND_TO = 100
_NOTABLE = 0.2
_MAX_LIMIT = 1_000_000
_MAX_TEXT = 64
_MINUTE_S = 60


@dataclass(frozen=True)
class Logged:
    """What the log says of one tenant's refused requests: which limit, and from how many places."""

    reasons: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Case:
    """What is known of a limited tenant.

    Attributes:
        uses: Its use by endpoint, `""` for all of them.
        rates: Its requests by endpoint and status, of now.
        past: What it usually asks, and what it asks now.
        others: What each other tenant asks a second, to tell how large it is.
        logged: Its refused requests in the log, as far as they were read.
    """

    tenant: str
    uses: tuple[Use, ...]
    rates: tuple[Rate, ...]
    past: Past
    others: tuple[float, ...]
    logged: Logged

    @property
    def whole(self) -> Use:
        """Its use of all endpoints together."""
        return next(use for use in self.uses if not use.path)

    @property
    def asked(self) -> float:
        """Requests a second over the fleet, refused ones too."""
        return sum(rate.per_second for rate in self.rates)

    @property
    def answered_share(self) -> float:
        """The share that was answered with success, 0 to 1."""
        good = sum(rate.per_second for rate in self.rates if rate.status.startswith("2"))
        return good / self.asked if self.asked else 0.0

    @property
    def top(self) -> tuple[str, float]:
        """The endpoint that it asks most, and the share of its requests that go there."""
        paths = {rate.path for rate in self.rates}
        path = max(sorted(paths), key=self.share_of, default="")
        return path, self.share_of(path)

    def share_of(self, path: str) -> float:
        """The share of its requests that go to one endpoint, 0 to 1."""
        there = sum(rate.per_second for rate in self.rates if rate.path == path)
        return there / self.asked if self.asked else 0.0


@dataclass(frozen=True)
class Judgement:
    """What a limited tenant is up to, the reasons, and the command."""

    tenant: str
    verdict: Verdict
    reasons: tuple[str, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Limits:
    """Limits in force, per minute and instance, and how many instances there are."""

    tenant: float = 0.0
    runs: float = math.inf
    instances: int = 1


def make_limits(settings: Mapping[str, Setting]) -> Limits:
    """Return the limits out of the settings by name."""
    tenant, runs = settings.get(TENANT_LIMIT), settings.get(RUN_LIMIT)
    return Limits(
        tenant.value if tenant else 0.0,
        runs.value if runs else math.inf,
        max(1, tenant.instances) if tenant else 1,
    )


def judge(case: Case, limits: Limits) -> Judgement:
    """Return the verdict on one limited tenant."""
    found = [_judge_growth(case), _judge_spread(case), _judge_answers(case), _judge_size(case)]
    points = sum(point for point, _ in found)
    verdict: Verdict = "unclear" if not points else "abuse" if points > 0 else "legitimate spike"
    reasons = [text for _, text in found if text]
    if count := len(case.logged.sources):
        reasons.append(f"It comes from {count} {'address' if count == 1 else 'addresses'}.")
    raise_limit = _raise_limit(case, limits)
    block = f"invoke mitigate.block-tenant --tenant={case.tenant} --for=60m"
    if not is_tenant(case.tenant):
        return Judgement(case.tenant, verdict, tuple(reasons), ())
    commands = {
        "legitimate spike": (raise_limit,),
        "abuse": (block,),
        "unclear": (raise_limit, block),
    }
    return Judgement(case.tenant, verdict, tuple(reasons), commands[verdict])


def compute_limit(per_minute: float, limit: float) -> int:
    """Return the limit that lets through half as much again as is asked, and never less than now.

    Rounded up to hundreds; `per_minute` is an instance's share, for limits are each instance's.
    """
    wanted = max(per_minute * _HEADROOM, limit)
    return min(_MAX_LIMIT, math.ceil(wanted / _ROUND_TO) * _ROUND_TO)


def tally(entries: Sequence[Entry]) -> dict[str, Logged]:
    """Return the refused requests of a log by tenant; what is no text counts as missing."""
    found: dict[str, Logged] = {}
    for entry in entries:
        tenant, reason, source = (
            value[:_MAX_TEXT] if isinstance(value := entry.fields.get(name), str) else ""
            for name in ("tenant_id", "error_type", "source_ip")
        )
        logged = found.setdefault(tenant, Logged())
        logged.reasons[reason] += 1
        logged.sources[source] += 1
    return found


def _judge_growth(case: Case) -> tuple[int, str]:
    growth, past = case.past.growth, case.past
    if growth is None or past.before is None:
        return 0, "What it asked in the past hour is not known."
    told = f"It asks {growth:.1f} times what it usually did ({past.now:.1f}/s; {past.before:.1f}/s)"
    if growth >= _GREW_WILDLY:
        return 1, f"{told}: no customer's business grows like that within minutes."
    return -1, f"{told}: a busy day looks like that."


def _judge_spread(case: Case) -> tuple[int, str]:
    path, share = case.top
    if not path:
        return 0, ""
    if share >= _ONE_ENDPOINT:
        return 1, f"{share:.0%} of its requests go to one endpoint, {path}."
    count = len({rate.path for rate in case.rates})
    return -1, f"Its requests are spread over {count} endpoints ({share:.0%} to {path})."


def _judge_answers(case: Case) -> tuple[int, str]:
    if not case.asked:
        return 0, ""
    share = case.answered_share
    if share < _HARDLY_ANSWERED:
        return 1, f"Only {share:.0%} of its requests are answered well; it asks on all the same."
    return -1, f"{share:.0%} of its requests are answered well."


def _judge_size(case: Case) -> tuple[int, str]:
    if case.past.before is None or not case.others:
        return 0, ""
    rank = 1 + sum(1 for other in case.others if other > case.past.before)
    count = len(case.others) + 1
    told = f"By what it usually asks it is number {rank} of {count} tenants"
    if rank <= count * _LARGE:
        return -1, f"{told}: a large customer."
    if rank > count / 2:
        return 1, f"{told}: a small one."
    return 0, f"{told}."


def _raise_limit(case: Case, limits: Limits) -> str:
    asked = case.asked if case.past.now is None else case.past.now
    per_minute = asked * _MINUTE_S / limits.instances
    number = compute_limit(per_minute, limits.tenant)
    command = f"invoke mitigate.set-rate-limit --requests-per-minute={number}"
    runs = per_minute * case.share_of(RUN_PATH)
    reasons = case.logged.reasons
    by_runs = reasons[RUN_REASON] >= _NOTABLE * max(1, reasons.total())
    if by_runs or runs * _HEADROOM > limits.runs:
        command += f" --pipeline-runs-per-minute={compute_limit(runs, min(limits.runs, number))}"
    return f"{command} --for=60m"
