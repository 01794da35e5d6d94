"""The words in which each rule of triage answers, and the commands that they recommend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from checks.rules import AlertRule
    from checks.target import Target
    from runbook.triage_probes import Snapshot

STATES = ("firing", "pending", "seen", "unknown", "quiet")
QUIET = frozenset({"quiet", "unknown"})
State = Literal["seen", "unknown", "quiet"]
NAMED_TENANTS = 4

ROLLBACK = "invoke mitigate.rollback"
RESTART = "invoke mitigate.restart"
RELEASE = "invoke mitigate.release-traffic"
SCALE_UP = "invoke mitigate.scale-up"
CACHE = "invoke mitigate.enable-caching"
TIMEOUT = "invoke mitigate.set-timeout"
# What several alerts may have in common; equal causes are mended by one command.
CAPACITY = "too much work for the instances"


@dataclass(frozen=True)
class Advice:
    """The command that the page recommends, and why; an empty command means wait.

    Attributes:
        cause: What is behind it, in the same words for every alert that it explains, or "".
    """

    command: str
    why: str
    cause: str = ""


@dataclass(frozen=True)
class Verdict:
    """One alert, as triage sees it.

    Attributes:
        state: `firing`, `pending`, `seen` (the symptom is there, Prometheus does not say so),
            `unknown` (nobody could be asked) or `quiet`.
        since: When it became pending, RFC 3339, or an empty string.
        hits: Whom it hits, in words.
        evidence: What this rests on, a sentence each.
    """

    rule: AlertRule
    state: str
    since: str
    hits: str
    evidence: tuple[str, ...]
    advice: Advice

    @property
    def is_quiet(self) -> bool:
        """Whether nothing needs to be done about it."""
        return self.state in QUIET


class Judge(Protocol):
    """What triage knows of one kind of alert; each part asks nobody, it only reads answers."""

    def see(self, rule: AlertRule, found: Snapshot) -> State:
        """Return whether the symptom itself is to be seen, where Prometheus tells nothing."""

    def describe_hits(self, rule: AlertRule, found: Snapshot) -> str:
        """Return whom the alert hits, in words."""

    def collect_evidence(self, rule: AlertRule, found: Snapshot) -> tuple[str, ...]:
        """Return what is known about the symptom, a sentence each."""

    def has_receded(self, rule: AlertRule, found: Snapshot) -> bool:
        """Return whether the symptom is gone, so that the alert only lags behind."""

    def advise(self, rule: AlertRule, since: str, target: Target, found: Snapshot) -> Advice:
        """Return what the page recommends in the state at hand."""


def name_some(names: list[str], most: int = NAMED_TENANTS) -> str:
    """Return the first names in a row, and that there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
