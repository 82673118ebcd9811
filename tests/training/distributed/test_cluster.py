"""Two processes of two devices each, joined by gloo: one run, whatever happens to one of them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from vae_gan_jax.config import Config
from vae_gan_jax.run import run_folder
from vae_gan_jax.training import checkpoint, train_state
from vae_gan_jax.training.distributed import roll_call

PROJECT = Path(__file__).parents[3]
SMALL = ["--width=20", "--height=18", "--filters=2", "--z_dim=3", "--batch_size=4"]
SMALL += ["--sample_every=0", "--keep_epochs=1"]
PATIENCE = 120.0  # seconds for what takes some


class Job:
    """Processes that work on one run, each with as many devices; a context manager.

    Relative paths are those of ``folders``, one a process.
    """

    def __init__(self, count: int, devices: int, *flags, folders=(PROJECT, PROJECT)):
        with socket.create_server(("localhost", 0)) as server:
            port = server.getsockname()[1]
        together = [f"--coordinator_address=localhost:{port}", f"--num_processes={count}"]
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "vae_gan_jax.main", *SMALL, *map(str, flags)]
                + ([*together, f"--process_id={index}"] if count > 1 else []),
                cwd=folders[index],
                env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": PROJECT},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for index in range(count)
        ]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.processes:
            process.kill()
            process.communicate()

    def end(self) -> tuple[list[int], list[str]]:
        """Exit codes and what each said, when all have ended."""
        said = [process.communicate(timeout=PATIENCE)[1].decode() for process in self.processes]
        return [process.returncode for process in self.processes], said


def sentences(said: str) -> list[str]:
    return re.findall(r"^vae_gan_jax: .*$", said, re.MULTILINE)


def lines(run: Path) -> list[dict]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(happened) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def steps(run: Path) -> int:
    return lines(run)[-1]["step"] if lines(run) else 0


def state_of(run: Path, step: int) -> train_state.TrainState:
    config = Config(**run_folder.recorded_settings(run))
    with checkpoint.Checkpoints(run) as checkpoints:
        return checkpoints.restore(train_state.create(config, jax.random.key(0)), step)


@pytest.fixture(scope="module")
def frames(film, tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def alike(film, frames, tmp_path_factory):
    """An epoch, of two processes the whole path, by processes times devices: folders of runs."""
    runs = {}
    for count, devices in ((2, 2), (1, 4), (1, 1)):
        run = tmp_path_factory.mktemp("runs") / f"{count}x{devices}"
        flags = [f"--film={film}", f"--run_dir={run}", "--noise_schedule=0.5", "--linear_skip"]
        mode = "all" if count > 1 else "train"
        with Job(count, devices, *flags, f"--frames_dir={frames}", f"--mode={mode}") as job:
            codes, said = job.end()
        assert codes == [0] * count, said
        runs[count, devices] = run
    return runs


@pytest.mark.parametrize("other", [(1, 4), (1, 1)])
def test_devices_of_two_processes_are_those_of_one(other, alike):
    """After six steps of float32 that are summed in another order."""
    ours, theirs = state_of(alike[2, 2], 6), state_of(alike[other], 6)
    for part in ("params", "batch_stats"):
        leaves = [jax.tree.leaves(getattr(state, part)) for state in (ours, theirs)]
        for a, b in zip(*leaves, strict=True):
            assert np.allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max() + 1e-7)
    for a, b in zip(*map(lines, (alike[2, 2], alike[other])), strict=True):
        for name in ("kl", "similarity", "adversarial"):
            assert a[f"objective/{name}"] == pytest.approx(b[f"objective/{name}"], rel=1e-4)


def test_the_first_process_does_the_rest_alone(alike):
    """Films, measures, figures and the page."""
    run = alike[2, 2]
    for made in ("films/film.mp4", "measures/film.json", "figures/film_epoch_1.png", "report.html"):
        assert (run / made).stat().st_size > 0, made


@pytest.fixture(scope="module")
def long_film(tmp_path_factory):
    """A film of 2,100 frames with sound: two parts and something more."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    subprocess.run(
        [
            get_ffmpeg_exe(), "-v", "error",
            "-f", "lavfi", "-i", "testsrc2=size=32x32:rate=24",
            "-f", "lavfi", "-i", "sine=frequency=330",
            "-frames:v", "2100", "-t", "87.5", "-pix_fmt", "yuv420p", str(path),
        ],
        check=True,
    )  # fmt: skip
    return path


