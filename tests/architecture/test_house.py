"""The project keeps its own rules."""

from __future__ import annotations

import importlib.util

from runbook.catalogue import MODULES, steps
from tests.architecture import rules
from tests.architecture.source import REPOSITORY, python_files, tracked_files


def test_imports_run_one_way() -> None:
    assert rules.find_wrong_imports(REPOSITORY) == []


def test_files_are_short() -> None:
    assert rules.find_long_files(REPOSITORY, tracked_files(REPOSITORY)) == []


def test_functions_are_short() -> None:
    assert rules.find_long_functions(REPOSITORY) == []


def test_tasks_is_thin_and_has_no_folder_beside_it() -> None:
    lines = (REPOSITORY / "tasks.py").read_text().splitlines()
    assert len(lines) < rules.MAX_TASKS_LINES
    assert not (REPOSITORY / "tasks").exists()


def test_nothing_goes_through_a_shell() -> None:
    assert rules.find_shells(REPOSITORY) == []


def test_checks_never_write() -> None:
    assert python_files(REPOSITORY, "checks")
    assert rules.find_writes(REPOSITORY) == []


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    assert rules.find_machine_paths(REPOSITORY, tracked_files(REPOSITORY)) == []


def test_lock_pins_hashes_and_names_no_address() -> None:
    assert rules.find_lock_faults((REPOSITORY / "requirements.lock").read_text()) == []


def test_an_alert_has_one_name_everywhere() -> None:
    names = rules.alert_names(REPOSITORY)
    names["the steps"] = {alert for step in steps().values() for alert in step.alerts}
    assert all(names.values())
    assert rules.find_drift(names) == []


def test_every_module_with_tasks_is_in_a_namespace() -> None:
    listed = {path for paths in MODULES.values() for path in paths}
    assert rules.find_unlisted_modules(REPOSITORY, listed) == []
    assert [path for path in sorted(listed) if importlib.util.find_spec(path) is None] == []
