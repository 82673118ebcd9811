"""What a run survives: faults on purpose, against the same run left alone.

    python -m benchmarks.faults [KIND...] [--scale=1.0]

A run survives a fault if it ends as it should (with the signal's number, or one sentence and exit
code 2), and the same command, once the fault is mended, ends with what the undisturbed run has, to
the bit: parameters, moments and statistics, metrics but for times, grids of samples, every frame
and the sound of the film, and no file more or less.

Full and read-only disks are small ones in memory, which takes the rights to mount them.
"""

import argparse
import contextlib
import hashlib
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.store import frame_store
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.model import autoencoder, objectives
from vae_gan_jax.training import checkpoint, checkpoint_place, loop, train_state, train_step

PROJECT = Path(__file__).parent.parent
FRAMES, SECONDS = 240, 10
SCHEDULE = (0.5, 0.1)
SETTINGS = {"width": 20, "height": 18, "filters": 2, "z_dim": 3, "batch_size": 4}
OFTEN = ["--sample_every=25", "--checkpoint_every_minutes=0.002"]
STAGES = ("nothing", "prepared", "trained")  # what is in a run folder before a fault
MODE_TO = {"prepared": "prepare", "trained": "train"}  # the modes that lead there
NETWORKS = ("encoder", "decoder", "discriminator")
# Checkpoints are compared by their content; the others tell times.
NOT_COMPARED = ("checkpoints", "log.txt", "tensorboard", "report.html")
PATIENCE = 120.0  # seconds in which a program must end by itself


class Proving:
    """A small film, and a run on it left alone, for others to be compared with.

    Args:
      folder: where all of it goes.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.film = folder / "film.mp4"
        subprocess.run(
            [
                imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error",
                "-f", "lavfi", "-i", f"testsrc2=size=40x36:rate={FRAMES // SECONDS}",
                "-f", "lavfi", "-i", "sine=frequency=330",
                "-t", str(SECONDS), "-pix_fmt", "yuv420p", str(self.film),
            ],
            check=True,
        )  # fmt: skip
        self._stages, self._number = {}, 0
        run = self.new_run("nothing")
        for stage, mode in MODE_TO.items():
            assert self.finish(run, f"--mode={mode}") == []
            self._stages[stage] = shutil.copytree(run, folder / stage)
        begun = time.monotonic()
        assert self.finish(run) == []
        self.whole_seconds = 2 * (time.monotonic() - begun)  # about what a run takes from the start
        self.unbroken = _contents(run)

    def new_run(self, stage: str, where: Path | None = None) -> Path:
        """A run folder in a stage of its life."""
        self._number += 1
        run = (where or self.folder) / f"run_{self._number}"
        return run if stage == "nothing" else shutil.copytree(self._stages[stage], run)

    def start(self, run: Path, *flags: str) -> subprocess.Popen:
        """The program, with its messages in ``output`` beside the run folders."""
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        schedule = f"--noise_schedule={','.join(map(str, SCHEDULE))}"
        with self._output.open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "vae_gan_jax.main", f"--film={self.film}",
                 f"--run_dir={run}", *settings, schedule, *OFTEN, *flags],
                cwd=PROJECT, stdout=output, stderr=output,
            )  # fmt: skip

    @property
    def _output(self) -> Path:
        return self.folder / "output"

    def wrong_end(self, program: subprocess.Popen, codes: set[int]) -> list[str]:
        """What is wrong with how the program ended: nothing, or one thing."""
        try:
            code = program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
            return ["it did not end"]
        output = self._output.read_text()
        if "Traceback" in output:
            return [f"a traceback: {output[:4000]}"]
        return [] if code in codes else [f"exit code {code}: {output[-500:]}"]

    def finish(self, run: Path, *flags: str) -> list[str]:
        """Runs the command to its end; returns what is wrong with that."""
        return self.wrong_end(self.start(run, *flags), {0})

    def differences(self, run: Path, signalled: bool = False) -> list[str]:
        """What a finished run has that the undisturbed one has not, or has otherwise.

        Args:
          run: its folder.
          signalled: a signal ends a line of metrics early, so that only the state, pictures and
            films are the same, and of the metrics the steps.
        """
        found, expected = _contents(run), dict(self.unbroken)
        if signalled:
            steps = [line["step"] for line in json.loads(found.pop("metrics"))]
            wanted = {line["step"] for line in json.loads(expected.pop("metrics"))}
            if steps != sorted(set(steps)) or not wanted <= set(steps):
                return ["metrics"]
        names = sorted(found.keys() | expected.keys())
        return [f"other {name}" for name in names if found.get(name) != expected.get(name)]


def _contents(run: Path) -> dict[str, str]:
    """A digest of all that a finished run made, by name."""
    contents = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.is_dir() or name.split("/")[0] in NOT_COMPARED:
            continue
        if name == "metrics.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            untimed = [{k: v for k, v in line.items() if "time/" not in k} for line in lines]
            contents["metrics"] = json.dumps(untimed)
        elif path.suffix == ".mp4":
            contents[name] = _decoded(path)
        elif path.name not in ("flags.txt", "reconstructed.json"):  # they name the folder
            contents[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    with checkpoint.Checkpoints(run) as checkpoints:
        state = checkpoints.restore(_blank_state())
    contents["state"] = digest(state)
    # Which checkpoints stand between those of the epochs depends on the clock.
    folders = {path.name for path in (run / "checkpoints").iterdir()}
    steps_per_epoch = FRAMES // SETTINGS["batch_size"]
    whole = [name for name in folders if not name.isdecimal() or int(name) % steps_per_epoch == 0]
    contents["checkpoints"] = json.dumps(sorted(whole))
    return contents


def _decoded(film: Path) -> str:
    """A digest of a film's pictures and sound, each with its time."""
    return subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(film), "-f", "framemd5", "-"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def _config() -> Config:
    return Config(noise_schedule=SCHEDULE, **SETTINGS)


