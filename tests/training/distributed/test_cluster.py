"""Two processes with two devices each, joined by gloo, are one run, whatever happens to either."""

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
from vae_gan_jax.run.settings import recorded_settings
from vae_gan_jax.training import checkpoint, train_state
from vae_gan_jax.training.distributed.processes import LOST_PEER

PROJECT = Path(__file__).parents[3]
SMALL = ["--width=20", "--height=18", "--filters=2", "--z_dim=3", "--batch_size=4"]
SMALL += ["--sample_every=0", "--keep_epochs=1", "--networks=residual"]
TRAIN = "--mode=train"
DEADLINE_SECONDS = 120.0
PROCESS_TIMEOUT_SECONDS = 20


class Job:
    """Processes that work on one run; a context manager.

    Args:
      count: number of processes.
      devices: devices of each process.
      flags: for all processes.
      own_flags: further flags by process.
      folders: working directories by process; relative paths in the flags start there.
      absent: processes that are not started.
    """

    def __init__(self, count, devices, *flags, own_flags=((), ()), folders=None, absent=()):
        with socket.create_server(("localhost", 0)) as server:
            port = server.getsockname()[1]
        joint = [f"--coordinator_address=localhost:{port}", f"--num_processes={count}"]
        joint += [f"--process_timeout={PROCESS_TIMEOUT_SECONDS}"]
        command = [sys.executable, "-m", "vae_gan_jax.main", *SMALL, *map(str, flags)]
        self.processes = [
            subprocess.Popen(
                command + ([*joint, f"--process_id={i}", *own_flags[i]] if count > 1 else []),
                cwd=folders[i] if folders else PROJECT,
                env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": PROJECT},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for i in range(count)
            if i not in absent
        ]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.processes:
            process.kill()
            process.communicate()

    def end(self) -> tuple[list[int], list[str]]:
        """Waits for all; their exit codes and what each wrote to stderr."""
        stderr = [
            process.communicate(timeout=DEADLINE_SECONDS)[1].decode() for process in self.processes
        ]
        return [process.returncode for process in self.processes], stderr


def sentences(stderr: str) -> list[str]:
    return re.findall(r"^vae_gan_jax: .*$", stderr, re.MULTILINE)


def is_readable(stderr: str) -> bool:
    """Whether neither Python nor the C++ runtime shows a stack."""
    return not re.search(r"Traceback|stack trace|^\s+@ 0x|coordination_service", stderr, re.M)


def lines(run: Path) -> list[dict]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def newest_checkpoint(run: Path) -> int:
    return max(checkpoint.steps(run), default=0)


def wait_until(condition) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def state_of(run: Path, step: int) -> train_state.TrainState:
    config = Config(**recorded_settings(run))
    with checkpoint.Checkpoints(run) as checkpoints:
        return checkpoints.restore(train_state.create(config, jax.random.key(0)), step)


@pytest.fixture(scope="module")
def frames(film, tmp_path_factory):
    """The folder of the frame store, which two processes prepared."""
    folder, run = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("prepared")
    flags = ["--mode=prepare", f"--film={film}", f"--frames_dir={folder}", f"--run_dir={run}"]
    with Job(2, 1, *flags) as job:
        codes, stderr = job.end()
    assert codes == [0, 0], stderr
    return folder


@pytest.fixture(scope="module")
def runs(film, frames, tmp_path_factory):
    """One epoch in two processes and in one: folders of runs."""
    folders = {}
    for count, devices in ((2, 2), (1, 4)):
        folders[count, devices] = run = tmp_path_factory.mktemp("runs")
        flags = [f"--film={film}", f"--run_dir={run}", "--noise_schedule=0.5"]
        with Job(count, devices, *flags, f"--frames_dir={frames}", TRAIN) as job:
            codes, stderr = job.end()
        assert codes == [0] * count, stderr
    return folders


@pytest.mark.slow
def test_two_processes_with_two_devices_equal_one_with_four(runs):
    """Six steps of float32, summed in another order."""
    ours, theirs = state_of(runs[2, 2], 6), state_of(runs[1, 4], 6)
    for part in ("params", "batch_stats"):
        leaves = [jax.tree.leaves(getattr(state, part)) for state in (ours, theirs)]
        for a, b in zip(*leaves, strict=True):
            assert np.allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max() + 1e-7)
    for a, b in zip(lines(runs[2, 2]), lines(runs[1, 4]), strict=True):
        for name in ("kl", "similarity", "adversarial"):
            assert a[f"objective/{name}"] == pytest.approx(b[f"objective/{name}"], rel=1e-4)


