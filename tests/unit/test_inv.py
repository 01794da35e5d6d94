"""./inv sets up what is missing, once, and then costs next to nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
SET_UP_DEADLINE_S = 120
FAST_DEADLINE_S = 30
MAX_OVERHEAD_S = 0.2
PAIRS = 9
TASKS = "from invoke import task\n\n\n@task\ndef here(c, words=''):\n    print(words)\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a small checkout: the real inv, a lock of invoke alone, one task."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    shutil.copy(REPOSITORY / "inv", folder)
    lock = (REPOSITORY / "requirements.lock").read_text()
    [entry] = [part for part in re.split(r"\n(?=\S)", lock) if part.startswith("invoke==")]
    (folder / "requirements.lock").write_text(entry + "\n")
    (folder / "tasks.py").write_text(TASKS)
    return folder


@pytest.fixture
def ready(checkout: Path) -> Path:
    """Return a checkout whose set-up is complete: this suite's own programs, stamped."""
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "invoke"):
        (programs / name).symlink_to(PROGRAMS / name)
    stamp = f"{checkout}\n{(checkout / 'requirements.lock').read_text()}"
    (checkout / ".venv" / ".set-up").write_text(stamp)
    return checkout


def environment(folder: Path, path: str | None = None) -> dict[str, str]:
    """Return this machine's environment with an empty HOME, and uv on PATH beside the rest."""
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    path = path or f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"HOME": str(home), "PATH": path}