def _blank_state() -> train_state.TrainState:
    return train_state.create(_config(), jax.random.key(0))


def digest(tree) -> str:
    """Of the arrays of a state, to the bit."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.device_get(tree)):
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()


# Moments: whether a run folder shows that it is there now.
Moment = Callable[[Path], bool]


def _has(pattern: str) -> Moment:
    return lambda run: any(run.glob(pattern))


MOMENTS: dict[str, tuple[str, Moment]] = {  # the stage to start from, and when it is there
    "preparation": ("nothing", _has("frames.partial/*")),
    "compilation": ("prepared", _has("metrics.jsonl")),
    "training": ("prepared", lambda run: bool(_text(run / "metrics.jsonl"))),
    "a save": ("prepared", _has("checkpoints/*.orbax-checkpoint-tmp*")),
    "reconstruction": ("trained", _has("films/.*.segments")),
    "measuring": ("trained", _has("films/reconstructed.json")),
}


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _wait_for(moment: Moment, run: Path, program: subprocess.Popen, latest: float) -> bool:
    """Waits for the moment and up to ``latest`` seconds on; whether the program still runs."""
    while program.poll() is None and not moment(run):
        time.sleep(0.0005)
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(random.uniform(0, latest))
    return program.poll() is None


def kills(
    proving: Proving, times: int, moments: dict[str, tuple[str, Moment]] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """``kill -9``, in turn in each phase and at any moment, twice on the way to the end."""
    moments = moments or {"any moment": ("nothing", lambda run: True)} | MOMENTS
    latest = {"any moment": proving.whole_seconds, "training": 1.0, "compilation": 2.0}
    done = 0
    while done < times:
        for name, (stage, moment) in moments.items():
            run, wrong, dead = proving.new_run(stage), [], 0
            while dead < min(2, times - done):
                program = proving.start(run)
                if _wait_for(moment, run, program, latest.get(name, 0.05)):
                    program.kill()
                    program.wait()
                    dead += 1
                else:  # it was done before
                    wrong += proving.wrong_end(program, {0})
                    break
            done += dead
            wrong += proving.finish(run) or proving.differences(run)
            for _ in range(dead):
                yield (
                    f"kill -9 in {name}" if name != "any moment" else "kill -9 at any moment",
                    wrong,
                )
            _tidy(run, wrong)


def signals(proving: Proving, times: int) -> Iterator[tuple[str, list[str]]]:
    """SIGTERM and SIGINT in every phase: the program ends with 128 + signal by itself."""
    for number in range(times):
        for name, (stage, moment) in MOMENTS.items():
            if name == "a save":
                continue
            sent = (signal.SIGTERM, signal.SIGINT)[number % 2]
            run, wrong = proving.new_run(stage), []
            program = proving.start(run)
            if _wait_for(moment, run, program, 0.1):
                program.send_signal(sent)
                wrong += proving.wrong_end(program, {128 + sent, 0})
            wrong += proving.finish(run) or proving.differences(run, signalled=True)
            yield f"{sent.name} in {name}", wrong
            _tidy(run, wrong)


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own, in memory."""
    disk = Path(tempfile.mkdtemp(dir=folder))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def full_disks(proving: Proving, times: int) -> Iterator[tuple[str, list[str]]]:
    """Others fill the disk up, to the last byte or nearly, and later make room again."""
    cases = {
        "preparation": (0.0, 0),
        "training (saving, samples, metrics)": (3.0, 500_000),
        "reconstruction": (0.2, 100_000),
    }
    for _ in range(times):
        for name, (latest, most) in cases.items():
            stage, moment = MOMENTS[name.split()[0]]
            with _small_disk(proving.folder) as disk:
                run, filler = proving.new_run(stage, disk), disk / "filler"
                filler.touch()
                program = proving.start(run)
                if _wait_for(moment, run, program, latest):
                    _fill(filler, random.randrange(most) if most else 0)
                wrong = proving.wrong_end(program, {0, 2})
                filler.unlink()
                wrong += proving.finish(run) or proving.differences(run)
                yield f"full disk in {name}", wrong


