"""What the last verification says of an alert, as HTML that ages by itself in the browser."""

from dataclasses import dataclass
from pathlib import Path

from runbook.pages.alerts import Scenario, read_scenarios
from runbook.pages.results import (
    ByHandResult,
    ScenarioResult,
    StepResult,
    Verification,
    load_results,
    results_path,
)
from runbook.pages.text import escape, escape_block, iso_time, plain_time, seconds

DRY_RUN = "--dry-run"
WORDS = {
    "passed": "Proven",
    "partly": "Partly proven",
    "failed": "Failed",
    "unverified": "Not verified yet",
}
_OUTCOME_WORDS = {"passed": "passed", "failed": "FAILED", "not run": "not run"}


@dataclass(frozen=True)
class Proof:
    """How far the scenarios that a feature promises are borne out by one verification."""

    state: str
    promised: tuple[Scenario, ...]
    results: tuple[ScenarioResult, ...]
    verification: Verification | None

    def count(self, kind: str) -> tuple[int, int]:
        """Return how many promised scenarios of the kind passed, and how many are promised."""
        promised = [one for one in self.promised if one.kind == kind]
        return sum(_outcome(one, self.results) == "passed" for one in promised), len(promised)

    @property
    def slowest_mitigation(self) -> float | None:
        """The longest time to mitigate among the loops that passed, in seconds."""
        times = [
            one.time_to_mitigate_s
            for one in self.results
            if one.kind == "loop" and one.outcome == "passed" and one.time_to_mitigate_s is not None
        ]
        return max(times, default=None)


def _outcome(promised: Scenario, results: tuple[ScenarioResult, ...]) -> str:
    """Return passed, failed or missing; a scenario that ran twice passed only if it always did."""
    outcomes = {one.outcome for one in results if _is_same(promised, one)}
    if not outcomes:
        return "missing"
    return "failed" if "failed" in outcomes else "passed"


def _is_same(promised: Scenario, result: ScenarioResult) -> bool:
    return (promised.kind, promised.name) == (result.kind, result.name)


def read_proof(root: Path, alert: str, *, mitigation: str | None = None) -> Proof:
    """Return the proof of an alert, or of one of its mitigations.

    Raises:
        PageError: the feature or the results cannot be read.

    """
    verification = load_results(results_path(root))
    promised = read_scenarios(root, alert)
    results = verification.of_alert(alert) if verification else ()
    if mitigation is not None:
        promised = tuple(one for one in promised if one.mitigation == mitigation)
        results = tuple(one for one in results if any(_is_same(it, one) for it in promised))
    return Proof(_judge(promised, results), promised, results, verification)


def _judge(promised: tuple[Scenario, ...], results: tuple[ScenarioResult, ...]) -> str:
    outcomes = [_outcome(one, results) for one in promised]
    if any(one.outcome == "failed" for one in results):
        return "failed"
    if "passed" not in outcomes:
        return "unverified"
    return "partly" if "missing" in outcomes else "passed"


def render_badge(proof: Proof, *, brief: bool = False) -> str:
    """Return the badge: the verdict, its age, and what it rests on."""
    word = WORDS[proof.state]
    run = proof.verification
    if run is None or proof.state == "unverified":
        rest = (
            ""
            if brief
            else '<span class="proof-facts">No verification on record for this page.</span>'
        )
        return f'<span class="proof" data-proof="unverified"><strong>{word}</strong>{rest}</span>'
    when = iso_time(run.started)
    facts = "" if brief else f'<span class="proof-facts">{_facts(proof, run)}</span>'
    return (
        f'<span class="proof" data-proof="{proof.state}" data-when="{when}">'
        f"<strong>{word}</strong> "
        f'<time datetime="{when}">{plain_time(run.started)}</time>{facts}</span>'
    )


def _facts(proof: Proof, run: Verification) -> str:
    loops, controls = proof.count("loop"), proof.count("control")
    facts = []
    if proof.slowest_mitigation is not None and proof.state != "failed":
        facts.append(f"mitigated in {seconds(proof.slowest_mitigation)} or less")
    facts += [
        f"{loops[0]} of {loops[1]} loops closed",
        f"{controls[0]} of {controls[1]} controls stayed red",
        f"{escape(run.environment)}{_clock(run)}",
        f"commit <code>{run.commit[:7]}</code>{' with local changes' if run.dirty else ''}",
    ]
    return " · ".join(facts)


