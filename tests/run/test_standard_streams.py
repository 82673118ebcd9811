"""A program outlives its stderr, its stdout and its terminal, and the run's log has everything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PROGRAM = """
import logging, os, sys, warnings
from absl import logging as absl_logging
from tqdm import tqdm
from vae_gan_jax.config import Config
from vae_gan_jax.run import run_folder, standard_streams

standard_streams.protect()
logging.getLogger().addHandler(absl_logging.get_absl_handler())
run_folder.open_run(Config(run_dir=sys.argv[1]))
for _ in tqdm(range(3000), mininterval=0):
    print("a table", flush=True)
tqdm.write("a message", file=sys.stderr)
print("ö \\udc00", file=sys.stderr)
warnings.warn("a warning of Python")
logging.getLogger("vae_gan_jax.run").warning("a warning of the program")
absl_logging.error("an error of a library")
file = os.open(os.path.join(sys.argv[1], "made.txt"), os.O_CREAT | os.O_WRONLY)
os.write(file, b"whole" if file > 2 else b"a standard stream")
"""


@pytest.mark.parametrize(
    "redirections",
    ["2>/dev/full", ">/dev/full 2>&1", "2>&-", "<&- >&- 2>&-", "2>&1 | head -1 >/dev/null"],
)
def test_nothing_that_is_only_shown_stops_the_work(redirections, tmp_path):
    shell = f'("$@"; echo $? >"$RUN/code") {redirections}'
    if "|" not in redirections:
        shell = f'"$@" {redirections}; echo $? >"$RUN/code"'
    subprocess.run(
        ["bash", "-c", shell, "bash", sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=PROJECT, env=os.environ | {"RUN": str(tmp_path)}, check=True, timeout=60,
        capture_output=True,
    )  # fmt: skip
    assert (tmp_path / "code").read_text() == "0\n"
    assert (tmp_path / "made.txt").read_text() == "whole"
    log = (tmp_path / "log.txt").read_text()
    for message in ("warning of Python", "warning of the program", "error of a library"):
        assert log.count(message) >= 1


def test_a_log_file_without_room_stops_nothing(tmp_path):
    (tmp_path / "log.txt").symlink_to("/dev/full")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "a warning of the program" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_that_goes_away_does_not_end_the_program_or_what_it_starts():
    program = """
import os, signal, subprocess, sys
from vae_gan_jax.run import standard_streams
standard_streams.protect()
os.kill(0, signal.SIGHUP)
child = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGHUP)"]
sys.exit(subprocess.run(child).returncode)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PROJECT, start_new_session=True, check=False, timeout=60)
    assert done.returncode == 0


def test_the_log_of_a_run_has_the_refusal(film, tmp_path):
    command = [
        sys.executable, "-m", "vae_gan_jax.main", "--mode=prepare", f"--film={film}",
        f"--run_dir={tmp_path}", "--width=20", "--height=18", "--hold_out=shots/99",
    ]  # fmt: skip
    shell = '"$@" 2>&-'
    done = subprocess.run(["bash", "-c", shell, "bash", *command], cwd=PROJECT, check=False)
    assert done.returncode == 2
    assert (
        "vae_gan_jax: --hold_out=shots/99 holds out no frame" in (tmp_path / "log.txt").read_text()
    )
