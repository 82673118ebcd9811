"""Commands drawn at random: each ends soon with exit code 0, or with 2 and one sentence."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import runs
from vae_gan_jax import modes
from vae_gan_jax.config import FIELDS, to_text
from vae_gan_jax.run import run_folder

SECONDS = 120.0  # a command that takes longer hangs
OTHER_FLAGS = ("num_processes", "process_id", "process_timeout", "scratch_dir", "colour")
# Flags whose every value is accepted or refused, but which make a valid command take long.
SMALL = {
    "width": "20", "height": "18", "filters": "2", "z_dim": "3", "batch_size": "4",
    "noise_schedule": "0.5", "sample_every": "0", "seconds": "0.2",
}  # fmt: skip
VALUES = [
    *("", "0", "1", "-1", "2", "0.5", "1e-320", "1e308", "1e99999999", "inf", "nan", "9" * 5000),
    *(
        "99999999999999999",
        "2147483648",
        "1000000000",
        "²",
        "٣",
        "1_0",
        "0x10",
        " 1",
        "abc",
        "true",
    ),
    *("é.mp4", "a\nb", "l\udce9.mp4", "\u2028", "🎞", "x" * 300, "x/" * 3000, "%s{}", "'\"\\", "*"),
    *(".", "..", "/dev/null", "/dev/full", "/proc/self/mem", "missing/x", "film.mp4", "text.txt"),
    *("folder", "-", "--", "a,b", ",", "gs://", "s3://x", "://", "1:2:3", "0-end", "5-1", "16:9"),
    *("1x1", "999999x999999", "1/0", "24000/1001", "1e5000", "film.mp4,film.mp4", "x.mkv", "x.txt"),
]
TEXTS = st.one_of(st.sampled_from(VALUES), st.text(max_size=8).map(lambda t: t.replace("\0", "")))


def values(name: str) -> st.SearchStrategy[str]:
    """Texts for a flag: its choices, its default, and hostile ones."""
    if name not in FIELDS:
        return TEXTS
    field = FIELDS[name]
    valid = [to_text(field, field.default), *field.metadata["choices"], SMALL.get(name, "1")]
    return st.one_of(TEXTS, st.sampled_from(valid))


FLAGS = st.sampled_from([*FIELDS, *OTHER_FLAGS]).flatmap(
    lambda name: st.tuples(st.just(name), values(name))
)
COMMANDS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from([*modes.MODES, "dream"]),
        "run": st.sampled_from(["new", "trained", "trained", "damaged", "file", "none"]),
        "film": st.sampled_from(["film.mp4", "film.mp4", "", "text.txt", "missing.mp4"]),
        "flags": st.lists(FLAGS, min_size=1, max_size=3),
        "flagfile": st.sampled_from([False, False, False, True]),
        "nul": st.sampled_from([False, False, True]),
    }
)


@pytest.fixture(scope="module")
def run_command(program, film, small, frames_THWC, tmp_path_factory):
    """A function that runs a command; it returns the exit code and stderr."""
    folder = tmp_path_factory.mktemp("hostile")
    original = folder / "original"
    original.mkdir()
    runs.make(original / "trained", small, "film.mp4", frames_THWC)
    run_folder.close_run()
    shutil.copy(film, original / "film.mp4")
    (original / "text.txt").write_text("no film")
    (original / "file").write_text("no run")
    (original / "folder").mkdir()
    shutil.copytree(original / "trained", original / "damaged")
    for number, path in enumerate(sorted((original / "damaged").rglob("*"))):
        if path.is_file():
            content = path.read_bytes()
            path.write_bytes(os.urandom(50) if number % 2 else content[: len(content) // 2])

    def run(command):
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(original, work)
        argv = _arguments(command, work)
        return *program(argv, work, SECONDS), argv

    return run


def _arguments(command, work: Path) -> list[str]:
    chosen = dict(SMALL) if command["run"] in ("new", "none") else {"seconds": "0.2"}
    if command["mode"] not in ("all", "prepare", "train", "explore", "benchmark"):
        del chosen["seconds"]
    chosen |= {"film": command["film"]} if command["film"] else {}
    chosen |= {"run_dir": command["run"]} if command["run"] != "none" else {}
    chosen |= {"mode": command["mode"]} | dict(command["flags"])
    arguments = [f"--{name}={value}" for name, value in chosen.items()]
    if not command["flagfile"]:
        return arguments
    text = "\n".join(arguments) + ("\0" if command["nul"] else "")
    (work / "all.flags").write_bytes(os.fsencode(text))
    return ["--flagfile=all.flags"]


def _check(run_command, command) -> None:
    code, stderr, argv = run_command(command)
    shown = f"{argv} {command} gave {code}:\n{stderr}"
    assert code in (0, 2), shown
    assert "Traceback" not in stderr, shown
    if code == 2:
        (sentence,) = [line for line in stderr.splitlines() if line.startswith("vae_gan_jax: ")]
        assert stderr.rstrip("\n").endswith(sentence), shown
        assert len(sentence) < 4000, shown


def _hostile(examples: int):
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(
        max_examples=examples, deadline=None, phases=[Phase.generate], database=None,
        suppress_health_check=checks,
    )  # fmt: skip


@_hostile(8)
@given(COMMANDS)
def test_a_few_hostile_commands_end_in_a_sentence(run_command, command):
    _check(run_command, command)


@pytest.mark.slow
@_hostile(200)
@given(COMMANDS)
def test_two_hundred_hostile_commands_end_in_a_sentence(run_command, command):
    _check(run_command, command)
