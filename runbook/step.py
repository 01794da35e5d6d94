"""The decorator that makes a function a step of the runbook.

A step is an invoke task that also knows the alerts it serves, the vendor's own line that does the
same by hand, what it changes, an example, and which lines of the original runbook it replaces.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from string import Formatter
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit, Failure, ParseError
from invoke.parser.argument import Argument
from invoke.tasks import Task, task

from checks.errors import NotVerifiedError, RunbookError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checks.target import Target

USAGE_EXIT = 2
INTERRUPTED_EXIT = 130
_CHANGE_OPTIONS = ("dry_run", "yes")


class StepArgument(Argument):
    """An argument whose bad value is one sentence and exit code 2, not a traceback."""

    def set_value(self, value: Any, cast: bool = True) -> None:  # noqa: ANN401
        """Set the value; raises invoke's Exit with code 2 when it is not of the wanted kind."""
        try:
            super().set_value(value, cast)
        except ValueError as error:
            flag = f"--{self.names[0]}"
            raise Exit(
                f"{flag} wants a whole number, not {value!r}. Nothing was changed.\n"
                f"Next: give {flag} a number.",
                code=USAGE_EXIT,
            ) from error


class RunbookTask(Task["Callable[..., Any]"]):
    """An invoke task with the runbook's metadata.

    Attributes:
        alerts: Names of the alerts whose pages use the step.
        by_hand: The vendor's own lines, as templates with `{field}` placeholders; of the first
            platform, where they differ. A word whose field is None is left out.
        by_platform: The lines by platform; "" stands for any.
        changes: The system that the step changes, such as `cloud_run`, or None for a read.
        example: Values for examples on pages and for tests: of arguments, and of fields that a
            person reads off somewhere. Optional ones stand aside once an argument is given.
        original: Ids of the lines of the original runbook that the step replaces.
        qualified_name: Name on the command line, such as `mitigate.scale-up`.
        command_name: Shorter name, where the step is its namespace's default; else empty.
        needs_target: Whether the step acts on a target; it then says which one first.
    """

    def __init__(
        self,
        body: Callable[..., Any],
        *,
        metadata: Mapping[str, Any],
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Take the body and its metadata; the rest is invoke's own."""
        super().__init__(body, auto_shortflags=False, **options)
        by_hand = metadata.get("by_hand", ())
        known = by_hand if isinstance(by_hand, Mapping) else {"": by_hand}
        self.by_platform: dict[str, tuple[str, ...]] = {
            name: (lines,) if isinstance(lines, str) else tuple(lines)
            for name, lines in known.items()
        }
        self.by_hand: tuple[str, ...] = next(iter(self.by_platform.values()), ())
        self.alerts: tuple[str, ...] = tuple(metadata.get("alerts", ()))
        self.changes: str | None = metadata.get("changes")
        self.example: dict[str, Any] = dict(metadata.get("example") or {})
        self.original: tuple[str, ...] = tuple(metadata.get("original", ()))
        self.needs_target: bool = metadata.get("needs_target", True)
        self.qualified_name = self.name.replace("_", "-")
        self.command_name = ""
        self._parameters = dict(self.argspec(body).parameters)
        missing = [n for n in _CHANGE_OPTIONS if self.changes and n not in self._parameters]
        if missing:
            raise TypeError(f"{self.name} changes {self.changes} but takes no {missing}")

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return the step's arguments and `--json`; may be called any number of times."""
        keep = dict(self.help)  # invoke takes the texts out of its own dictionary
        try:
            arguments = super().get_arguments(ignore_unknown_help=ignore_unknown_help)
        finally:
            self.help = keep
        for argument in arguments:
            argument.__class__ = StepArgument
        if "json" not in self._parameters:
            text = "Print the same as data: one JSON object."
            arguments.append(StepArgument(name="json", kind=bool, default=False, help=text))
        return arguments

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Run the step and show its report.

        Raises:
            Exit: The step ended with a code other than 0; everything is already printed.
        """
        as_json = bool(kwargs.get("json", False))
        if "json" not in self._parameters:
            kwargs.pop("json", None)
        if self.changes and args and args[0].config.run.dry:
            kwargs["dry_run"] = True  # invoke's --dry alone would stop nothing but c.run
        may_change = bool(self.changes) and not kwargs.get("dry_run", False)
        try:
            return self._run(args, kwargs, as_json=as_json)
        except (Exit, Failure, ParseError):
            raise
        except RunbookError as error:
            self._fail(error, error.exit_code, as_json=as_json)
        except KeyboardInterrupt:
            self._fail(_interrupted(may_change=may_change), INTERRUPTED_EXIT, as_json=as_json)
        except Exception as error:  # noqa: BLE001 - a responder never gets a traceback
            told = _unexpected(error, self.qualified_name, may_change=may_change)
            self._fail(told, told.exit_code, as_json=as_json)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, as_json: bool) -> Any:  # noqa: ANN401
        from runbook import render
        from runbook.report import Report

        target = None
        if self.needs_target:
            from checks.target import load_target

            target = load_target()
            with _whoever_reads():
                render.show_target(target, as_json=as_json)
        result = super().__call__(*args, **kwargs)
        if isinstance(result, Report):
            with _whoever_reads():
                render.show_report(
                    result,
                    step=self.qualified_name,
                    target=target.name if target else None,
                    as_json=as_json,
                    is_change=bool(self.changes),
                )
                sys.stdout.flush()
            if result.exit_code:
                raise Exit(code=result.exit_code)
        return result

    def _fail(self, error: RunbookError, code: int, *, as_json: bool) -> None:
        from runbook import render

        render.show_error(error, step=self.qualified_name, code=code, as_json=as_json)
        raise Exit(code=code) from error

    def by_hand_argv(
        self,
        target: Target,
        platform: str = "",
        **arguments: Any,  # noqa: ANN401
    ) -> list[list[str]]:
        """Return the vendor's lines for `target` as argument lists, ready to be run.

        `platform` is the target's own where it is not given; no lines where the step has none
        there. A template is cut into words before its fields are filled in, so no value can add a
        word; a word whose field is None is left out, and with it a line that none of its options
        is given for. Without arguments those of the example count.

        Raises:
            KeyError: A template names a field that neither target nor step has.
        """
        lines = self.by_platform.get(platform or target.platform, self.by_platform.get("", ()))
        fields = self._fields(target, given=bool(arguments)) | arguments
        return [
            [word.format(**fields) for word in shlex.split(line) if _is_filled(word, fields)]
            for line in lines
            if self._is_wanted(line, fields)
        ]

    def _is_wanted(self, line: str, fields: Mapping[str, Any]) -> bool:
        options = [
            name for _, name, _, _ in Formatter().parse(line) if name and name in self._parameters
        ]
        return not options or any(fields[name] is not None for name in options)

    def by_hand_lines(
        self,
        target: Target,
        platform: str = "",
        **arguments: Any,  # noqa: ANN401
    ) -> list[str]:
        """Return the vendor's lines for `target`, quoted so that a shell takes them as they are."""
        return [shlex.join(argv) for argv in self.by_hand_argv(target, platform, **arguments)]

    def command_line(self, **arguments: Any) -> str:  # noqa: ANN401
        """Return the command that runs the step, such as `invoke mitigate.rollback --to=api-1`."""
        words = ["invoke", self.command_name or self.qualified_name]
        for name, value in arguments.items():
            flag = f"--{name.strip('_').replace('_', '-')}"
            if value is True:
                words.append(flag)
            elif value is not False and value is not None:
                words.append(str(value) if name in self.positional else f"{flag}={value}")
        return shlex.join(words)

    def _fields(self, target: Target, *, given: bool) -> dict[str, Any]:
        defaults = {
            name: parameter.default
            for name, parameter in self._parameters.items()
            if parameter.default is not parameter.empty
        }
        # Where something is given, an option that may be left out (None) is left out.
        example = {
            n: v for n, v in self.example.items() if not given or defaults.get(n, v) is not None
        }
        return defaults | example | target_fields(target)


def target_fields(target: Target) -> dict[str, str | None]:
    """Return the fields that a by-hand template may name besides the step's own arguments."""
    own_file = target.kubeconfig if target.embedded else ""
    return {
        "project": target.project,
        "region": target.region,
        "service": target.service,
        "service_url": target.service_url,
        "prometheus": target.prometheus or "$PROMETHEUS_URL",
        "api_host": (target.api or "https://run.googleapis.com").rstrip("/"),
        "window": target.window("5m"),
        "kubeconfig": own_file or None,  # elsewhere it is kubectl's own, in one's home
        "kube_context": target.kube_context or "$KUBE_CONTEXT",
        "namespace": target.namespace,
        "deployment": target.deployment_name,
        "security_policy": target.security_policy,
    }


def step(
    *,
    alerts: tuple[str, ...] = (),
    by_hand: str | tuple[str, ...] | Mapping[str, str | tuple[str, ...]] = (),
    changes: str | None = None,
    example: Mapping[str, Any] | None = None,
    original: tuple[str, ...] = (),
    needs_target: bool = True,
    **options: Any,  # noqa: ANN401
) -> Callable[[Callable[..., Any]], RunbookTask]:
    """Return a decorator that makes a function a step; `options` are those of invoke's `task`.

    The function takes invoke's context first and returns a `runbook.report.Report`. A step with
    `changes` also takes `dry_run` and `yes`; `--json` is added to every step. `by_hand` may be a
    mapping from platform to lines.
    """
    metadata = {
        "alerts": alerts,
        "by_hand": by_hand,
        "changes": changes,
        "example": example,
        "original": original,
        "needs_target": needs_target,
    }

    def decorate(body: Callable[..., Any]) -> RunbookTask:
        made = task(klass=RunbookTask, metadata=metadata, **options)(body)
        assert isinstance(made, RunbookTask)  # noqa: S101 - tells mypy what klass= made
        return made

    return decorate


def _is_filled(word: str, fields: Mapping[str, Any]) -> bool:
    names = [name for _, name, _, _ in Formatter().parse(word) if name]
    return all(fields[name] is not None for name in names if name in fields)


@contextmanager
def _whoever_reads() -> Iterator[None]:
    """Go on with the step when the reader of its output has gone, as with `| head`."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupted(*, may_change: bool) -> RunbookError:
    if may_change:
        return NotVerifiedError(
            "Interrupted; a change may already be on its way.", next_step="invoke mitigate"
        )
    return RunbookError("Interrupted; nothing was changed.", next_step="run it again")


def _unexpected(error: Exception, name: str, *, may_change: bool) -> RunbookError:
    if os.environ.get("RUNBOOK_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    text = str(error).strip().splitlines()
    told = f"{name} failed in a way nobody foresaw: {type(error).__name__}"
    told += f" ({text[0][:200]})." if text else "."
    report = f"RUNBOOK_DEBUG=1 invoke {name} ..., report its trace, and go on by hand meanwhile"
    if may_change:
        return NotVerifiedError(
            told + " A change may already be on its way.",
            next_step=f"invoke mitigate shows what is in force; then {report}",
        )
    return RunbookError(told, next_step=report)
