"""A trained run in memory: its checkpoint, its statistics, encoding and decoding."""

import dataclasses
import logging

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import batch_norm_statistics, trained_model
from vae_gan_jax.model import autoencoder
from vae_gan_jax.training import checkpoint, train_state
from vae_gan_jax.training.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def run(small, frames_THWC, tmp_path_factory):
    """A run with checkpoints at steps 2 and 4, and their states by step."""
    run_dir = tmp_path_factory.mktemp("run")
    states = {}
    with Checkpoints(run_dir) as checkpoints:
        for step in (2, 4):
            state = train_state.create(small, jax.random.key(step))
            states[step] = state.replace(step=state.step + step)
            checkpoints.save(states[step])
    return dataclasses.replace(small, run_dir=str(run_dir)), states


@pytest.fixture
def read_frames(frames_THWC):
    return lambda: TrainingFrames(frames_THWC)


@pytest.fixture(scope="module")
def opened(run, frames_THWC):
    config, _ = run
    return trained_model.load(config, lambda: TrainingFrames(frames_THWC))


def test_the_newest_checkpoint_is_loaded_with_estimated_statistics(run, opened, frames_THWC):
    config, states = run
    assert opened.step == checkpoint.newest_step(config.run_dir) == 4
    expected = batch_norm_statistics.estimate(config, states[4], TrainingFrames(frames_THWC))
    expected |= {"discriminator": states[4].batch_stats["discriminator"]}
    for name, network in opened.variables.items():
        chex.assert_trees_all_equal(network["params"], states[4].params[name])
        chex.assert_trees_all_close(network["batch_stats"], expected[name])


def test_an_earlier_step_can_be_loaded(run, read_frames):
    config, states = run
    encoder = trained_model.load(config, read_frames, step=2).variables["encoder"]
    chex.assert_trees_all_equal(encoder["params"], states[2].params["encoder"])


def test_latents_are_decoded_batch_by_batch(opened, frames_THWC):
    """Ten frames in batches of four; the last batch is shorter."""
    z_TZ = opened.encode(frames_THWC).mean
    assert np.abs(z_TZ).max() < 1
    assert [len(block) for block in opened.decode_batches(z_TZ)] == [4, 4, 2]


def test_no_frames_have_no_codes(opened):
    codes = opened.encode([])
    assert codes.mean.shape == codes.log_variance.shape == (0, opened.config.z_dim)
    assert opened.decode(codes.mean).shape == (0, opened.config.height, opened.config.width, 3)


def test_a_run_without_checkpoints_is_refused(small, tmp_path, read_frames):
    config = dataclasses.replace(small, run_dir=str(tmp_path))
    with pytest.raises(InputError, match=r"has no checkpoint: train it first.*\.$"):
        trained_model.load(config, read_frames)
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_skipped(run, read_frames, tmp_path, caplog):
    config, states = run
    config = dataclasses.replace(config, run_dir=str(tmp_path))
    with Checkpoints(tmp_path) as checkpoints:
        for step in (2, 4):
            checkpoints.save(states[step])
    (tmp_path / "checkpoints" / "4" / "checksums.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert trained_model.load(config, read_frames).step == 2
    assert "step 2 is used" in caplog.text


def test_latents_are_normalised_with_their_own_statistics(opened, small):
    """The same mini-batch twice gives the batch's own statistics."""
    z_BZ = 20 * np.random.default_rng(1).normal(size=(small.batch_size, small.z_dim)) + 5
    normalised = opened.with_latent_statistics(np.concatenate([z_BZ, z_BZ, z_BZ[:1]]))
    own_BHWC, _ = autoencoder.decode(
        opened.config.step, opened.variables, np.float32(z_BZ), train=True
    )
    output_BHWC = normalised.decode(z_BZ)
    expected_BHWC = np.asarray(autoencoder.to_frames(own_BHWC)).astype(int)
    assert np.abs(output_BHWC - expected_BHWC).max() <= 1
    films_own_BHWC = opened.decode(z_BZ)
    assert np.abs(films_own_BHWC - expected_BHWC).max() > 1
    assert normalised.variables["encoder"] is opened.variables["encoder"]