@pytest.mark.slow
def test_process_0_does_the_rest_alone(runs):
    """Films, measures, figures and the page of a run that two processes resume."""
    run = runs[2, 2]
    with Job(2, 2, f"--run_dir={run}") as job:
        codes, stderr = job.end()
    assert codes == [0, 0], stderr
    for path in ("films/film.mp4", "measures/film.json", "figures/film_epoch_1.png", "report.html"):
        assert (run / path).stat().st_size > 0, path


@pytest.fixture(scope="module")
def long_film(tmp_path_factory):
    """A film of 2,100 frames with sound: two whole segments and the start of a third."""
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


@pytest.mark.slow
def test_two_processes_reconstruct_the_film_that_one_makes(runs, long_film, tmp_path):
    films = []
    for count in (1, 2):
        films.append(tmp_path / f"{count}.mkv")
        flags = ["--mode=reconstruct", f"--run_dir={runs[1, 4]}", f"--source={long_film}"]
        with Job(count, 1, *flags, f"--output={films[-1]}", "--codec=ffv1") as job:
            codes, stderr = job.end()
        assert codes == [0] * count, stderr
    assert films[0].read_bytes() == films[1].read_bytes()


@pytest.fixture(scope="module")
def endless(film, frames):
    """Flags of a training that only ends from outside."""
    schedule = "--noise_schedule=" + ",".join(["0.1"] * 2000)
    return [f"--film={film}", f"--frames_dir={frames}", TRAIN, schedule]


def train_until(run, count, devices, flags, end):
    """Trains past the next checkpoint, calls ``end(processes)``; returns what ``Job.end`` does."""
    before = newest_checkpoint(run)
    with Job(count, devices, *flags, f"--run_dir={run}") as job:
        wait_until(lambda: newest_checkpoint(run) > before)
        end(job.processes)
        return job.end()


def seconds_until_noticed(processes, lost: int, number: signal.Signals) -> float:
    """Sends the signal to a process; how long the other one takes to end."""
    processes[lost].send_signal(number)
    start = time.monotonic()
    processes[1 - lost].wait(DEADLINE_SECONDS)
    seconds = time.monotonic() - start
    processes[lost].kill()
    print(f"process {lost} {number.name}: noticed after {seconds:.2f} s", file=sys.stderr)
    return seconds


def check_lost_peer(code: int, stderr: str) -> None:
    """The process ended with one sentence."""
    assert code == LOST_PEER, stderr
    (sentence,) = sentences(stderr)
    assert "lost contact with another process" in sentence
    assert is_readable(stderr), stderr


