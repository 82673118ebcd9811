"""The training loop: resume, stop, roll back, full disk, and the files of a run."""

import dataclasses
import json
import math
import os
import signal
import time
import types

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import checkpoint, checkpoint_folder, divergence, loop, train_step
from vae_gan_jax.training.monitoring import run_log

STEP = train_step.train_step
LONG = (0.1,) * 5  # a noise schedule of five epochs, two steps each


@pytest.fixture(autouse=True)
def few_bad_steps(monkeypatch):
    monkeypatch.setattr(divergence, "MAX_BAD_STEPS", 2)


@pytest.fixture(scope="module")
def film(frames_THWC):
    return TrainingFrames(frames_THWC)


@pytest.fixture(scope="module")
def whole(small, film, tmp_path_factory):
    """Two epochs without interruption: state and folder."""
    run_dir = tmp_path_factory.mktemp("whole")
    return loop.train(small, film, run_dir), run_dir


@pytest.fixture(scope="module")
def long_run(small, film, tmp_path_factory):
    """Five epochs without interruption: settings, state and folder."""
    config = dataclasses.replace(small, noise_schedule=LONG)
    run_dir = tmp_path_factory.mktemp("long")
    return config, loop.train(config, film, run_dir), run_dir


def metrics_of(run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if not name.startswith("time/")}
        for line in lines
    ]


def assert_same_run(state, run_dir, expected_state, expected_dir):
    """Both runs have equal states and metrics, bit for bit."""
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(expected_state))
    assert metrics_of(run_dir) == metrics_of(expected_dir)


def stopping_at(step, number=signal.SIGTERM, train=STEP):
    """A training step that raises a signal after ``step`` steps."""

    def stopping(state, *arguments):
        if int(state.step) == step:
            signal.raise_signal(number)
        return train(state, *arguments)

    return stopping


def poisoned(step, times=1, network="encoder", value=np.nan):
    """A training step that makes a network's parameters non-finite after ``step`` steps."""
    count = [0]

    def poison(state, *arguments):
        if int(state.step) == step and count[0] < times:
            count[0] += 1
            with jax.transfer_guard("allow"):
                broken = jax.tree.map(lambda leaf: leaf * value, state.params[network])
            state = state.replace(params=state.params | {network: broken})
        return STEP(state, *arguments)

    return poison


def skipping_after(step):
    """A training step that reports skipped steps after ``step`` steps, until a roll-back."""

    def skip(state, *arguments):
        bad = int(state.step) >= step and not int(state.noise_stream)
        state, metrics = STEP(state, *arguments)
        if bad:
            metrics |= {"skipped": np.float32(1), "gradient_norm/encoder": np.float32(math.nan)}
        return state, metrics

    return skip


def checkpoints_of(run_dir):
    return sorted(int(path.name) for path in (run_dir / "checkpoints").iterdir())


def test_two_epochs_equal_one_epoch_a_restore_and_one_more(small, film, whole, tmp_path):
    """Also if an interrupted run logged steps after its checkpoint."""
    first = dataclasses.replace(small, noise_schedule=small.noise_schedule[:1])
    assert int(loop.train(first, film, tmp_path).step) == 2
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 3}) + '\n{"step": 4, "cut sh')
    assert_same_run(loop.train(small, film, tmp_path), tmp_path, *whole)


def test_files_of_a_run(whole):
    _, run_dir = whole
    lines = [(line["step"], line["epoch"], line["noise_std"]) for line in metrics_of(run_dir)]
    assert lines == [(2, 1, 0.5), (4, 2, 0.1)]
    assert checkpoints_of(run_dir) == [2, 4]
    grids = sorted(path.name for path in (run_dir / "samples").iterdir())
    assert grids == ["epoch_001.png", "epoch_002.png"]
    folders = {path.name for path in run_dir.iterdir()}
    assert folders == {"checkpoints", "metrics.jsonl", "samples", "tensorboard"}


def test_a_trained_run_stays_unchanged(small, film, whole):
    state, run_dir = whole
    before = (run_dir / "metrics.jsonl").read_bytes()
    chex.assert_trees_all_equal(loop.train(small, film, run_dir), state)
    assert (run_dir / "metrics.jsonl").read_bytes() == before


def test_a_film_shorter_than_a_mini_batch_is_refused(small, frames_THWC, tmp_path):
    with pytest.raises(InputError, match="batch_size=4 is more than the film's 3 frames"):
        loop.train(small, TrainingFrames(frames_THWC[:3]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_other_networks_is_refused(small, film, whole):
    _, run_dir = whole
    with pytest.raises(InputError, match="does not fit the networks"):
        loop.train(dataclasses.replace(small, z_dim=5), film, run_dir)


def test_a_run_stopped_at_every_step_equals_an_uninterrupted_one(
    small, film, whole, tmp_path, monkeypatch
):
    """By SIGTERM and SIGINT, in the middle of a line of metrics and at its end."""
    for step, number in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGTERM)):
        monkeypatch.setattr(train_step, "train_step", stopping_at(step, number))
        with pytest.raises(SystemExit) as exit:
            loop.train(small, film, tmp_path)
        assert exit.value.code == 128 + number
        assert checkpoints_of(tmp_path)[-1] == step + 1
    monkeypatch.undo()
    assert_same_run(loop.train(small, film, tmp_path), tmp_path, *whole)
    assert not (tmp_path / "stops.json").exists()


