"""The loop: two epochs are one, a restore and one more; what it writes; where it stops."""

import dataclasses
import json
import signal
import time

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import checkpoint, loop, noise_schedule, train_step
from vae_gan_jax.training.monitoring import metrics_log, samples


@pytest.fixture(scope="module")
def whole(small, frames_THWC, tmp_path_factory):
    """Two epochs in one go: the state, and the run's folder."""
    run_dir = tmp_path_factory.mktemp("whole")
    return loop.train(small, TrainingFrames(frames_THWC), run_dir), run_dir


def metrics_of(run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if not name.startswith("time/")}
        for line in lines
    ]


def test_two_epochs_are_one_a_restore_and_one(small, frames_THWC, whole, tmp_path):
    """Bit for bit: parameters, optimiser, statistics, and the lines of metrics."""
    first = dataclasses.replace(small, noise_schedule=small.noise_schedule[:1])
    assert int(loop.train(first, TrainingFrames(frames_THWC), tmp_path).step) == 2
    state = loop.train(small, TrainingFrames(frames_THWC), tmp_path)
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(whole[0]))
    assert metrics_of(tmp_path) == metrics_of(whole[1])


def test_lines_after_the_checkpoint_are_written_again_not_twice(
    small, frames_THWC, whole, tmp_path
):
    first = dataclasses.replace(small, noise_schedule=small.noise_schedule[:1])
    loop.train(first, TrainingFrames(frames_THWC), tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 3}) + '\n{"step": 4, "cut sh')
    loop.train(small, TrainingFrames(frames_THWC), tmp_path)
    assert metrics_of(tmp_path) == metrics_of(whole[1])


def test_what_a_run_holds(small, frames_THWC, whole):
    _, run_dir = whole
    lines = metrics_of(run_dir)
    assert [(line["step"], line["epoch"], line["noise_std"]) for line in lines] == [
        (2, 1, 0.5),
        (4, 2, 0.1),
    ]
    assert {step.name for step in (run_dir / "checkpoints").iterdir()} == {"2", "4"}
    grids = sorted((run_dir / "samples").iterdir())
    assert [grid.name for grid in grids] == ["epoch_001.png", "epoch_002.png"]


def test_a_trained_run_is_left_alone(small, frames_THWC, whole):
    state, run_dir = whole
    before = (run_dir / "metrics.jsonl").read_bytes()
    again = loop.train(small, TrainingFrames(frames_THWC), run_dir)
    chex.assert_trees_all_equal(jax.device_get(again), jax.device_get(state))
    assert (run_dir / "metrics.jsonl").read_bytes() == before


def test_a_film_shorter_than_a_batch_is_refused(small, frames_THWC, tmp_path):
    with pytest.raises(InputError, match="batch_size=4 is more than the film's 3 frames"):
        loop.train(small, TrainingFrames(frames_THWC[:3]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_other_networks_is_refused(small, frames_THWC, whole):
    _, run_dir = whole
    with pytest.raises(InputError, match="does not fit the networks"):
        loop.train(dataclasses.replace(small, z_dim=5), TrainingFrames(frames_THWC), run_dir)


def test_the_schedule_changes_with_the_epoch():
    assert noise_schedule.position(step=26, steps_per_epoch=13) == (2, 0)
    assert noise_schedule.position(step=25, steps_per_epoch=13) == (1, 12)
    assert noise_schedule.noise_std((0.25, 0.1), 1) == 0.1


def test_a_signal_saves_and_the_run_goes_on_to_the_same_end(
    small, frames_THWC, whole, tmp_path, monkeypatch
):
    """SIGTERM during the first step of two: it is finished and saved, the second comes after."""
    step = train_step.train_step

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train_step, "train_step", interrupted)
        with pytest.raises(SystemExit) as exit:
            loop.train(small, TrainingFrames(frames_THWC), tmp_path)
    assert exit.value.code == 128 + signal.SIGTERM
    assert [folder.name for folder in (tmp_path / "checkpoints").iterdir()] == ["1"]
    state = loop.train(small, TrainingFrames(frames_THWC), tmp_path)
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(whole[0]))
    assert [line["step"] for line in metrics_of(tmp_path)] == [1, 2, 4]


def test_epochs_are_kept_as_asked_and_the_latest_two_besides(small, frames_THWC, tmp_path):
    """Four epochs of two steps, a checkpoint at every step that may have one."""
    config = dataclasses.replace(small, noise_schedule=(0.1,) * 4, keep_epochs=3)
    loop.train(config, TrainingFrames(frames_THWC), tmp_path)
    kept = {int(folder.name) for folder in (tmp_path / "checkpoints").iterdir()}
    assert kept == {4, 6, 8}


LONG = (0.1,) * 6  # epochs of two steps


@pytest.fixture(scope="module")
def long_run(small, frames_THWC, tmp_path_factory):
    """Twelve steps in one go, a checkpoint after every second: settings, state and folder."""
    config = dataclasses.replace(small, noise_schedule=LONG, max_bad_steps=2)
    run_dir = tmp_path_factory.mktemp("long")
    return config, loop.train(config, TrainingFrames(frames_THWC), run_dir), run_dir


def poisoned(step_of_fault, until=1, network="encoder", value=np.nan):
    """``train_step``, but with a parameter that is no number from a step on, so many times."""
    step, times = train_step.train_step, [0]

    def train(state, *arguments):
        if int(state.step) == step_of_fault and times[0] < until:
            times[0] += 1
            with jax.transfer_guard("allow"):
                broken = jax.tree.map(lambda leaf: leaf * value, state.params[network])
            state = state.replace(params=state.params | {network: broken})
        return step(state, *arguments)

    return train


