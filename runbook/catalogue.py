"""Every command of the runbook: which modules make up which namespace."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.tasks import Task

from runbook.step import RunbookTask

if TYPE_CHECKING:
    from types import ModuleType

# The first module of a namespace gives it its description.
MODULES: dict[str, tuple[str, ...]] = {
    "assess": (
        "runbook.assess",
        "runbook.assess_errors",
        "runbook.assess_load",
        "runbook.assess_usage",
        "runbook.profile",
        "runbook.assess_access",
        "runbook.assess_limits",
        "runbook.triage",
    ),
    "mitigate": (
        "runbook.mitigate",
        "runbook.mitigate_capacity",
        "runbook.mitigate_settings",
        "runbook.mitigate_access",
    ),
    "staging": ("runbook.staging",),
    "demo": ("runbook.demo",),
    "verify": ("runbook.verify",),
    "site": ("runbook.site",),
    "dev": ("runbook.dev", "runbook.bench", "runbook.bench_triage", "runbook.bench_scaling"),
}


@cache
def collect() -> Collection:
    """Return invoke's root collection; a module's ROOT_TASKS are its tasks at the top level."""
    root = Collection()
    for namespace, paths in MODULES.items():
        _add_namespace(root, namespace, [import_module(path) for path in paths])
    return root


def steps() -> dict[str, RunbookTask]:
    """Return every step by its qualified name, such as `mitigate.scale-up`, in name order."""
    collect()
    found = {
        task.qualified_name: task
        for paths in MODULES.values()
        for path in paths
        for task in _own_tasks(import_module(path))
        if isinstance(task, RunbookTask)
    }
    return dict(sorted(found.items()))


def _own_tasks(module: ModuleType) -> list[Task[Any]]:
    # A task that a module merely imported belongs to the module that defines it.
    return [
        value
        for value in vars(module).values()
        if isinstance(value, Task) and value.body.__module__ == module.__name__
    ]


def _add_namespace(root: Collection, name: str, modules: list[ModuleType]) -> None:
    collection = Collection(name)
    collection.__doc__ = modules[0].__doc__
    for module in modules:
        at_root = getattr(module, "ROOT_TASKS", ())
        for task in _own_tasks(module):
            home = root if task.name in at_root else collection
            home.add_task(task)
            if isinstance(task, RunbookTask):
                local = home.transform(task.name)
                task.qualified_name = local if home is root else f"{name}.{local}"
                task.command_name = name if task.is_default and home is collection else ""
    if collection.tasks:
        root.add_collection(collection)