def test_a_signal_during_the_last_step_ends_the_program(small, film, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(train_step, "train_step", stopping_at(3))
        with pytest.raises(SystemExit) as exit:
            loop.train(small, film, tmp_path)
    assert exit.value.code == 128 + signal.SIGTERM
    assert_same_run(loop.train(small, film, tmp_path), tmp_path, *whole)


def test_a_stop_whose_checkpoint_cannot_be_written_says_where_it_resumes(
    small, film, tmp_path, monkeypatch, caplog
):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_folder, "seal", full)
    monkeypatch.setattr(train_step, "train_step", stopping_at(0))
    with caplog.at_level("INFO"), pytest.raises(SystemExit):
        loop.train(small, film, tmp_path)
    assert "the same command resumes from the newest checkpoint" in caplog.text


def test_a_damaged_record_of_a_stop_only_shortens_a_line(
    small, film, whole, tmp_path, monkeypatch, caplog
):
    with monkeypatch.context() as patch:
        patch.setattr(train_step, "train_step", stopping_at(0))
        with pytest.raises(SystemExit):
            loop.train(small, film, tmp_path)
    record = tmp_path / "stops.json"
    record.write_text(record.read_text().replace("objective/kl", "objective/KL"))
    chex.assert_trees_all_equal(loop.train(small, film, tmp_path), whole[0])
    assert "stops.json is damaged" in caplog.text
    assert [line["step"] for line in metrics_of(tmp_path)] == [2, 4]


def test_the_latest_two_checkpoints_and_the_latest_epochs_are_kept(small, film, tmp_path):
    config = dataclasses.replace(small, noise_schedule=LONG[:4], keep_epochs=3)
    loop.train(config, film, tmp_path)
    assert checkpoints_of(tmp_path) == [4, 6, 8]


def test_non_finite_parameters_are_rolled_back(long_run, film, tmp_path, monkeypatch, caplog):
    """The result equals a run that uses the other noise from step 6 on, bit for bit."""
    config, whole, _ = long_run
    monkeypatch.setattr(train_step, "train_step", poisoned(6))
    state = loop.train(config, film, tmp_path)
    assert "at step 7 " in caplog.text
    assert "gradient_norm/encoder" in caplog.text
    assert "statistics of the encoder are not finite" in caplog.text
    assert "Rolled back to step 6, roll-back 1 of 3" in caplog.text
    assert (int(state.step), int(state.noise_stream)) == (10, 1)
    assert [line["step"] for line in metrics_of(tmp_path)] == [2, 4, 6, 8, 10]
    for when in ("before", "after"):
        assert (tmp_path / "samples" / f"went_wrong_00000008_{when}.png").exists()

    monkeypatch.undo()
    other_noise = tmp_path / "other_noise"
    loop.train(dataclasses.replace(config, noise_schedule=LONG[:3]), film, other_noise)
    begin = loop._Training.begin

    def begin_with_other_noise(training):
        state = begin(training)
        return state.replace(noise_stream=state.noise_stream + 1)

    monkeypatch.setattr(loop._Training, "begin", begin_with_other_noise)
    chex.assert_trees_all_equal(loop.train(config, film, other_noise), state)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(state.params, whole.params)


def test_after_three_roll_backs_training_ends_with_the_diagnosis(
    long_run, film, tmp_path, monkeypatch
):
    config, whole, _ = long_run
    monkeypatch.setattr(
        train_step, "train_step", poisoned(4, times=99, network="discriminator", value=np.inf)
    )
    words = r"after 3 roll-backs to step 4 \(.*at step 5 .*of the discriminator are.*before.png"
    with pytest.raises(InputError, match=words):
        loop.train(config, film, tmp_path)
    monkeypatch.undo()
    chex.assert_trees_all_equal(loop.train(config, film, tmp_path), whole)  # nothing is lost


def test_a_stop_saves_a_run_that_diverges_and_the_roll_back_does_not_return_there(
    small, film, tmp_path, monkeypatch, caplog
):
    """Steps 5 to 8 are skipped; the state stays finite. Stops at 6 and 7 change nothing."""
    caplog.set_level("INFO")
    monkeypatch.setattr(divergence, "MAX_BAD_STEPS", 4)
    config = dataclasses.replace(small, noise_schedule=LONG[:4], keep_epochs=1)
    uninterrupted, stopped = tmp_path / "uninterrupted", tmp_path / "stopped"
    monkeypatch.setattr(train_step, "train_step", skipping_after(4))
    expected = loop.train(config, film, uninterrupted)
    assert "Rolled back to step 4, roll-back 1 of 3" in caplog.text
    for step in (6, 7):
        train = stopping_at(step - 1, train=skipping_after(4))
        monkeypatch.setattr(train_step, "train_step", train)
        with pytest.raises(SystemExit):
            loop.train(config, film, stopped)
        assert checkpoints_of(stopped) == [4, step]
    caplog.clear()
    monkeypatch.setattr(train_step, "train_step", skipping_after(4))
    state = loop.train(config, film, stopped)
    assert "resuming from the checkpoint at step 7" in caplog.text
    assert "Rolled back to step 4, roll-back 1 of 3" in caplog.text
    assert_same_run(state, stopped, expected, uninterrupted)
    assert checkpoints_of(stopped) == checkpoints_of(uninterrupted) == [6, 8]