def test_parameters_that_are_no_numbers_are_rolled_back(
    long_run, frames_THWC, tmp_path, monkeypatch, caplog
):
    """The end is that of a run told to use the other noise from there on, bit for bit."""
    config, whole, _ = long_run
    monkeypatch.setattr(train_step, "train_step", poisoned(6))
    state = loop.train(config, TrainingFrames(frames_THWC), tmp_path)
    assert "at step 7 " in caplog.text
    assert "gradient_norm/encoder" in caplog.text
    assert "statistics of the encoder are not finite" in caplog.text
    assert "Rolled back to step 6, number 1 of 3" in caplog.text
    assert (int(state.step), int(state.noise_stream)) == (12, 1)
    assert [line["step"] for line in metrics_of(tmp_path)] == [2, 4, 6, 8, 10, 12]
    for when in ("before", "after"):
        assert (tmp_path / "samples" / f"went_wrong_00000008_{when}.png").exists()

    monkeypatch.undo()
    told = tmp_path / "told"
    short = dataclasses.replace(config, noise_schedule=LONG[:3])
    loop.train(short, TrainingFrames(frames_THWC), told)
    with checkpoint.Checkpoints(told) as checkpoints:
        sixth = checkpoints.restore(whole)
    begin = loop._Training.begin
    monkeypatch.setattr(
        loop._Training, "begin", lambda self: begin(self).replace(noise_stream=sixth.step * 0 + 1)
    )
    chex.assert_trees_all_equal(loop.train(config, TrainingFrames(frames_THWC), told), state)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(state.params, whole.params)


def test_after_three_roll_backs_the_diagnosis(long_run, frames_THWC, tmp_path, monkeypatch):
    config, *_ = long_run
    monkeypatch.setattr(
        train_step, "train_step", poisoned(4, until=99, network="discriminator", value=np.inf)
    )
    words = r"after 3 roll-backs to step 4: .*at step 5 .*of the discriminator are.*before.png"
    with pytest.raises(InputError, match=words):
        loop.train(config, TrainingFrames(frames_THWC), tmp_path)
    monkeypatch.undo()
    state = loop.train(config, TrainingFrames(frames_THWC), tmp_path)  # nothing is lost
    chex.assert_trees_all_equal(state, long_run[1])


def test_before_the_first_checkpoint_it_goes_back_to_the_beginning(
    long_run, frames_THWC, tmp_path, monkeypatch, caplog
):
    config, *_ = long_run
    monkeypatch.setattr(train_step, "train_step", poisoned(0))
    assert int(loop.train(config, TrainingFrames(frames_THWC), tmp_path).step) == 12
    assert "Rolled back to step 0" in caplog.text


def test_a_disk_that_is_full_for_a_while_loses_nothing(
    long_run, frames_THWC, tmp_path, monkeypatch, caplog
):
    """No room for metrics and grids in epochs two to four: lines wait, checkpoints with them."""
    config, whole, run_dir = long_run
    fsync, write_file, step_now = metrics_log.os.fsync, samples.whole_file.write, [0]

    def full(function):
        def call(*arguments):
            of_checkpoint = str(arguments[0]).endswith(checkpoint.CHECKSUMS)
            if 2 < step_now[0] <= 8 and not of_checkpoint:
                raise OSError(28, "No space left on device")
            return function(*arguments)

        return call

    step = train_step.train_step

    def counted(state, *arguments):
        step_now[0] = int(state.step) + 1
        return step(state, *arguments)

    monkeypatch.setattr(metrics_log.os, "fsync", full(fsync))
    monkeypatch.setattr(samples.whole_file, "write", full(write_file))
    monkeypatch.setattr(train_step, "train_step", counted)
    state = loop.train(config, TrainingFrames(frames_THWC), tmp_path)
    chex.assert_trees_all_equal(state, whole)
    assert metrics_of(tmp_path) == metrics_of(run_dir)
    assert caplog.text.count("samples cannot be written (No space left on device)") == 1
    grids = [
        {path.name: path.read_bytes() for path in (folder / "samples").iterdir()}
        for folder in (tmp_path, run_dir)
    ]
    assert grids[0] == grids[1]
    step_now[0] = 0
    with pytest.raises(InputError, match="cannot be written"):
        loop.train(
            dataclasses.replace(config, strict=True),
            TrainingFrames(frames_THWC),
            tmp_path / "strict",
        )


def test_a_folder_that_vanishes_ends_the_run_and_is_not_made_again(
    long_run, frames_THWC, tmp_path, monkeypatch
):
    config, whole, _ = long_run
    run_dir, away = tmp_path / "run", tmp_path / "away"
    step = train_step.train_step

    def moved(state, *arguments):
        if int(state.step) == 7:
            while 6 not in checkpoint.steps(run_dir):  # nothing is being written there
                time.sleep(0.01)
            run_dir.rename(away)
        return step(state, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train_step, "train_step", moved)
        with pytest.raises(InputError, match="was moved or deleted"):
            loop.train(config, TrainingFrames(frames_THWC), run_dir)
    assert not run_dir.exists()
    chex.assert_trees_all_equal(loop.train(config, TrainingFrames(frames_THWC), away), whole)
