"""Held-out frames have no influence on a trained run."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.config.flag_text import HoldOut
from vae_gan_jax.film.store.frame_store import FrameStore
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import batch_norm_statistics
from vae_gan_jax.training import loop, pca_init, train_state

RATE, HELD_OUT = 2, [4, 5, 10, 11]  # frames a second; the last second of every three


def film_of(frames_THWC) -> TrainingFrames:
    """The frames to learn from."""
    manifest = {"films": [{"count": 12, "rate": str(RATE), "first_time": 0.0}]}
    training_T = FrameStore("", manifest, hold_out=HoldOut(1.0, 3.0, "s")).training_T
    return TrainingFrames(frames_THWC, training_T)


@pytest.fixture(scope="module")
def films(small):
    """A film; the same with other held-out frames; the same with another learnt frame."""
    shape = (12, small.height, small.width, 3)
    frames_THWC = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    other_THWC, learnt_THWC = frames_THWC.copy(), frames_THWC.copy()
    other_THWC[HELD_OUT] = 255 - other_THWC[HELD_OUT] // 3
    learnt_THWC[HELD_OUT[0] - 1] = 0
    return tuple(map(film_of, (frames_THWC, other_THWC, learnt_THWC)))


def test_two_epochs_are_the_same_to_the_bit_whatever_the_held_out_frames_show(
    small, films, tmp_path
):
    """Weights of the networks, batch-norm statistics and sample grid; a learnt frame counts."""
    results = []
    for number, film in enumerate(films):
        state = loop.train(small, film, tmp_path / str(number))
        statistics = batch_norm_statistics.estimate(small, state, film)
        grid = (tmp_path / str(number) / "samples" / "epoch_002.png").read_bytes()
        results.append((jax.device_get((state, statistics)), grid))
    (expected, grid), (without, grid_without), (changed, _) = results
    chex.assert_trees_all_equal(without, expected)
    assert grid_without == grid
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(changed, expected)


def test_the_principal_components_are_those_of_the_learnt_frames(small, films):
    config = dataclasses.replace(small, networks="residual")
    fresh = train_state.create(config, jax.random.key(0))
    states = [pca_init.begin(config, fresh, film) for film in films]
    expected, without, changed = ((state.params, state.constants) for state in states)
    chex.assert_trees_all_equal(without, expected)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(changed, expected)
