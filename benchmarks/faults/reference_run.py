"""An undisturbed run on a small film, and the comparison of other runs with it."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import jax
import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.training import checkpoint, train_state

PROJECT = Path(__file__).parents[2]
FILM_FRAMES, FILM_SECONDS = 240, 10
NOISE_SCHEDULE = (0.5, 0.1)
SETTINGS = {"width": 20, "height": 18, "filters": 2, "z_dim": 3, "batch_size": 4}
# The program, which saves its state at almost every step.
PROGRAM = """
from vae_gan_jax import main
from vae_gan_jax.training import loop
loop.CHECKPOINT_SECONDS = 0.12
main.start()
"""
# Name of a stage in a run's life: the mode that leads to it.
STAGE_MODES = {"prepared": "prepare", "trained": "train"}
# The content of checkpoints is compared instead of their bytes; the others contain times.
NOT_COMPARED = ("checkpoints", "log.txt", "tensorboard", "provenance", "report.html", "flags.txt")
END_TIMEOUT_SECONDS = 120.0

# What a kind of fault yields: the fault's name, and what went wrong (nothing if survived).
Trials = Iterator[tuple[str, list[str]]]


class ReferenceRun:
    """A small film and an undisturbed run on it.

    Args:
      folder: holds the film and all runs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.film = folder / "film.mp4"
        subprocess.run(
            [
                imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error",
                "-f", "lavfi", "-i", f"testsrc2=size=40x36:rate={FILM_FRAMES // FILM_SECONDS}",
                "-f", "lavfi", "-i", "sine=frequency=330",
                "-t", str(FILM_SECONDS), "-pix_fmt", "yuv420p", str(self.film),
            ],
            check=True,
        )  # fmt: skip
        self._stages: dict[str, Path] = {}
        self._run_count = 0
        run = self.new_run()
        for stage, mode in STAGE_MODES.items():
            assert self.finish(run, f"--mode={mode}") == []
            self._stages[stage] = shutil.copytree(run, folder / stage)
        start = time.monotonic()
        assert self.finish(run) == []
        # The rest took about half the time of a whole run.
        self.whole_run_seconds = 2 * (time.monotonic() - start)
        self._contents = run_contents(run)

    def new_run(self, stage: str | None = None, folder: Path | None = None) -> Path:
        """The path of a new run, with the contents of a stage if one is given."""
        self._run_count += 1
        run = (folder or self.folder) / f"run_{self._run_count}"
        return shutil.copytree(self._stages[stage], run) if stage else run

    def start(self, run: Path, *flags: str) -> subprocess.Popen:
        """Starts the program on a run; its output goes to ``output`` beside the run folders."""
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        schedule = f"--noise_schedule={','.join(map(str, NOISE_SCHEDULE))}"
        with self._output.open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-c", PROGRAM, f"--film={self.film}",
                 f"--run_dir={run}", *settings, schedule, "--sample_every=25", *flags],
                cwd=PROJECT, stdout=output, stderr=output,
            )  # fmt: skip

    @property
    def _output(self) -> Path:
        return self.folder / "output"

    def wait_for_exit(self, program: subprocess.Popen, exit_codes: set[int]) -> list[str]:
        """Waits until the program ends; returns what is wrong with how it ended."""
        try:
            code = program.wait(END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
            return ["it did not end"]
        output = self._output.read_text()
        if "Traceback" in output:
            return [f"a traceback: {output[:4000]}"]
        return [] if code in exit_codes else [f"exit code {code}: {output[-500:]}"]

    def finish(self, run: Path, *flags: str) -> list[str]:
        """Runs the command to its end; returns what is wrong with how it ended."""
        return self.wait_for_exit(self.start(run, *flags), {0})

    def finish_and_compare(self, run: Path) -> list[str]:
        """Finishes a run and returns what differs from the undisturbed one."""
        if problems := self.finish(run):
            return problems
        contents = run_contents(run)
        names = sorted(contents.keys() | self._contents.keys())
        return [
            f"{name} differs" for name in names if contents.get(name) != self._contents.get(name)
        ]


def run_contents(run: Path) -> dict[str, str]:
    """A digest of everything that a finished run produced, by name."""
    contents = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.is_dir() or name.split("/")[0] in NOT_COMPARED:
            continue
        if name == "metrics.jsonl":
            contents[name] = _metrics_without_times(path)
        elif path.suffix == ".mp4":
            contents[name] = _frame_and_sound_digests(path)
        else:
            contents[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    with checkpoint.Checkpoints(run) as checkpoints:
        contents["state"] = state_digest(checkpoints.restore(blank_state()))
    # Only the checkpoints of epochs: when the others were written depends on the clock.
    steps_per_epoch = FILM_FRAMES // SETTINGS["batch_size"]
    folders = {path.name for path in (run / "checkpoints").iterdir()}
    contents["checkpoints"] = json.dumps(
        sorted(name for name in folders if not name.isdecimal() or int(name) % steps_per_epoch == 0)
    )
    return contents


def _metrics_without_times(path: Path) -> str:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return json.dumps([{k: v for k, v in line.items() if "time/" not in k} for line in lines])


def _frame_and_sound_digests(film: Path) -> str:
    return subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(film), "-f", "framemd5", "-"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def config() -> Config:
    """The settings of all runs."""
    return Config(noise_schedule=NOISE_SCHEDULE, **SETTINGS)


def blank_state() -> train_state.TrainState:
    """A state of the right shapes, to restore checkpoints into."""
    return train_state.create(config(), jax.random.key(0))


def state_digest(tree) -> str:
    """SHA-256 of all arrays of a state."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.device_get(tree)):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def remove_if_survived(run: Path, problems: list[str]) -> None:
    """Deletes a run, unless something went wrong that somebody may want to look at."""
    if not problems:
        shutil.rmtree(run)