@pytest.mark.slow
def test_a_run_resumes_on_other_numbers_of_processes_after_any_end(endless, tmp_path):
    """Two processes, until one is killed; then one; then two, until one receives SIGTERM."""
    seconds = []
    codes, stderr = train_until(
        tmp_path, 2, 2, endless,
        lambda both: seconds.append(seconds_until_noticed(both, 0, signal.SIGKILL)),
    )  # fmt: skip
    check_lost_peer(codes[1], stderr[1])
    assert seconds[0] < PROCESS_TIMEOUT_SECONDS

    newest = newest_checkpoint(tmp_path)
    codes, stderr = train_until(
        tmp_path, 1, 4, endless, lambda one: one[0].send_signal(signal.SIGTERM)
    )
    assert codes == [128 + signal.SIGTERM]
    assert f"at step {newest}" in stderr[0]

    newest = newest_checkpoint(tmp_path)
    codes, stderr = train_until(
        tmp_path, 2, 2, endless, lambda both: both[1].send_signal(signal.SIGTERM)
    )
    assert codes == [128 + signal.SIGTERM] * 2, stderr
    assert f"at step {newest}" in stderr[0]
    steps = [line["step"] for line in lines(tmp_path)]
    assert steps == sorted(set(steps))
    assert f"at step {newest_checkpoint(tmp_path)}" in stderr[0]  # where both stopped


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "number"), [(1, signal.SIGKILL), (0, signal.SIGSTOP), (1, signal.SIGSTOP)]
)
def test_a_lost_process_ends_the_other_with_one_sentence(lost, number, endless, tmp_path):
    """Killed, or no longer answering."""
    seconds = []
    codes, stderr = train_until(
        tmp_path, 2, 2, endless,
        lambda both: seconds.append(seconds_until_noticed(both, lost, number)),
    )  # fmt: skip
    check_lost_peer(codes[1 - lost], stderr[1 - lost])
    assert seconds[0] < PROCESS_TIMEOUT_SECONDS


@pytest.mark.parametrize("absent", [0, 1])
def test_a_missing_process_is_reported_after_the_timeout(absent, film, tmp_path):
    flags = [f"--film={film}", f"--run_dir={tmp_path}", "--process_timeout=3"]
    own_flags = [["--process_timeout=3"]] * 2
    with Job(2, 1, *flags, own_flags=own_flags, absent=[absent]) as job:
        (code,), (stderr,) = job.end()
    assert code == 2
    (sentence,) = sentences(stderr)
    assert "did not all start within --process_timeout=3 seconds" in sentence
    assert is_readable(stderr)


def refusal(job) -> str:
    """The sentence that process 0 gives for all; each ends with exit code 2."""
    codes, stderr = job.end()
    assert codes == [2, 2], stderr
    assert all(map(is_readable, stderr)), stderr
    assert not sentences(stderr[1])
    (sentence,) = sentences(stderr[0])
    return sentence


def test_unequal_settings_are_refused_by_name(endless, tmp_path):
    own_flags = [["--gamma=2"], ["--gamma=3"]]
    with Job(2, 1, *endless, f"--run_dir={tmp_path}", own_flags=own_flags) as job:
        assert "process 0 has --gamma=2.0 and process 1 has --gamma=3.0" in refusal(job)


def test_what_process_0_refuses_ends_all(tmp_path):
    """Only process 0 opens the film."""
    with Job(2, 1, "--mode=prepare", "--film=missing.mp4", f"--run_dir={tmp_path}") as job:
        assert "missing.mp4" in refusal(job)


@pytest.mark.slow
def test_a_run_folder_that_is_not_shared_is_refused(endless, tmp_path):
    """Two machines that have different folders under one name."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    with Job(2, 1, *endless, "--run_dir=run", folders=folders) as job:
        assert "process 1 does not see the run of process 0" in refusal(job)


@pytest.mark.slow
def test_different_frames_are_refused(film, long_film, tmp_path):
    """Two machines with frame stores of their own; the films differ."""
    folders = {tmp_path / "one": film, tmp_path / "other": long_film}
    for folder, source in folders.items():
        folder.mkdir()
        (folder / "film.mp4").write_bytes(source.read_bytes())
    flags = ["--film=film.mp4", "--frames_dir=frames", "--noise_schedule=0.5"]
    with Job(2, 1, *flags, f"--run_dir={tmp_path / 'run'}", folders=list(folders)) as job:
        assert "are not the same in process 1 as in process 0" in refusal(job)