def test_a_shared_reconstruction_is_the_film_that_one_process_makes(alike, long_film, tmp_path):
    films = []
    for count in (1, 2):
        films.append(tmp_path / f"{count}.mkv")
        flags = ["--mode=reconstruct", f"--run_dir={alike[1, 1]}", f"--source={long_film}"]
        with Job(count, 1, *flags, f"--output={films[-1]}", "--codec=ffv1") as job:
            codes, said = job.end()
        assert codes == [0] * count, said
    assert films[0].read_bytes() == films[1].read_bytes()


def test_a_run_goes_on_whatever_happens_to_a_process(film, frames, tmp_path):
    """From two processes to one and back; stopped, killed, started again."""
    schedule = "--noise_schedule=" + ",".join(["0.1"] * 2000)
    flags = [f"--film={film}", f"--run_dir={tmp_path}", f"--frames_dir={frames}", schedule]

    def go_on_until(count, devices, end, mode="train"):
        before = steps(tmp_path)
        with Job(count, devices, *flags, f"--mode={mode}") as job:
            wait_for(lambda: steps(tmp_path) >= before + 6 and len(lines(tmp_path)) > 1)
            end(job.processes[-1])
            return job.end()

    # SIGTERM to the second of two: both save and stop.
    codes, said = go_on_until(2, 2, lambda last: last.send_signal(signal.SIGTERM), "all")
    assert codes == [128 + signal.SIGTERM] * 2, said
    (stopped,) = set(map(int, re.findall(r"stopped by a signal at step (\d+)", said[0])))
    assert checkpoint.steps(tmp_path)[-1] == stopped

    # One process goes on from there.
    codes, said = go_on_until(1, 1, lambda last: last.send_signal(signal.SIGTERM))
    assert codes == [128 + signal.SIGTERM]
    assert f"going on from the checkpoint at step {stopped}" in said[0]

    # And two go on from that; the second one is killed, the first says so and ends.
    saved = checkpoint.steps(tmp_path)[-1]
    assert saved > stopped
    codes, said = go_on_until(2, 2, lambda last: last.kill())
    assert codes == [roll_call.LOST, -signal.SIGKILL]
    assert f"going on from the checkpoint at step {saved}" in said[0]
    (sentence,) = sentences(said[0])
    assert "process 1 has gone without a word" in sentence
    assert "Traceback" not in said[0]

    # The same command goes on from the newest checkpoint.
    newest = checkpoint.steps(tmp_path)[-1]
    codes, said = go_on_until(2, 2, lambda last: last.send_signal(signal.SIGINT))
    assert codes == [128 + signal.SIGINT] * 2
    assert f"going on from the checkpoint at step {newest}" in said[0]
    told = [line["step"] for line in lines(tmp_path)]
    assert told == sorted(set(told))


def test_a_folder_that_is_not_shared_is_refused(film, frames, alike, tmp_path):
    """Two processes that find different folders at the same name, as on disks of their own."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    flags = [f"--film={film}", f"--frames_dir={frames}", "--noise_schedule=0.5", "--mode=train"]
    with Job(2, 1, *flags, "--run_dir=run", folders=folders) as job:
        codes, said = job.end()
    assert codes == [2, 2], said
    (sentence,) = sentences("".join(said))
    assert "process 1 does not see run as process 0 does" in sentence


def test_other_frames_are_refused(film, alike, tmp_path):
    """Each machine's own store, of which one is of another film."""
    folders = {tmp_path / "one": film, tmp_path / "other": alike[2, 2] / "films" / "film.mp4"}
    for folder, film_there in folders.items():
        folder.mkdir()
        (folder / "film.mp4").write_bytes(film_there.read_bytes())
    flags = ["--film=film.mp4", "--frames_dir=frames", "--noise_schedule=0.5"]
    with Job(2, 1, *flags, f"--run_dir={tmp_path / 'run'}", folders=list(folders)) as job:
        codes, said = job.end()
    assert codes == [2, 2], said
    (sentence,) = sentences("".join(said))
    assert "are not the same in process 1 as in process 0" in sentence