def start(folder: Path, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    """Start ./inv from another folder, in a process group of its own."""
    return subprocess.Popen(
        [str(folder / "inv"), *arguments],
        cwd=folder.parent,
        env=environment(folder, settings.get("path")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(
    folder: Path, *arguments: str, deadline_s: float = SET_UP_DEADLINE_S, **settings: str
) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of ./inv."""
    started = start(folder, *arguments, **settings)
    out, err = started.communicate(timeout=deadline_s)
    return started.returncode, out, err


def is_stamped(folder: Path) -> bool:
    return (folder / ".venv" / ".set-up").exists()


def few_programs(folder: Path, *names: str, **scripts: str) -> str:
    """Return a PATH on which there are only the programs `names`, and these scripts."""
    programs = folder.parent / "programs"
    programs.mkdir()
    for name in names:
        found = shutil.which(name)
        assert found, name
        (programs / name).symlink_to(found)
    for name, text in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    return str(programs)


def test_it_acts_in_its_own_folder_and_passes_arguments_on_exactly(ready: Path) -> None:
    code, out, err = run(ready, "here", "--words=a  b 'c' $HOME;", deadline_s=FAST_DEADLINE_S)
    assert (code, out, err) == (0, "a  b 'c' $HOME;\n", "")


def test_alone_it_lists_the_tasks(ready: Path) -> None:
    code, out, _ = run(ready, deadline_s=FAST_DEADLINE_S)
    assert code == 0
    assert "here" in out


def test_it_hands_the_exit_code_on(ready: Path) -> None:
    (ready / "tasks.py").write_text(
        "from invoke import Exit, task\n\n\n@task\ndef refuse(c):\n    raise Exit(code=4)\n"
    )
    assert run(ready, "refuse", deadline_s=FAST_DEADLINE_S)[0] == 4


def test_it_follows_a_link_to_itself(ready: Path) -> None:
    link = ready.parent / "linked"
    link.mkdir()
    (link / "inv").symlink_to(ready / "inv")
    assert "here" in run(link, deadline_s=FAST_DEADLINE_S)[1]


def test_a_second_run_costs_less_than_a_fifth_of_a_second_over_invoke(ready: Path) -> None:
    def seconds_of(program: Path) -> float:
        began = time.perf_counter()
        subprocess.run(
            [program, "--version"],
            env=environment(ready),
            stdout=subprocess.DEVNULL,
            timeout=FAST_DEADLINE_S,
            check=True,
        )
        return time.perf_counter() - began

    pairs = [
        (seconds_of(ready / "inv"), seconds_of(ready / ".venv" / "bin" / "invoke"))
        for _ in range(PAIRS)
    ]
    assert median(a for a, _ in pairs) - median(b for _, b in pairs) < MAX_OVERHEAD_S


def test_a_fresh_checkout_is_set_up_once_by_two_at_a_time(checkout: Path) -> None:
    runs = [start(checkout, "here", "--words=hello") for _ in range(2)]
    done = [one.communicate(timeout=SET_UP_DEADLINE_S) for one in runs]
    assert [one.returncode for one in runs] == [0, 0], done
    assert [out for out, _ in done] == ["hello\n", "hello\n"]
    told = "".join(err for _, err in done)
    assert told.count("making .venv") == 1
    assert told.count("set up.") == 1
    compiled = (checkout / ".venv").rglob("invoke/__pycache__/tasks.*.pyc")
    assert list(compiled), "the packages are not compiled"


def test_a_killed_set_up_does_not_count_and_blocks_nobody(checkout: Path) -> None:
    first = start(checkout, "here")
    wait_until(
        (checkout / ".venv").exists, deadline_s=SET_UP_DEADLINE_S, what="the set-up has begun"
    )
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=FAST_DEADLINE_S)
    assert not is_stamped(checkout)
    code, out, err = run(checkout, "here", "--words=again")
    assert (code, out) == (0, "again\n"), err
    assert is_stamped(checkout)


@pytest.fixture(params=["lock", "copy"])
def outdated(request: pytest.FixtureRequest, ready: Path) -> Iterator[Path]:
    """Yield a checkout whose set-up belongs to another lock, or to another folder."""
    if request.param == "lock":
        with (ready / "requirements.lock").open("a") as lock:
            lock.write("# changed\n")
        yield ready
    else:
        yield Path(shutil.copytree(ready, ready.parent / "copy", symlinks=True))


def test_another_lock_or_folder_is_set_up_anew(outdated: Path) -> None:
    code, out, err = run(outdated, "here", "--words=new")
    assert (code, out) == (0, "new\n")
    assert "making .venv" in err
    assert not (outdated / ".venv" / "bin" / "invoke").is_symlink()


def test_an_old_python_is_told_in_one_line(checkout: Path) -> None:
    old = '[ "$1" = --version ] && echo Python 3.9.2 || exit 1'
    path = few_programs(checkout, "cat", "cmp", python3=old)
    code, out, err = run(checkout, path=path)
    assert (code, out) == (1, "")
    assert err == (
        "inv: Python 3.11 or newer is needed, and Python 3.9.2 is what python3 runs here.\n"
    )


def test_a_missing_python_is_told_in_one_line(checkout: Path) -> None:
    code, _, err = run(checkout, path=few_programs(checkout, "cat", "cmp"))
    assert code == 1
    assert err == "inv: python3 is missing: install Python 3.11 or newer.\n"


def test_packages_that_cannot_be_had_leave_no_set_up_behind(checkout: Path) -> None:
    lock = checkout / "requirements.lock"
    lock.write_text(re.sub("sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", lock.read_text()))
    code, _, err = run(checkout, "here")
    assert code == 1
    assert err.splitlines()[-1].startswith("inv: the packages of requirements.lock could not")
    assert not is_stamped(checkout)


def test_without_root_a_missing_program_is_told_in_one_line(ready: Path) -> None:
    path = few_programs(ready, "cat", "cmp", "tr", "apt-get", "curl", id="echo 1000")
    code, out, err = run(ready, "demo", path=path)
    assert (code, out) == (1, "")
    [line] = err.splitlines()
    assert line.startswith("inv: please run: sudo apt-get install --no-install-recommends ")
    assert "prometheus prometheus-alertmanager" in line
    assert "chromium" not in line


def test_help_installs_nothing(ready: Path) -> None:
    path = few_programs(ready, "cat", "cmp", "tr", "apt-get", id="echo 1000")
    assert run(ready, "--help", "here", path=path, deadline_s=FAST_DEADLINE_S)[0] == 0