def test_a_state_that_is_not_finite_is_not_saved_at_a_stop(
    small, film, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(train_step, "train_step", stopping_at(3, train=poisoned(3)))
    with pytest.raises(SystemExit):
        loop.train(small, film, tmp_path)
    assert checkpoints_of(tmp_path) == [2]
    monkeypatch.undo()
    assert_same_run(loop.train(small, film, tmp_path), tmp_path, *whole)


def test_a_signal_while_training_diverges_is_not_lost(
    long_run, film, tmp_path, monkeypatch, caplog
):
    """It arrives in the step that ends in a roll-back to step 0; the step after that is saved."""
    train = stopping_at(1, train=poisoned(0))
    monkeypatch.setattr(train_step, "train_step", train)
    with pytest.raises(SystemExit):
        loop.train(long_run[0], film, tmp_path)
    assert "Rolled back to step 0" in caplog.text
    assert checkpoints_of(tmp_path) == [1]


class Processes:
    """The functions of ``processes`` in one of two processes, with the answers of process 0."""

    def __init__(self, index, answers):
        self._index, self.answers = index, answers

    def index(self):
        return self._index

    def gather(self, value):
        return [value]

    def broadcast_from_first(self, value):
        if self._index:
            return self.answers.pop(0)
        self.answers.append(value)
        return value


def test_process_0_alone_decides_when_all_save_and_roll_back(small, film, tmp_path, monkeypatch):
    """Process 1, which neither logs nor reads metrics, follows its answers."""
    monkeypatch.setattr(divergence, "MAX_BAD_STEPS", 3)
    config = dataclasses.replace(small, noise_schedule=LONG[:4])
    monkeypatch.setattr(train_step, "train_step", skipping_after(4))
    states, answers = [], []
    for index in (0, 1):
        processes = Processes(index, answers)
        monkeypatch.setattr(loop, "processes", processes)
        monkeypatch.setattr(run_log, "processes", processes)
        (tmp_path / str(index)).mkdir()
        states.append(loop.train(config, film, tmp_path / str(index)))
    assert not answers
    assert int(states[0].noise_stream) == 1
    chex.assert_trees_all_equal(*states)
    assert checkpoints_of(tmp_path / "0") == checkpoints_of(tmp_path / "1")
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["checkpoints"]


def test_a_disk_that_is_full_for_a_while_loses_nothing(
    long_run, film, tmp_path, monkeypatch, caplog
):
    """In epochs two to four metrics and grids wait for room, and the checkpoints with them."""
    config, whole, run_dir = long_run
    step_now = [0]

    def full(function):
        def call(*arguments):
            if 2 < step_now[0] <= 8:
                raise OSError(28, "No space left on device")
            return function(*arguments)

        return call

    def counted(state, *arguments):
        step_now[0] = int(state.step) + 1
        return STEP(state, *arguments)

    for module, name in ((os, "fsync"), (run_log.atomic_io, "write")):
        names = vars(module) | {name: full(getattr(module, name))}
        monkeypatch.setattr(run_log, module.__name__.split(".")[-1], types.SimpleNamespace(**names))
    monkeypatch.setattr(train_step, "train_step", counted)
    assert_same_run(loop.train(config, film, tmp_path), tmp_path, whole, run_dir)
    assert caplog.text.count("samples cannot be written (No space left on device)") == 1
    grids = [
        {path.name: path.read_bytes() for path in (folder / "samples").iterdir()}
        for folder in (tmp_path, run_dir)
    ]
    assert grids[0] == grids[1]
    step_now[0] = 0
    with pytest.raises(InputError, match="cannot be written"):
        loop.train(dataclasses.replace(config, strict=True), film, tmp_path / "strict")


def test_a_moved_folder_ends_the_run_and_is_not_created_again(
    small, film, whole, tmp_path, monkeypatch
):
    run_dir, away = tmp_path / "run", tmp_path / "away"

    def moved(state, *arguments):
        if int(state.step) == 3:
            while 2 not in checkpoint.steps(run_dir):  # until nothing is written there
                time.sleep(0.01)
            run_dir.rename(away)
        return STEP(state, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train_step, "train_step", moved)
        with pytest.raises(InputError, match="was moved or deleted"):
            loop.train(small, film, run_dir)
    assert not run_dir.exists()
    chex.assert_trees_all_equal(loop.train(small, film, away), whole[0])