def _fill(filler: Path, room: int) -> None:
    """Leaves so many bytes of a disk."""
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while (count := min(1 << 20, shutil.disk_usage(filler.parent).free - room)) > 0:
            file.write(bytes(count))


def folders(proving: Proving, times: int) -> Iterator[tuple[str, list[str]]]:
    """A run folder that is deleted, or moved away for a while; a disk that is read only."""
    moments = {name: MOMENTS[name] for name in ("preparation", "training", "reconstruction")}
    for _ in range(times):
        for name, (stage, moment) in moments.items():
            run, away = proving.new_run(stage), proving.folder / "away"
            program = proving.start(run)
            wrong = []
            if _wait_for(moment, run, program, 0.02):
                run.rename(away)
                wrong += proving.wrong_end(program, {0, 2})
                shutil.rmtree(run, ignore_errors=True)
                away.rename(run)
            wrong += proving.finish(run) or proving.differences(run)
            yield f"run folder moved away in {name}", wrong
            _tidy(run, wrong)
        for name, (stage, moment) in moments.items():
            run, wrong = proving.new_run(stage), []
            program = proving.start(run)
            if _wait_for(moment, run, program, 0.02):
                shutil.rmtree(run, ignore_errors=True)
            wrong += proving.wrong_end(program, {0, 2})
            if not wrong:  # what was deleted begins anew
                wrong += proving.finish(run) or proving.differences(run)
            yield f"run folder deleted in {name}", wrong
            _tidy(run, wrong)
        for name, (stage, _) in moments.items():
            with _small_disk(proving.folder) as disk:
                run = proving.new_run(stage, disk)
                subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
                wrong = proving.wrong_end(proving.start(run), {2})
                subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
                wrong += proving.finish(run) or proving.differences(run)
                yield f"read-only disk in {name}", wrong


