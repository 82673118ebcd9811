"""Held-out frames have no influence on a trained run."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.config.flag_text import HoldOut
from vae_gan_jax.film.store import frame_weights
from vae_gan_jax.film.store.frame_store import FrameStore
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import batch_norm_statistics
from vae_gan_jax.training import loop

RATE, HELD_OUT = 2, [4, 5, 10, 11]  # frames a second; the last second of every three


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """Returns what two epochs learn of frames: state, batch-norm statistics, last grid."""
    config = dataclasses.replace(small, linear_skip=True, frame_reweighting=0.5)

    def train(frames_THWC):
        manifest = {"films": [{"count": 12, "rate": str(RATE), "first_time": 0.0}]}
        training_T = FrameStore("", manifest, hold_out=HoldOut(1.0, 3.0, "s")).training_T
        similar_T = frame_weights.similar_frames(frames_THWC, training_T)
        weights_T = frame_weights.weights(similar_T, config.frame_reweighting)
        film = TrainingFrames(frames_THWC, training_T, weights_T)
        run_dir = tmp_path_factory.mktemp("run")
        state = loop.train(config, film, run_dir)
        statistics = batch_norm_statistics.estimate(config, state, film)
        grid = (run_dir / "samples" / "epoch_002.png").read_bytes()
        return jax.device_get((state, statistics)), grid

    return train


def test_a_run_is_the_same_to_the_bit_whatever_the_held_out_frames_show(trained, small):
    """Weights, PCA initialisation, batch norm, frame weights and samples; a learnt frame counts."""
    shape = (12, small.height, small.width, 3)
    frames_THWC = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    other_THWC, learnt_THWC = frames_THWC.copy(), frames_THWC.copy()
    other_THWC[HELD_OUT] = 255 - other_THWC[HELD_OUT] // 3
    learnt_THWC[HELD_OUT[0] - 1] = 0
    expected, grid = trained(frames_THWC)
    without, grid_without = trained(other_THWC)
    chex.assert_trees_all_equal(without, expected)
    assert grid_without == grid
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(trained(learnt_THWC)[0], expected)
