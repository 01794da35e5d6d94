"""Each rule finds what breaks it, and only that: small trees with the thing broken."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.source import tracked_files


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("checks/a.py", "import runbook.step"),
        ("checks/a.py", "def f():\n    from runbook import step"),
        ("checks/a.py", "from ..runbook import step"),
        ("checks/a.py", "from .. import runbook"),
        ("runbook/a.py", "from tests.support import embedded"),
        ("runbook/a.py", "import staging.model"),
        ("runbook/changes/a.py", "from importlib import import_module\nimport_module('staging')"),
        ("runbook/a.py", "import tasks"),
        ("staging/a.py", "from checks.target import Target"),
        ("staging/a.py", "if TYPE_CHECKING:\n    from runbook import step"),
        ("tasks.py", "import checks.target"),
    ],
)
def test_an_import_against_the_direction_is_found(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, name, text)
    assert rules.find_wrong_imports(tmp_path) != []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "checks/a.py",
            "from checks.errors import UsageError\nfrom . import names\nimport requests",
        ),
        ("runbook/changes/a.py", "from . import planners\nfrom ..step import step\nimport checks"),
        ("staging/a.py", "from staging.model import Fleet"),
        ("tests/a.py", "import staging.model, runbook.step, checks.target, tasks"),
        ("tasks.py", "from runbook.catalogue import collect"),
    ],
)
def test_an_import_in_the_direction_is_not(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, name, text)
    assert rules.find_wrong_imports(tmp_path) == []


def test_long_files_are_found(tmp_path: Path) -> None:
    files = [
        write(tmp_path, "runbook/long.py", "a = 1\n" * 400),
        write(tmp_path, "inv", "true\n" * 400),
        write(tmp_path, "runbook/short.py", "a = 1\n" * 399),
        write(tmp_path, "docs/assets/vendor/theirs.js", "a = 1\n" * 500),
        write(tmp_path, "requirements.lock", "a\n" * 500),
    ]
    found = rules.find_long_files(tmp_path, files)
    assert found == ["runbook/long.py has 400 lines", "inv has 400 lines"]


def test_long_functions_are_found(tmp_path: Path) -> None:
    body = "    a = 1\n"
    write(tmp_path, "tests/a.py", "def short():\n" + body * 38 + "def long():\n" + body * 39)
    write(tmp_path, "checks/b.py", "class C:\n    async def m(self):\n" + f"    {body}" * 39)
    assert rules.find_long_functions(tmp_path) == [
        "checks/b.py:2 m has 40 lines",
        "tests/a.py:40 long has 40 lines",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "subprocess.run('ls', shell=True)",
        "subprocess.Popen(a, shell=flag)",
        "os.system('ls')",
        "c.run('ls')",
        "asyncio.create_subprocess_shell('ls')",
    ],
)
def test_a_shell_is_found(tmp_path: Path, text: str) -> None:
    write(tmp_path, "runbook/a.py", text)
    assert rules.find_shells(tmp_path) != []


def test_an_argument_list_is_no_shell(tmp_path: Path) -> None:
    write(tmp_path, "runbook/a.py", "subprocess.run(['ls'], shell=False)\nplatform.system\nrun(a)")
    assert rules.find_shells(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "import subprocess",
        "def f():\n    import shutil",
        "import requests",
        "import urllib.request",
        "from google.cloud import run_v2",
        "open('a', 'w')",
        "open('a', mode='ab')",
        "path.open('r+')",
        "path.write_text('a')",
        "path.replace(other)",
        "os.unlink('a')",
        "session.put(url)",
        "session.request('PATCH', url)",
        "session.request(method='DELETE', url=url)",
        "client.update_service(request)",
        "client.create_job(request)",
        "def f():\n    post_json(f'{api}/v2/entries:write', {})",
        "def f():\n    fetch(f'{api}/v2/services', payload={})",
        "S = 'https://www.googleapis.com/auth/cloud-platform'",
    ],
)
def test_a_write_in_checks_is_found(tmp_path: Path, text: str) -> None:
    write(tmp_path, "checks/a.py", text)
    assert rules.find_writes(tmp_path) != []


@pytest.mark.parametrize(
    "text",
    [
        "from urllib.parse import urlsplit",
        "open('a')",
        "path.read_text()",
        "'a-b'.replace('-', '_')",
        "def f():\n    post_json(f'{api}/v2/entries:list', {})",
        "def f():\n    fetch(url)",
        "found.update(other)",
        "S = 'https://www.googleapis.com/auth/cloud-platform.read-only'",
    ],
)
def test_a_read_in_checks_is_not(tmp_path: Path, text: str) -> None:
    write(tmp_path, "checks/a.py", text)
    assert rules.find_writes(tmp_path) == []


def test_one_module_of_checks_alone_may_run_a_program(tmp_path: Path) -> None:
    write(tmp_path / "good", "checks/kubectl.py", "import subprocess")
    assert rules.find_writes(tmp_path / "good") == []
    write(tmp_path / "bad", "checks/kubectl.py", "import shutil")
    write(tmp_path / "bad", "checks/kubernetes.py", "import subprocess")
    assert len(rules.find_writes(tmp_path / "bad")) == 2


def test_a_write_outside_checks_is_not_the_rules_business(tmp_path: Path) -> None:
    write(tmp_path, "runbook/a.py", "import subprocess")
    assert rules.find_writes(tmp_path) == []


@pytest.mark.parametrize("folder", ["work", "root", "tmp", "home/ada", "Users/ada"])
def test_a_path_of_a_machine_is_found(tmp_path: Path, folder: str) -> None:
    path = write(tmp_path, "docs/a.md", f"see\n`/{folder}/project/a.py`\n")
    assert rules.find_machine_paths(tmp_path, [path]) == [f"docs/a.md:2 /{folder}/project"]


@pytest.mark.parametrize("folder", ["work", "root", "tmp"])
def test_a_path_of_the_project_or_of_an_api_is_no_machines(tmp_path: Path, folder: str) -> None:
    text = f"$HOME/{folder}/a https://example.com/{folder}/a docs/{folder}/a /var/lib/prometheus"
    assert rules.find_machine_paths(tmp_path, [write(tmp_path, "a.md", text)]) == []


@pytest.mark.parametrize(
    "lock",
    [
        "a==1\n",
        "a @ https://example.com/a.whl --hash=sha256:00\n",
        "--extra-index-url somewhere\na==1 --hash=sha256:00\n",
        "a==1 \\\n    --hash=sha256:00\nb>=2 \\\n    --hash=sha256:00\n",
    ],
)
def test_a_loose_lock_is_found(lock: str) -> None:
    assert rules.find_lock_faults(lock) != []


def test_a_lock_with_hashes_is_whole() -> None:
    lock = "a==1 ; sys_platform == 'linux' \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
    assert rules.find_lock_faults(lock) == []


def test_a_name_that_one_place_lacks_is_found_both_ways(tmp_path: Path) -> None:
    write(tmp_path, "checks/alerts.yml", "groups: [{rules: [{alert: A}, {alert: B}]}]")
    write(tmp_path, "features/A.feature", "")
    write(tmp_path, "features/C.feature", "")
    write(tmp_path, "docs/alerts/A.md", "")
    write(tmp_path, "docs/alerts/B.md", "")
    assert rules.find_drift(rules.alert_names(tmp_path)) == [
        "B is missing in features",
        "C is missing in checks/alerts.yml",
        "C is missing in docs/alerts",
    ]


def test_a_module_that_no_namespace_lists_is_found(tmp_path: Path) -> None:
    write(tmp_path, "runbook/a.py", "@step(alerts=('A',))\ndef f(c): ...")
    write(tmp_path, "runbook/b.py", "@task\ndef f(c): ...")
    write(tmp_path, "runbook/c.py", "def step(): ...")
    found = rules.find_unlisted_modules(tmp_path, {"runbook.b"})
    assert found == ["runbook/a.py defines tasks and is in no namespace"]


def test_new_files_count_and_ignored_ones_do_not(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, timeout=30, check=True)
    write(tmp_path, ".gitignore", "site/\n")
    write(tmp_path, "site/index.html", "")
    write(tmp_path, "new.py", "")
    assert [path.name for path in tracked_files(tmp_path)] == [".gitignore", "new.py"]