def _clock(run: Verification) -> str:
    return "" if run.time_scale == 1 else f", alert clock {run.time_scale:g} times faster"


def render_mitigation_proof(proof: Proof) -> str:
    """Return one line per fault that the mitigation is proven against."""
    rows = "".join(_fault_row(one, proof.results) for one in proof.promised if one.kind == "loop")
    return f'<ul class="faults">{rows}</ul>'


def _fault_row(promised: Scenario, results: tuple[ScenarioResult, ...]) -> str:
    outcome = _outcome(promised, results)
    took = next((one.time_to_mitigate_s for one in results if _is_same(promised, one)), None)
    said = {
        "passed": f"proven, mitigated in {seconds(took)}" if took is not None else "proven",
        "failed": "FAILED when last tried",
        "missing": "not verified yet",
    }[outcome]
    name = escape(promised.fault or promised.name)
    where = f" on {escape(promised.platform)}" if promised.platform else ""
    return f'<li data-outcome="{outcome}"><code>{name}</code>{where} {said}</li>'


def render_scenarios(proof: Proof) -> str:
    """Return every promised scenario, its steps with times and output folded in."""
    ran = [_scenario(result) for result in proof.results]
    missing = [
        f'<li data-outcome="missing">{escape(one.name)}: not verified yet</li>'
        for one in proof.promised
        if _outcome(one, proof.results) == "missing"
    ]
    rest = f'<ul class="faults">{"".join(missing)}</ul>' if missing else ""
    return f'<div class="scenarios">{"".join(ran)}{rest}</div>'


def _scenario(result: ScenarioResult) -> str:
    times = [seconds(result.seconds)]
    if result.time_to_detect_s is not None:
        times.append(f"detected after {seconds(result.time_to_detect_s)}")
    if result.time_to_mitigate_s is not None:
        times.append(f"mitigated in {seconds(result.time_to_mitigate_s)}")
    kind = {"loop": "loop", "control": "control", "other": "check"}[result.kind]
    error = f'<pre class="output">{escape_block(result.error)}</pre>' if result.error else ""
    steps = "".join(_step(step) for step in result.steps)
    return (
        f'<details data-outcome="{result.outcome}"{" open" if result.outcome == "failed" else ""}>'
        f'<summary><span class="kind">{kind}</span> {escape(result.name)} '
        f'<span class="times">{_OUTCOME_WORDS[result.outcome]} · {" · ".join(times)}</span>'
        "</summary>"
        f"{error}<ol>{steps}</ol></details>"
    )


def _step(step: StepResult) -> str:
    command = f"<code>{escape(step.command)}</code>" if step.command else ""
    output = (
        f'<details class="said"><summary>{command} printed</summary>'
        f'<pre class="output">{escape_block(step.output)}</pre></details>'
        if step.output
        else command
    )
    return (
        f'<li data-outcome="{step.outcome.replace(" ", "-")}"><b>{escape(step.keyword)}</b> '
        f'{escape(step.text)} <span class="times">{_step_time(step)}</span>{output}</li>'
    )


def _step_time(step: StepResult) -> str:
    if step.outcome == "passed":
        return seconds(step.seconds)
    return _OUTCOME_WORDS[step.outcome]


def find_output(proof: Proof, command: str) -> str | None:
    """Return what a command printed when it last worked, or None if it was not run.

    The dry run of a command is another command.
    """
    name, is_dry = command.split()[:2], DRY_RUN in command
    for result in proof.results:
        for step in result.steps:
            words = (step.command or "").split()
            if words[:2] != name or (DRY_RUN in words) != is_dry:
                continue
            if step.output and step.outcome == "passed":
                return step.output
    return None


def judge_by_hand(
    run: Verification | None, step: str, lines: int, platform: str = ""
) -> tuple[str, str]:
    """Return the outcome of a step's vendor lines and why: the worst of its lines counts.

    `platform` is that of the lines, where a step has lines of their own for each.
    """
    tried: list[ByHandResult] = [
        one
        for one in (run.by_hand if run else ())
        if one.step == step and (not platform or one.platform == platform)
    ]
    for outcome in ("different", "unverified"):
        worst = next((one for one in tried if one.outcome == outcome), None)
        if worst:
            return outcome, worst.why
    tried_lines = sum(len(line.splitlines()) for line in {one.line for one in tried})
    if not tried:
        return "unverified", "no verification on record"
    if tried_lines < lines:
        return "unverified", f"{tried_lines} of {lines} lines were tried"
    return "equal", ""