def damages(proving: Proving, times: int) -> Iterator[tuple[str, list[str]]]:
    """A bit flipped, an end cut off, a file deleted, over all files of a checkpoint.

    Survived means: told of, and the one before restored; or the state restored to the bit.
    """
    trained = proving.new_run("trained")
    newest, older = checkpoint.steps(trained)[-1:-3:-1]
    blank = _blank_state()
    with checkpoint.Checkpoints(trained) as checkpoints:
        sound = {step: digest(checkpoints.restore(blank, step)) for step in (newest, older)}
    folder = trained / "checkpoints" / str(newest)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    faults = {
        "one bit flipped": _flip,
        "cut short": lambda path: os.truncate(path, random.randrange(max(1, path.stat().st_size))),
        "deleted": lambda path: path.unlink(),
    }
    told = _Told()
    checkpoint.logger.addHandler(told)
    for number in range(times):
        name = list(faults)[number % len(faults)]
        file = files[number // len(faults) % len(files)]
        run = proving.folder / "damaged"
        shutil.copytree(trained, run)
        faults[name](run / "checkpoints" / str(newest) / file)
        told.messages.clear()
        with checkpoint.Checkpoints(run) as checkpoints:
            found = digest(checkpoints.restore(blank))
        aside = (run / "checkpoints" / f"{newest}{checkpoint_place.ASIDE}").is_dir()
        seen = bool(told.messages) and str(file) in told.messages[0] and aside
        survived = found == sound[older] if seen else found == sound[newest]
        yield f"file of a checkpoint: {name}", [] if survived else [f"silent: {file}"]
        shutil.rmtree(run)
    checkpoint.logger.removeHandler(told)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


class _Told(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self):
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def not_numbers(proving: Proving, times: int) -> Iterator[tuple[str, list[str]]]:
    """NaN in what a step works with: the run ends with finite numbers and has told of it."""
    store = frame_store.open_store(proving.new_run("prepared") / "frames")
    told, package = _Told(), logging.getLogger("vae_gan_jax")
    package.addHandler(told)
    package.propagate = False
    for _ in range(times):
        for name, poison in POISONS.items():
            run = proving.new_run("nothing")
            run.mkdir()
            told.messages.clear()
            at = random.randrange(1, len(SCHEDULE) * FRAMES // SETTINGS["batch_size"])
            with _step_replaced(at, poison), _quiet():
                try:
                    state, wrong = loop.train(_config(), TrainingFrames(store.frames_THWC), run), []
                except InputError as error:
                    wrong = [str(error)]
            if not wrong and not all(bool(jnp.isfinite(leaf).all()) for leaf in _numbers(state)):
                wrong.append("the result is not finite")
            if f"at step {at + 1} " not in "\n".join(told.messages):
                wrong.append(f"nothing was said of step {at + 1}")
            yield f"NaN in {name}", wrong
            _tidy(run, wrong)


def _numbers(state):
    return jax.tree.leaves((state.params, state.opt_state, state.batch_stats))


def _in_parameters(network: str) -> Callable:
    def step(state, *arguments):
        broken = jax.tree.map(lambda leaf: leaf * jnp.nan, state.params[network])
        return ONE_STEP(state.replace(params=state.params | {network: broken}), *arguments)

    return step


def _through(module, name: str, spoil: Callable) -> Callable:
    """A step compiled with the value of one function of the project spoilt."""

    def step(state, frames_BHWC, key, noise_std, config):
        function = getattr(module, name)
        setattr(module, name, lambda *given, **named: spoil(function(*given, **named), *given))
        try:
            spoilt = partial(ONE_STEP.__wrapped__, config=config)
            return jax.jit(spoilt)(state, frames_BHWC, key, noise_std)
        finally:
            setattr(module, name, function)

    return step


def _spoil_gradient(value, argument, *_):
    """The value as it is, with a gradient that is no number: the root's at 0, times 0."""
    return value + jnp.sqrt(0 * argument.sum())


ONE_STEP = train_step.train_step
POISONS = {
    **{f"the {network}'s parameters": _in_parameters(network) for network in NETWORKS},
    "the frames": _through(autoencoder, "from_frames", lambda x_BHWC, *_: x_BHWC * jnp.nan),
    "the encoder's gradient": _through(objectives, "kl_divergence", _spoil_gradient),
    "the discriminator's gradient": _through(objectives, "adversarial", _spoil_gradient),
}


@contextlib.contextmanager
def _step_replaced(at: int, poison: Callable) -> Iterator[None]:
    """One step of the training is another, once."""
    poisons = [poison]

    def step(state, *arguments):
        with jax.transfer_guard("allow"):
            now = poisons.pop() if poisons and int(state.step) == at else ONE_STEP
            return now(state, *arguments)

    train_step.train_step = step
    try:
        yield
    finally:
        train_step.train_step = ONE_STEP


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def _tidy(run: Path, wrong: list[str]) -> None:
    """What went wrong stays, to be looked at."""
    if not wrong:
        shutil.rmtree(run)


# What is done, and how often at a scale of 1: kills in all, the others in each of their phases.
KINDS = {
    "kills": (kills, 100),
    "signals": (signals, 4),
    "damages": (damages, 200),
    "not_numbers": (not_numbers, 4),
    "folders": (folders, 2),
    "full_disks": (full_disks, 6),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all")
    parser.add_argument("--scale", type=float, default=1.0, help="of how often each is tried")
    arguments = parser.parse_args()
    # Tiny networks spend their time in the compiler.
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    jax.config.update("jax_disable_most_optimizations", True)
    folder = Path(tempfile.mkdtemp(prefix="faults_"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    proving = Proving(folder)
    tried, survived = Counter(), Counter()
    for name in arguments.kinds or KINDS:
        fault, times = KINDS[name]
        for what, wrong in tqdm(fault(proving, max(1, round(times * arguments.scale))), desc=name):
            tried[what] += 1
            survived[what] += not wrong
            for sentence in wrong:
                tqdm.write(f"{what}: {sentence}")
    print("| fault | tried | survived | lost |\n|---|---|---|---|")
    for what in tried:
        print(f"| {what} | {tried[what]} | {survived[what]} | {tried[what] - survived[what]} |")
    if survived != tried:
        print(f"what was lost lies in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
