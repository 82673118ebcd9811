"""What run.sh installs, with a program in place of Python that only records its arguments."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PYTHON = """#!/usr/bin/env bash
if [[ "$1" == -c ]]; then exit 0; fi
if [[ "$2" == venv ]]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit; fi
[[ "$*" == *"pip install"* ]] && echo "$*" >>calls
exit "${CODE:-0}"
"""


@pytest.fixture
def install(tmp_path):
    """A function that calls run.sh and returns what it had pip install: the options, or nothing."""
    for name in ("run.sh", "requirements.txt", "requirements.lock", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)

    def install(*arguments, **variables):
        calls = tmp_path / "calls"
        calls.unlink(missing_ok=True)
        environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHON": str(tmp_path / "python"),
            "PLATFORM": "cpu",
        }
        done = subprocess.run(
            ["bash", tmp_path / "run.sh", *arguments], env=environment | variables, cwd=tmp_path,
            capture_output=True, text=True,
        )  # fmt: skip
        lines = calls.read_text().replace(f"{tmp_path}{os.sep}", "") if calls.exists() else ""
        return done.returncode, lines.replace(str(tmp_path), "PROJECT").split(" ", 5)[-1].strip()

    return install


def test_versions_are_those_of_the_lock_unless_it_is_switched_off(install):
    assert install() == (0, "-c requirements.lock -r requirements.txt")
    assert install() == (0, "")
    assert install(LOCKED="0") == (0, "-r requirements.txt")


def test_tools_for_tests_and_extras_are_installed_where_they_are_asked_for(install):
    both = "-c requirements.lock -r requirements.txt"
    assert install("demo", EXTRAS="cloud") == (0, f"{both} -e PROJECT[cloud]")
    assert install("demo", PLATFORM="cuda13") == (0, f"{both} -e PROJECT[cuda]")
    assert install("test") == (0, f"{both} -e PROJECT[dev]")
    assert install("test", PLATFORM="tpu", EXTRAS="cloud")[1].endswith("-e PROJECT[tpu,cloud,dev]")


def test_more_than_is_needed_is_not_installed_again(install):
    assert install("test")[1]
    assert install("demo") == (0, "")
    assert install("test") == (0, "")


def test_an_interrupted_installation_starts_again(install):
    assert install(CODE="1")[0] == 1
    assert install() == (0, "-c requirements.lock -r requirements.txt")


def test_changed_requirements_are_installed(install, tmp_path):
    install()
    with (tmp_path / "requirements.txt").open("a") as file:
        file.write("six\n")
    assert install() == (0, "-c requirements.lock -r requirements.txt")


def test_an_unknown_platform_is_refused(install):
    assert install(PLATFORM="metal") == (2, "")
