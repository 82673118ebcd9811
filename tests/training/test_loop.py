"""The loop: two epochs are one, a restore and one more; what it writes; where it stops."""

import dataclasses
import json
import signal

import chex
import jax
import numpy as np
import pytest
from PIL import Image

from vae_gan_jax.config import InputError
from vae_gan_jax.training import loop, noise_schedule, train_step


@pytest.fixture(scope="module")
def whole(small, frames_THWC, tmp_path_factory):
    """Two epochs in one go: the state, and the run's folder."""
    run_dir = tmp_path_factory.mktemp("whole")
    return loop.train(small, frames_THWC, run_dir), run_dir


def metrics_of(run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if not name.startswith("time/")}
        for line in lines
    ]


def test_two_epochs_are_one_a_restore_and_one(small, frames_THWC, whole, tmp_path):
    """Bit for bit: parameters, optimiser, statistics, and the lines of metrics."""
    first = dataclasses.replace(small, noise_schedule=small.noise_schedule[:1])
    assert int(loop.train(first, frames_THWC, tmp_path).step) == 2
    state = loop.train(small, frames_THWC, tmp_path)
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(whole[0]))
    assert metrics_of(tmp_path) == metrics_of(whole[1])


def test_lines_after_the_checkpoint_are_written_again_not_twice(
    small, frames_THWC, whole, tmp_path
):
    first = dataclasses.replace(small, noise_schedule=small.noise_schedule[:1])
    loop.train(first, frames_THWC, tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 3}) + '\n{"step": 4, "cut sh')
    loop.train(small, frames_THWC, tmp_path)
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
    grid_HWC = np.asarray(Image.open(grids[0]))
    columns = loop.GRID_COLUMNS
    assert grid_HWC.shape == (3 * small.height + 4, columns * (small.width + 2) - 2, 3)
    np.testing.assert_array_equal(grid_HWC[: small.height, : small.width], frames_THWC[0])


def test_a_trained_run_is_left_alone(small, frames_THWC, whole):
    state, run_dir = whole
    before = (run_dir / "metrics.jsonl").read_bytes()
    again = loop.train(small, frames_THWC, run_dir)
    chex.assert_trees_all_equal(jax.device_get(again), jax.device_get(state))
    assert (run_dir / "metrics.jsonl").read_bytes() == before


def test_a_film_shorter_than_a_batch_is_refused(small, frames_THWC, tmp_path):
    with pytest.raises(InputError, match="batch_size=4 is more than the film's 3 frames"):
        loop.train(small, frames_THWC[:3], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_other_networks_is_refused(small, frames_THWC, whole):
    _, run_dir = whole
    with pytest.raises(InputError, match="does not fit the networks"):
        loop.train(dataclasses.replace(small, z_dim=5), frames_THWC, run_dir)


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
            loop.train(small, frames_THWC, tmp_path)
    assert exit.value.code == 128 + signal.SIGTERM
    assert [folder.name for folder in (tmp_path / "checkpoints").iterdir()] == ["1"]
    state = loop.train(small, frames_THWC, tmp_path)
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(whole[0]))
    assert [line["step"] for line in metrics_of(tmp_path)] == [1, 2, 4]


def test_epochs_are_kept_as_asked_and_the_latest_two_besides(small, frames_THWC, tmp_path):
    """Four epochs of two steps, a checkpoint at every step that may have one."""
    config = dataclasses.replace(small, noise_schedule=(0.1,) * 4, keep_epochs=3)
    loop.train(config, frames_THWC, tmp_path)
    kept = {int(folder.name) for folder in (tmp_path / "checkpoints").iterdir()}
    assert kept == {4, 6, 8}
