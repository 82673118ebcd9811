"""Runs that start with the networks of another run."""

import dataclasses
import logging
import shutil

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.run.settings import record_settings, resolve
from vae_gan_jax.training import checkpoint, loop, pretrained, train_state
from vae_gan_jax.training.distributed import mesh


@pytest.fixture(scope="module")
def other(small, frames_THWC, tmp_path_factory):
    """The folder and the state of a run of two epochs."""
    run_dir = tmp_path_factory.mktemp("other")
    config = dataclasses.replace(small, run_dir=str(run_dir))
    record_settings(run_dir, config)
    return run_dir, jax.device_get(loop.train(config, TrainingFrames(frames_THWC), run_dir))


@pytest.fixture
def tuned(small, other, tmp_path):
    """The settings of a run that starts with the networks of ``other``."""
    (tmp_path / "tuned").mkdir()
    return dataclasses.replace(
        small, run_dir=str(tmp_path / "tuned"), init_from=str(other[0]), noise_schedule=(0.1,)
    )


def initialise(config):
    fresh = mesh.place_state(config, train_state.create(config, jax.random.key(5)))
    return jax.device_get(fresh), jax.device_get(pretrained.begin(config, fresh))


def test_networks_are_taken_over_but_not_the_step(tuned, other):
    fresh, state = initialise(tuned)
    assert int(other[1].step) == 4
    assert int(state.step) == int(state.noise_stream) == 0
    chex.assert_trees_all_equal(state.params, other[1].params)
    chex.assert_trees_all_equal(state.batch_stats, other[1].batch_stats)
    chex.assert_trees_all_equal(state.opt_state, fresh.opt_state)


@pytest.mark.slow
def test_the_run_does_not_need_the_other_one_after_its_first_checkpoint(
    tuned, other, frames_THWC, tmp_path
):
    """With another film; the other run is deleted before the second epoch."""
    gone = shutil.copytree(other[0], tmp_path / "gone")
    config = dataclasses.replace(tuned, init_from=str(gone))
    film_THWC = np.random.default_rng(1).integers(0, 256, frames_THWC.shape, dtype=np.uint8)
    loop.train(config, TrainingFrames(film_THWC), config.run_dir)
    assert checkpoint.steps(config.run_dir) == [0, 2]
    with checkpoint.Checkpoints(config.run_dir) as checkpoints:
        first = checkpoints.restore(train_state.create(config, jax.random.key(0)), 0)
    chex.assert_trees_all_equal(first.params, other[1].params)
    shutil.rmtree(gone)
    longer = dataclasses.replace(config, noise_schedule=(0.1, 0.1))
    pretrained.check(longer)
    assert int(loop.train(longer, TrainingFrames(film_THWC), config.run_dir).step) == 4


def test_uses_the_newest_sound_checkpoint_and_renames_none(tuned, other, tmp_path, caplog):
    run_dir = shutil.copytree(other[0], tmp_path / "other")
    config = dataclasses.replace(tuned, init_from=str(run_dir))
    (run_dir / "checkpoints" / "4" / checkpoint.CHECKSUMS).write_text("")
    with caplog.at_level(logging.WARNING):
        _, state = initialise(config)
    assert "damaged: step 2 is used" in caplog.text
    with checkpoint.Checkpoints(run_dir) as checkpoints:
        second = checkpoints.restore(train_state.create(tuned, jax.random.key(0)), 2)
    chex.assert_trees_all_equal(state.params, second.params)
    assert checkpoint.steps(run_dir) == [2, 4]
    (run_dir / "checkpoints" / "2" / checkpoint.CHECKSUMS).unlink()
    with pytest.raises(InputError, match=r"no checkpoint in .* can be used: .*give --init_from"):
        initialise(config)
    assert checkpoint.steps(run_dir) == [2, 4]


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", 24), ("height", 20), ("filters", 3), ("z_dim", 4), ("first_batch_norm", True)],
)
def test_networks_of_another_size_are_refused(name, value, tuned):
    config = dataclasses.replace(tuned, **{name: value})
    with pytest.raises(InputError, match=f"--{name}={str(value).lower()} does not fit"):
        pretrained.check(config)


def test_a_folder_without_a_trained_run_is_refused(tuned, other, tmp_path):
    def refused(folder):
        with pytest.raises(InputError) as error:
            pretrained.check(dataclasses.replace(tuned, init_from=str(folder)))
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "there is no run in" in refused(tmp_path / "missing")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("")
    assert "is not a run folder" in refused(tmp_path / "letters")
    (tmp_path / "untrained").mkdir()
    shutil.copy(other[0] / "flags.txt", tmp_path / "untrained")
    assert "untrained has no checkpoint: train it first" in refused(tmp_path / "untrained")
    (tmp_path / "link").symlink_to(tmp_path / "tuned")
    assert "is this run itself" in refused(tmp_path / "link")


def test_init_from_of_a_run_cannot_change(tuned, tmp_path):
    recorded = {"init_from": tuned.init_from}
    same = {"run_dir": "run", "init_from": f"{tuned.init_from}/"}
    assert resolve(same, recorded, learns=True).init_from == same["init_from"]
    with pytest.raises(InputError, match="disagrees with the run"):
        resolve({"run_dir": "run", "init_from": "elsewhere"}, recorded, learns=True)
    with pytest.raises(InputError, match=r"--init_from=\. disagrees"):
        resolve({"run_dir": "run", "init_from": "."}, {"init_from": ""}, learns=True)
